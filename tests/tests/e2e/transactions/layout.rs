//! Who has what in a cluster, to choose which nodes a test stops.

use std::collections::{BTreeMap, BTreeSet};

use strata_client::{Client, ShardMap};
use strata_types::Slot;

use crate::harness::{Cluster, LONG, poll};

/// A shard and its nodes.
#[derive(Clone, Debug)]
pub struct Shard {
    /// Its number.
    pub id: u64,
    /// Where its replicas are.
    pub nodes: BTreeSet<u64>,
    /// The node that leads it.
    pub leader: u64,
}

/// Where everything is.
pub struct Layout {
    /// Nodes of the meta group.
    pub meta: BTreeSet<u64>,
    /// The node that leads it.
    pub meta_leader: u64,
    /// All nodes.
    pub nodes: BTreeSet<u64>,
    /// All shards.
    pub shards: Vec<Shard>,
    map: std::sync::Arc<ShardMap>,
}

impl Layout {
    /// As it is now.
    pub fn of(cluster: &Cluster, client: &Client) -> Layout {
        let leaders: BTreeMap<u64, u64> = poll("a leader of each shard", LONG, || {
            let shards = cluster.run(&["shards"]).succeeded().json();
            let pair = |shard: &serde_json::Value| Some((shard["shard"].as_u64()?, shard["leader"].as_u64()?));
            shards.as_array().expect("a list").iter().map(pair).collect()
        });
        let meta_leader = poll("a leader of the meta group", LONG, || {
            cluster.run(&["status"]).succeeded().json()["meta_leader"].as_u64()
        });
        let map = client.map();
        let shards = map.shards.iter().map(|placement| {
            let id = u64::from(placement.shard.0);
            let nodes = placement.replicas.iter().map(|replica| replica.node.0).collect();
            Shard { id, nodes, leader: leaders[&id] }
        });
        Layout {
            meta: map.meta.iter().map(|replica| replica.node.0).collect(),
            meta_leader,
            nodes: map.nodes.iter().map(|node| node.id.0).collect(),
            shards: shards.collect(),
            map,
        }
    }

    /// Keys of a shard, as many as one likes, that begin like this.
    pub fn keys(&self, shard: u64, beginning: &str) -> impl Iterator<Item = String> {
        let keys = (0..).map(move |number| format!("{beginning}{number}"));
        keys.filter(move |key| {
            let placement = self.map.shard_of(Slot::of_key(key.as_bytes())).expect("every slot has a shard");
            u64::from(placement.shard.0) == shard
        })
    }

    /// Two shards, two nodes that are most of the first one and not of the second one, and the other nodes. The meta
    /// group keeps its majority without the two, and its leader if that can be helped.
    pub fn two_shards(&self) -> (u64, u64, BTreeSet<u64>, BTreeSet<u64>) {
        let outsider = self.nodes.difference(&self.meta).next().copied().expect("the fourth node");
        let mut partners: Vec<u64> = self.meta.iter().copied().collect();
        partners.sort_by_key(|partner| *partner == self.meta_leader);
        let found = partners.into_iter().find_map(|partner| {
            let some = BTreeSet::from([outsider, partner]);
            let rest: BTreeSet<u64> = self.nodes.difference(&some).copied().collect();
            let one = self.shards.iter().find(|shard| some.is_subset(&shard.nodes))?.id;
            let other = self.shards.iter().find(|shard| rest.is_subset(&shard.nodes))?.id;
            Some((one, other, some, rest))
        });
        found.unwrap_or_else(|| panic!("eight shards on four nodes: {:?}", self.shards))
    }

    /// One key of a shard.
    pub fn key(&self, shard: u64, beginning: &str) -> String {
        self.keys(shard, beginning).next().expect("there is no end of them")
    }
}
