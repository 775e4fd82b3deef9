//! What holds for every placement.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use strata_meta::{PlacementNode, place};
use strata_types::{NodeId, ShardId};

/// Always the same cases; `PROPTEST_CASES` makes it more of them.
fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, rng_seed: RngSeed::Fixed(2), ..ProptestConfig::default() }
}

type Placement = BTreeMap<ShardId, Vec<NodeId>>;

fn nodes(count: u64) -> Vec<PlacementNode> {
    (1..=count).map(|id| PlacementNode { id: NodeId(id), zone: String::new(), weight: 1, accepts: true }).collect()
}

fn unplaced(shards: u32) -> Placement {
    (0..shards).map(|shard| (ShardId(shard), Vec::new())).collect()
}

fn loads(placement: &Placement, nodes: &[PlacementNode]) -> Vec<usize> {
    let held = |id| placement.values().filter(|members| members.contains(&id)).count();
    nodes.iter().map(|node| held(node.id)).collect()
}

fn leader_gap(placement: &Placement, nodes: &[PlacementNode]) -> usize {
    let led = |id| placement.values().filter(|members| members[0] == id).count();
    let led: Vec<usize> = nodes.iter().map(|node| led(node.id)).collect();
    led.iter().max().unwrap_or(&0) - led.iter().min().unwrap_or(&0)
}

fn moved(before: &Placement, after: &Placement) -> Vec<NodeId> {
    let pairs = before.iter().map(|(shard, members)| (members, &after[shard]));
    pairs.flat_map(|(before, after)| after.iter().filter(|node| !before.contains(node))).copied().collect()
}

/// Replicas on distinct nodes that exist, as many as there can be.
fn assert_valid(placement: &Placement, nodes: &[PlacementNode]) {
    for (shard, members) in placement {
        let distinct: BTreeSet<_> = members.iter().collect();
        assert_eq!(distinct.len(), members.len(), "{shard} has two replicas on one node");
        assert_eq!(members.len(), nodes.len().min(3), "{shard} has too few replicas");
        assert!(members.iter().all(|id| nodes.iter().any(|node| node.id == *id)), "{shard} is on an unknown node");
    }
}

/// Fewest and most replicas that a node of equal nodes may hold.
fn bounds(shards: usize, nodes: usize) -> (usize, usize) {
    let replicas = shards * nodes.min(3);
    (replicas * 9 / (10 * nodes), (replicas * 11).div_ceil(10 * nodes))
}

/// How many replicas are too many on some of these nodes, and how many are missing on others.
fn excess_and_deficit(placement: &Placement, nodes: &[PlacementNode]) -> (usize, usize) {
    let (least, most) = bounds(placement.len(), nodes.len());
    let loads = loads(placement, nodes);
    let excess = loads.iter().map(|load| load.saturating_sub(most)).sum();
    (excess, loads.iter().map(|load| least.saturating_sub(*load)).sum())
}

fn assert_bounded(placement: &Placement, nodes: &[PlacementNode]) {
    let (least, most) = bounds(placement.len(), nodes.len());
    for (node, load) in nodes.iter().zip(loads(placement, nodes)) {
        assert!((least..=most).contains(&load), "{} holds {load}, not {least} to {most}", node.id);
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn fresh_placements_are_valid_bounded_and_even(count in 1u64..40, shards in 1u32..=256) {
        let nodes = nodes(count);
        let placement = place(&nodes, &unplaced(shards)).unwrap();
        assert_valid(&placement, &nodes);
        assert_bounded(&placement, &nodes);
        assert!(leader_gap(&placement, &nodes) <= 1);
    }

    #[test]
    fn placing_again_moves_nothing_and_order_of_nodes_does_not_matter(count in 1u64..20, shards in 1u32..=128) {
        let mut nodes = nodes(count);
        let placement = place(&nodes, &unplaced(shards)).unwrap();
        assert_eq!(place(&nodes, &placement).unwrap(), placement);
        nodes.reverse();
        assert_eq!(place(&nodes, &unplaced(shards)).unwrap(), placement);
    }

    #[test]
    fn an_added_node_gets_its_part_with_the_fewest_moves(count in 3u64..20, shards in 1u32..=256) {
        let before = place(&nodes(count), &unplaced(shards)).unwrap();
        let nodes = nodes(count + 1);
        let after = place(&nodes, &before).unwrap();
        assert_valid(&after, &nodes);
        assert_bounded(&after, &nodes);
        assert!(leader_gap(&after, &nodes) <= 1);
        let (excess, deficit) = excess_and_deficit(&before, &nodes);
        let moved = moved(&before, &after);
        assert!(moved.len() <= excess.max(deficit), "{} moved, {excess} too many, {deficit} missing", moved.len());
    }

    #[test]
    fn a_lost_node_costs_only_what_it_held(count in 4u64..20, shards in 1u32..=256, lost in 0usize..20) {
        let mut nodes = nodes(count);
        let before = place(&nodes, &unplaced(shards)).unwrap();
        let held = loads(&before, &nodes);
        let lost = lost % nodes.len();
        nodes.remove(lost);
        let after = place(&nodes, &before).unwrap();
        assert_valid(&after, &nodes);
        assert_bounded(&after, &nodes);
        assert!(leader_gap(&after, &nodes) <= 1);
        let (excess, deficit) = excess_and_deficit(&before, &nodes);
        assert!(moved(&before, &after).len() <= held[lost] + excess + deficit);
    }

    #[test]
    fn zones_are_distinct_where_there_are_enough(sizes in prop::collection::vec(1u64..6, 1..7), shards in 1u32..=128) {
        let zones = sizes.iter().enumerate().flat_map(|(zone, size)| vec![format!("z{zone}"); *size as usize]);
        let nodes: Vec<PlacementNode> =
            (1..).zip(zones).map(|(id, zone)| PlacementNode { id: NodeId(id), zone, weight: 1, accepts: true }).collect();
        let placement = place(&nodes, &unplaced(shards)).unwrap();
        assert_valid(&placement, &nodes);
        let zone_of = |id: &NodeId| &nodes.iter().find(|node| node.id == *id).unwrap().zone;
        for (shard, members) in &placement {
            let zones: BTreeSet<_> = members.iter().map(zone_of).collect();
            assert_eq!(zones.len(), sizes.len().min(members.len()), "{shard} shares a zone without need: {members:?}");
        }
        assert!(leader_gap(&placement, &nodes) <= 1);
    }

    #[test]
    fn any_present_placement_is_repaired(
        count in 1u64..12,
        present in prop::collection::vec(prop::collection::vec(1u64..16, 0..5), 1..64),
        zones in 1u64..6,
        weights in prop::collection::vec(1u32..5, 12),
    ) {
        let mut nodes = nodes(count);
        for (node, weight) in nodes.iter_mut().zip(weights) {
            node.weight = weight;
            node.zone = format!("z{}", node.id.0 % zones);
        }
        let present = (0..).map(ShardId).zip(present.into_iter().map(|ids| ids.into_iter().map(NodeId).collect()));
        let placement = place(&nodes, &present.collect()).unwrap();
        assert_valid(&placement, &nodes);
        assert_eq!(moved(&placement, &place(&nodes, &placement).unwrap()), [], "placing again moves something");
    }
}

#[test]
fn heavier_nodes_hold_more() {
    let mut nodes = nodes(6);
    nodes[0].weight = 2;
    let placement = place(&nodes, &unplaced(70)).unwrap();
    assert_valid(&placement, &nodes);
    let loads = loads(&placement, &nodes);
    assert!(loads[0] >= 54, "twice the share of the others is 60: {loads:?}");
    assert!(loads[1..].iter().all(|load| (27..=33).contains(load)), "{loads:?}");
}

#[test]
fn a_thousand_nodes_are_placed() {
    let nodes = nodes(1000);
    let placement = place(&nodes, &unplaced(256)).unwrap();
    assert_valid(&placement, &nodes);
    assert_bounded(&placement, &nodes);
    assert!(leader_gap(&placement, &nodes) <= 1);
}

#[test]
fn impossible_wishes_are_refused() {
    let refusal = |nodes: &[PlacementNode]| place(nodes, &unplaced(4)).unwrap_err().to_string();
    assert_eq!(refusal(&[]), "no node takes replicas");
    let mut twice = nodes(2);
    twice[1].id = NodeId(1);
    assert_eq!(refusal(&twice), "a node is named twice: node=`n1`");
    let mut heavy = nodes(1);
    heavy[0].weight = 65;
    assert_eq!(refusal(&heavy), "weights go up to 64: node=`n1` weight=`65`");
}
