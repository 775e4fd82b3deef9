//! Leaders that have much to do are spread, and then stay where they are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use strata_cluster::Node;
use strata_env::sim::SimWorld;
use strata_types::{Epoch, GroupId, NodeId, ShardId};

use crate::hub::{Hub, Machine, start_all};
use crate::life::ADDRESSES;

/// Requests a second of each shard.
type Loads = BTreeMap<ShardId, u64>;

/// Lets so many seconds pass in which the leaders carry out these requests.
async fn serve(nodes: &[Arc<Node>], loads: &Loads, seconds: u64) {
    for _ in 0..seconds {
        tokio::time::sleep(Duration::from_secs(1)).await;
        for (shard, load) in loads {
            let id = GroupId::of_shard(*shard);
            for node in nodes {
                if node.host().group(id).is_some_and(|group| group.leads()) {
                    node.paces().note(id, *load);
                }
            }
        }
    }
}

/// Who leads each shard.
async fn leaders(node: &Node) -> BTreeMap<ShardId, Option<NodeId>> {
    node.overview().await.shards.into_iter().map(|shard| (shard.placement.shard, shard.leader)).collect()
}

fn epoch(nodes: &[Arc<Node>]) -> Option<Epoch> {
    nodes.iter().map(|node| node.map().epoch).max()
}

#[tokio::test(start_paused = true)]
async fn busy_shards_get_leaders_on_different_nodes_and_idle_ones_change_nothing() {
    let (world, hub) = (SimWorld::new(41), Hub::new());
    let machines: Vec<_> = (1..=3).map(|number| Machine::new(&world, &hub, number)).collect();
    let nodes: Vec<_> = start_all(&machines, &ADDRESSES).await.into_iter().map(|(node, _)| node).collect();
    let nothing = Loads::new();
    serve(&nodes, &nothing, 60).await;
    let (idle, placed) = (epoch(&nodes), leaders(&nodes[0]).await);
    serve(&nodes, &nothing, 120).await;
    assert_eq!((epoch(&nodes), leaders(&nodes[0]).await), (idle, placed.clone()), "nothing to do, nothing written");

    // Four shards on three nodes: one of them leads two, which are the busy ones.
    let two = |node: &NodeId| placed.values().filter(|leader| **leader == Some(*node)).count() == 2;
    let crowded = (1..=3).map(NodeId).find(two).expect("the numbers are even");
    let hot: BTreeSet<ShardId> =
        placed.iter().filter(|(_, leader)| **leader == Some(crowded)).map(|(shard, _)| *shard).collect();
    let loads: Loads = placed.keys().map(|shard| (*shard, if hot.contains(shard) { 500 } else { 20 })).collect();
    serve(&nodes, &loads, 150).await;
    let spread = leaders(&nodes[0]).await;
    let of_hot: BTreeSet<_> = hot.iter().map(|shard| spread[shard]).collect();
    assert_eq!(of_hot.len(), 2, "one busy shard a node: {spread:?}");
    let settled = epoch(&nodes);
    assert!(settled > idle);

    serve(&nodes, &loads, 400).await;
    assert_eq!((epoch(&nodes), leaders(&nodes[0]).await), (settled, spread), "under the same load nothing moves again");
    let told = nodes[0].overview().await;
    let figures = told.shards.iter().flat_map(|shard| &shard.replicas).filter_map(|replica| replica.figures);
    let total: u64 = figures.map(|figures| figures.operations).sum();
    assert!((950..=1_150).contains(&total), "{total} requests a second are told");
}
