//! Random commands in any order: every invariant holds after each, each can be repeated, and when nothing else happens
//! planning comes to an end that is a good one.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use strata_meta::{PlanLimits, held_up, plan_around};
use strata_types::{GroupId, NodeDescriptor, NodeId, NodeState, ReplicaPlacement, ShardMap};

use crate::world::{Event, World, event, has_majority, shown, waits_for_room};

/// Always the same cases; `PROPTEST_CASES` makes it more of them.
fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, rng_seed: RngSeed::Fixed(3), ..ProptestConfig::default() }
}

/// META-9: planning again starts nothing, and what is under way waits for a majority, or for room that nobody else has.
fn check_idle(map: &ShardMap, full: &BTreeSet<NodeId>) -> Result<(), TestCaseError> {
    prop_assert!(plan_around(map, PlanLimits::NONE, full).is_empty(), "planning again starts nothing");
    prop_assert!(held_up(map, full).is_empty(), "what another node has room for was given up");
    for group in map.groups().filter(|group| has_majority(map, group)) {
        let is_quiet = group.changes.change.is_none() || waits_for_room(&group, full);
        prop_assert!(is_quiet && group.changes.leaving.is_empty(), "{} is not at rest: {}", group.group, shown(map));
    }
    Ok(())
}

/// Everybody has room: the replicas are where they should be.
fn check_rest(map: &ShardMap) -> Result<(), TestCaseError> {
    check_idle(map, &BTreeSet::new())?;
    let active: Vec<&NodeDescriptor> = map.nodes.iter().filter(|node| node.state == NodeState::Active).collect();
    let zones: BTreeSet<_> = active.iter().map(|node| &node.zone).collect();
    let mut is_whole = true;
    for group in map.groups() {
        if !has_majority(map, &group) {
            is_whole = false;
            continue;
        }
        let wished = if group.group == GroupId::META && active.len() >= 5 { 5 } else { active.len().min(3) };
        let node = |placement: &ReplicaPlacement| map.node(placement.node).expect("known");
        let there = group.replicas.iter().filter(|placement| node(placement).state == NodeState::Active).count();
        prop_assert_eq!(there, wished, "{}: {}", group.group, shown(map));
        if zones.len() >= 3 && group.group != GroupId::META {
            let covered: BTreeSet<_> = group.replicas.iter().map(|placement| &node(placement).zone).collect();
            prop_assert!(covered.len() >= there.min(3), "{} is in {covered:?}", group.group);
        }
        if group.group != GroupId::META && !active.is_empty() {
            prop_assert!(
                node(&group.replicas[0]).state == NodeState::Active,
                "{} prefers a node that leaves",
                group.group
            );
        }
    }
    if is_whole {
        prop_assert!(map.nodes.iter().all(|node| node.state != NodeState::Removing), "{:?}", map.nodes);
    }
    if is_whole && zones.len() == 1 && zones.iter().all(|zone| zone.is_empty()) && !active.is_empty() {
        let held = |id| map.shards.iter().flat_map(|shard| &shard.replicas).filter(|place| place.node == id).count();
        let most = (map.shards.len() * active.len().min(3) * 11).div_ceil(10 * active.len());
        for node in &active {
            prop_assert!(held(node.id) <= most, "{} holds {}, more than {most}", node.id, held(node.id));
        }
    }
    Ok(())
}

/// All that happened is over.
fn world_after(events: &[Event], nodes: u64, shards: u32, zones: u8) -> World {
    let mut world = World::new(nodes, shards, zones);
    events.iter().for_each(|event| world.happen(event));
    world.everybody_comes_back();
    world
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_happens_the_map_is_sound_and_planning_comes_to_a_good_end(
        nodes in 1u64..7,
        shards in prop::sample::select(vec![1u32, 4, 16]),
        zones in prop::sample::select(vec![0u8, 0, 2, 3, 4]),
        events in prop::collection::vec(event(), 0..60),
    ) {
        let mut world = world_after(&events, nodes, shards, zones);
        world.come_to_rest(&BTreeSet::new());
        check_rest(&world.map())?;
    }

    #[test]
    fn while_nodes_are_full_planning_comes_to_an_end_and_to_a_good_one_when_they_have_room(
        nodes in 1u64..7,
        shards in prop::sample::select(vec![1u32, 4, 16]),
        zones in prop::sample::select(vec![0u8, 0, 2, 3, 4]),
        events in prop::collection::vec(event(), 0..40),
        full in any::<u8>(),
    ) {
        let mut world = world_after(&events, nodes, shards, zones);
        let full = world.chosen(full);
        world.come_to_rest(&full);
        check_idle(&world.map(), &full)?;
        world.come_to_rest(&BTreeSet::new());
        check_rest(&world.map())?;
    }
}
