//! Plans of large clusters: as many moves as needed, and loads that stay even. `examples/planning.rs` takes the time.

use std::collections::BTreeSet;

use strata_meta::{Imbalance, PlacementNode, PlanLimits, PlannedChange, place, plan, preview};
use strata_types::{
    ChangeReason, NodeDescriptor, NodeId, NodeState, ReplicaId, ReplicaPlacement, ShardId, ShardMap, ShardPlacement,
    SlotRange,
};

/// A cluster as it is after its founding, over the limits of real ones.
pub(crate) fn cluster(nodes: u64, shards: u32, zones: u64) -> ShardMap {
    let zone = |id: u64| if zones == 0 { String::new() } else { format!("z{}", id % zones) };
    let nodes: Vec<_> =
        (1..=nodes).map(|id| NodeDescriptor { id: NodeId(id), zone: zone(id), ..NodeDescriptor::default() }).collect();
    let places: Vec<_> = nodes.iter().map(PlacementNode::of).collect();
    let placement =
        place(&places, &(0..shards).map(|shard| (ShardId(shard), Vec::new())).collect()).expect("a placement");
    let mut ids = (1..).map(ReplicaId);
    let shards = placement.into_iter().map(|(shard, nodes)| ShardPlacement {
        shard,
        slots: SlotRange::share(shard.0, shards),
        replicas: nodes.into_iter().zip(&mut ids).map(|(node, replica)| ReplicaPlacement { replica, node }).collect(),
        ..ShardPlacement::default()
    });
    ShardMap { shards: shards.collect(), nodes, ..ShardMap::default() }
}

fn held(map: &ShardMap, node: NodeId) -> usize {
    map.shards.iter().flat_map(|shard| &shard.replicas).filter(|placement| placement.node == node).count()
}

fn moves(changes: &[PlannedChange]) -> usize {
    changes.iter().filter(|change| change.add.is_some()).count()
}

#[test]
fn a_lost_node_of_a_thousand_costs_little_more_than_what_it_held() {
    for zones in [0, 5] {
        let mut map = cluster(1_000, 16_384, zones);
        let lost = held(&map, NodeId(500));
        map.nodes[499].state = NodeState::Lost;
        let first = plan(&map, PlanLimits::NONE);
        assert!(first.start.iter().filter(|change| change.reason == ChangeReason::NodeLost).count() == lost);
        let (changes, after) = preview(&map, &BTreeSet::new());
        assert!(moves(&changes) * 10 <= lost * 11, "{} moves, {lost} replicas lost, {zones} zones", moves(&changes));
        assert_eq!(held(&after, NodeId(500)), 0);
        let imbalance = Imbalance::of_replicas(&after);
        assert!(imbalance.largest_over_mean <= 1.15, "{imbalance:?}");
        assert!(imbalance.entropy > 0.999, "{imbalance:?}");
    }
}

#[test]
fn a_node_that_joins_a_thousand_gets_its_part_and_nobody_else_moves() {
    let mut map = cluster(1_000, 16_384, 0);
    map.nodes.push(NodeDescriptor { id: NodeId(1_001), ..NodeDescriptor::default() });
    let (changes, after) = preview(&map, &BTreeSet::new());
    let mean = 16_384 * 3 / 1_001;
    assert!(moves(&changes) <= mean, "{} moves, {mean} on each node", moves(&changes));
    assert!(changes.iter().all(|change| change.add == Some(NodeId(1_001))));
    assert!(held(&after, NodeId(1_001)) >= mean * 9 / 10);
    assert!(Imbalance::of_replicas(&after).largest_over_mean <= 1.15);
}

#[test]
fn a_drained_node_costs_no_moves() {
    let mut map = cluster(30, 256, 3);
    map.nodes[7].state = NodeState::Draining;
    assert_eq!(preview(&map, &BTreeSet::new()).0, []);
    map.nodes[7].state = NodeState::Removing;
    let (changes, after) = preview(&map, &BTreeSet::new());
    assert!(moves(&changes) * 10 <= held(&map, NodeId(8)) * 11);
    assert_eq!(held(&after, NodeId(8)), 0);
}
