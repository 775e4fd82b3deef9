//! What the nodes told of how busy their replicas are, and how large, and whether there is room for more.

use std::collections::{BTreeMap, BTreeSet};

use strata_types::{Feature, GroupId, NodeId, ShardId, ShardMap};

use crate::{ClusterOverview, ShardOverview};

/// Figures by shard; of those that nobody told there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    sizes: BTreeMap<ShardId, u64>,
    loads: BTreeMap<ShardId, u64>,
    full: BTreeSet<NodeId>,
}

impl Told {
    pub(crate) fn of(overview: &ClusterOverview) -> Told {
        let id = |shard: &ShardOverview| shard.placement.shard;
        let sizes = overview.shards.iter().filter_map(|shard| Some((id(shard), size(shard)?)));
        let loads = overview.shards.iter().filter_map(|shard| Some((id(shard), load(shard)?)));
        let full = overview.nodes.iter().filter(|node| node.is_full).map(|node| node.node.id);
        Told { sizes: sizes.collect(), loads: loads.collect(), full: full.collect() }
    }

    /// The nodes without room for more replicas, if the cluster plans around them.
    pub(crate) fn full(&self, map: &ShardMap) -> BTreeSet<NodeId> {
        if map.has(Feature::FullNodes) { self.full.clone() } else { BTreeSet::new() }
    }

    /// About how many bytes a new replica of a group has to get.
    pub(crate) fn size(&self, group: GroupId) -> Option<u64> {
        self.sizes.get(&group.shard()?).copied()
    }

    /// The loads of all leaders, if all are known.
    pub(crate) fn loads(&self, map: &ShardMap) -> Option<BTreeMap<ShardId, u64>> {
        map.shards.iter().map(|shard| Some((shard.shard, *self.loads.get(&shard.shard)?))).collect()
    }
}

/// That of the largest replica: one that is being built is smaller.
fn size(shard: &ShardOverview) -> Option<u64> {
    shard.replicas.iter().filter_map(|replica| Some(replica.figures?.size)).max()
}

fn load(shard: &ShardOverview) -> Option<u64> {
    let leader = shard.replicas.iter().find(|replica| Some(replica.node) == shard.leader)?;
    Some(leader.figures?.operations)
}
