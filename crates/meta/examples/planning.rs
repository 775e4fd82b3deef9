//! How long planning takes in a cluster far over the limits of real ones: 1,000 nodes and 16,384 shards.
//!
//! ```text
//! cargo run --release -p strata-meta --example planning [ZONES]
//! ```
#![allow(clippy::disallowed_methods, reason = "measures by the clock")]
#![allow(clippy::print_stdout, reason = "prints what it measured")]

use std::collections::BTreeSet;
use std::time::Instant;

use strata_meta::{Imbalance, PlacementNode, PlanLimits, PlannedChange, place, plan, preview};
use strata_types::{
    NodeDescriptor, NodeId, NodeState, ReplicaId, ReplicaPlacement, ShardId, ShardMap, ShardPlacement, SlotRange,
};

const NODES: u64 = 1_000;
const SHARDS: u32 = 16_384;

fn main() {
    let zones = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
    let map = timed("place from nothing", || founded(zones));
    show(&map, &[], 0);

    let mut lost = map.clone();
    lost.nodes[499].state = NodeState::Lost;
    let held = held(&map, NodeId(500));
    let first = timed("plan for one node lost", || plan(&lost, PlanLimits::NONE));
    println!("  {} changes at once", first.start.len());
    let (changes, after) = timed("preview of it", || preview(&lost, &BTreeSet::new()));
    show(&after, &changes, held);

    let mut joined = map;
    joined.nodes.push(NodeDescriptor {
        id: NodeId(NODES + 1),
        zone: zone(NODES + 1, zones),
        ..NodeDescriptor::default()
    });
    timed("plan for one node joined", || plan(&joined, PlanLimits::NONE));
    let (changes, after) = timed("preview of it", || preview(&joined, &BTreeSet::new()));
    show(&after, &changes, SHARDS as usize * 3 / (NODES as usize + 1));
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    println!("{what}: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    result
}

fn zone(id: u64, zones: u64) -> String {
    if zones == 0 { String::new() } else { format!("z{}", id % zones) }
}

fn founded(zones: u64) -> ShardMap {
    let node = |id| NodeDescriptor { id: NodeId(id), zone: zone(id, zones), ..NodeDescriptor::default() };
    let nodes: Vec<NodeDescriptor> = (1..=NODES).map(node).collect();
    let places: Vec<PlacementNode> = nodes.iter().map(PlacementNode::of).collect();
    let nothing = (0..SHARDS).map(|shard| (ShardId(shard), Vec::new())).collect();
    let placement = place(&places, &nothing).expect("weights are within their limits");
    let mut ids = (1..).map(ReplicaId);
    let shards = placement.into_iter().map(|(shard, nodes)| ShardPlacement {
        shard,
        slots: SlotRange::share(shard.0, SHARDS),
        replicas: nodes.into_iter().zip(&mut ids).map(|(node, replica)| ReplicaPlacement { replica, node }).collect(),
        ..ShardPlacement::default()
    });
    ShardMap { shards: shards.collect(), nodes, ..ShardMap::default() }
}

fn held(map: &ShardMap, node: NodeId) -> usize {
    map.shards.iter().flat_map(|shard| &shard.replicas).filter(|placement| placement.node == node).count()
}

fn show(map: &ShardMap, changes: &[PlannedChange], least: usize) {
    let (replicas, leaders) = (Imbalance::of_replicas(map), Imbalance::of_leaders(map));
    println!("  {} moves for {least} replicas", changes.iter().filter(|change| change.add.is_some()).count());
    println!("  replicas: largest/mean {:.3}, entropy {:.5}", replicas.largest_over_mean, replicas.entropy);
    println!("  leaders:  largest/mean {:.3}, entropy {:.5}", leaders.largest_over_mean, leaders.entropy);
}
