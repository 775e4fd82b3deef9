use super::*;
use crate::{ChangeId, ChangeReason, ReplicaChange, Term};

fn map(shard_count: u32) -> ShardMap {
    let node = |id| NodeDescriptor { id: NodeId(id), ..NodeDescriptor::default() };
    let placement = |shard: u32, node| place(u64::from(shard) * 3 + node, node);
    ShardMap {
        nodes: vec![node(1), node(2), node(3), node(4)],
        shards: (0..shard_count)
            .map(|shard| ShardPlacement {
                shard: ShardId(shard),
                slots: SlotRange::share(shard, shard_count),
                replicas: (1..=3).map(|node| placement(shard, node)).collect(),
                ..ShardPlacement::default()
            })
            .collect(),
        ..ShardMap::default()
    }
}

fn place(replica: u64, node: u64) -> ReplicaPlacement {
    ReplicaPlacement { replica: ReplicaId(replica), node: NodeId(node) }
}

fn change(add: Option<ReplicaPlacement>, remove: Option<u64>) -> Option<ReplicaChange> {
    let remove = remove.map(ReplicaId);
    Some(ReplicaChange {
        id: ChangeId(1),
        add,
        remove,
        reason: ChangeReason::Balance,
        cancelled: false,
        decided: Term(0),
    })
}

#[test]
fn every_slot_has_its_shard() {
    let map = map(4);
    map.validate().expect("a valid map");
    for number in 0..SLOT_COUNT {
        let slot = Slot::new(number).expect("in range");
        assert!(map.shard_of(slot).expect("covered").slots.contains(slot));
    }
}

#[test]
fn broken_maps_are_named() {
    let broken = |damage: fn(&mut ShardMap)| {
        let mut map = map(4);
        damage(&mut map);
        map.validate().expect_err("broken")
    };
    assert_eq!(broken(|map| drop(map.shards.remove(1))), ShardMapError::Coverage { slot: 4096 });
    assert_eq!(broken(|map| drop(map.shards.pop())), ShardMapError::Coverage { slot: 12_288 });
    let twice = ShardMapError::ReplicaTwice { replica: ReplicaId(1) };
    assert_eq!(broken(|map| map.shards[2].replicas[0].replica = ReplicaId(1)), twice);
    assert_eq!(broken(|map| map.shards[2].changes.leaving = vec![place(1, 4)]), twice);
    assert_eq!(broken(|map| map.shards[2].changes.change = change(Some(place(1, 4)), None)), twice);
    let crowded = ShardMapError::Placement { shard: ShardId(3) };
    assert_eq!(broken(|map| map.shards[3].replicas[1].node = NodeId(1)), crowded);
    assert_eq!(broken(|map| map.shards[3].replicas.clear()), crowded);
    assert_eq!(broken(|map| map.shards[3].changes.leaving = vec![place(99, 9)]), crowded);
    assert_eq!(broken(|map| map.meta = vec![place(98, 1), place(99, 1)]), ShardMapError::MetaPlacement);
    assert_eq!(broken(|map| map.nodes[1].id = NodeId(1)), ShardMapError::Node { node: NodeId(1) });
    let removed = ShardMapError::Node { node: NodeId(4) };
    assert_eq!(broken(|map| map.nodes[3].state = NodeState::Removed), removed);
}

#[test]
fn changes_must_be_possible() {
    let with = |add, remove| {
        let mut map = map(4);
        map.shards[0].changes.change = change(add, remove);
        map.validate()
    };
    let impossible = Err(ShardMapError::Change { group: GroupId(1) });
    assert_eq!(with(None, None), impossible);
    assert_eq!(with(None, Some(99)), impossible);
    assert_eq!(with(Some(place(99, 9)), None), impossible);
    assert_eq!(with(Some(place(99, 1)), None), impossible);
    assert_eq!(with(Some(place(99, 1)), Some(2)), impossible);
    assert_eq!(with(Some(place(99, 1)), Some(1)), Ok(()), "a replica is rebuilt on its node");
    assert_eq!(with(Some(place(99, 4)), Some(1)), Ok(()));
    assert_eq!(with(Some(place(99, 4)), None), Ok(()));
    assert_eq!(with(None, Some(1)), Ok(()));
    let mut last = map(4);
    last.shards[0].replicas.truncate(1);
    last.shards[0].changes.change = change(None, Some(1));
    assert_eq!(last.validate(), impossible, "the last replica stays");
}

#[test]
fn only_the_first_members_found_a_group() {
    let mut map = map(1);
    map.shards[0].replicas.swap(0, 2);
    assert_eq!(map.shards[0].as_group().founder(), Some(place(1, 1)), "whoever is preferred as leader");
    map.shards[0].changes.generation = 1;
    assert_eq!(map.shards[0].as_group().founder(), None);
}
