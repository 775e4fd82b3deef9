use strata_types::{ChangeId, ChangeReason, ClusterVersion, NodeDescriptor, ShardId, ShardPlacement, SlotRange};

use super::*;

fn placed(replica: u64, node: u64) -> ReplicaPlacement {
    ReplicaPlacement { replica: ReplicaId(replica), node: NodeId(node) }
}

/// A map of one shard with replicas `(replica, node)`, on four nodes.
fn map(epoch: u64, replicas: &[(u64, u64)]) -> ShardMap {
    let node =
        |id| NodeDescriptor { id: NodeId(id), instance: InstanceId(u128::from(id)), ..NodeDescriptor::default() };
    let shard = ShardPlacement {
        shard: ShardId(0),
        slots: SlotRange::share(0, 1),
        replicas: replicas.iter().map(|(replica, node)| placed(*replica, *node)).collect(),
        ..ShardPlacement::default()
    };
    ShardMap {
        epoch: Epoch(epoch),
        nodes: (1..=4).map(node).collect(),
        shards: vec![shard],
        meta: vec![placed(1, 1), placed(2, 2), placed(3, 3)],
        version: ClusterVersion::FIRST,
        ..ShardMap::default()
    }
}

fn change(add: (u64, u64), remove: u64) -> ReplicaChange {
    ReplicaChange {
        id: ChangeId(1),
        add: Some(placed(add.0, add.1)),
        remove: Some(ReplicaId(remove)),
        reason: ChangeReason::Operator,
        cancelled: false,
        decided: Term(0),
    }
}

fn broken_by(maps: &[ShardMap]) -> String {
    let mut history = MapHistory::default();
    for map in maps {
        history.see(NodeId(1), map.epoch.0, &Arc::new(map.clone()));
    }
    let mut found: Vec<_> =
        history.take_broken().iter().map(|text| text.split(' ').next().unwrap_or("").to_string()).collect();
    found.dedup();
    found.join(" ")
}

/// A map in which the shard moves a replica, as it is before, meanwhile, and after.
fn moved() -> [ShardMap; 3] {
    let mut during = map(6, &[(4, 1), (5, 2), (6, 3)]);
    during.shards[0].changes.change = Some(change((7, 4), 6));
    let mut after = map(7, &[(4, 1), (5, 2), (7, 4)]);
    after.shards[0].changes.generation = 1;
    after.shards[0].changes.leaving.push(placed(6, 3));
    [map(5, &[(4, 1), (5, 2), (6, 3)]), during, after]
}

#[test]
fn a_move_is_as_it_should_be_in_whatever_order_its_maps_are_seen() {
    let [before, during, after] = moved();
    assert_eq!(broken_by(&[before.clone(), during.clone(), after.clone()]), "");
    assert_eq!(broken_by(&[after.clone(), before.clone(), during]), "");
    let mut history = MapHistory::default();
    for map in [before, after] {
        history.see(NodeId(1), 1, &Arc::new(map));
    }
    assert!(history.has_left(ReplicaId(6)) && !history.has_left(ReplicaId(7)));
    assert_eq!(history.newest().epoch, Epoch(7));
}

#[test]
fn maps_that_contradict_each_other_are_found() {
    let [before, during, after] = moved();
    let other = map(5, &[(4, 1), (5, 2), (6, 4)]);
    assert_eq!(broken_by(&[before.clone(), other]), "SIM-MAP-2");
    let mut history = MapHistory::default();
    for map in [&after, &before] {
        history.see(NodeId(1), 1, &Arc::new(map.clone()));
    }
    assert!(history.take_broken()[0].starts_with("SIM-MAP-3"));
    let mut lost = before.clone();
    lost.shards[0].slots.end -= 1;
    assert_eq!(broken_by(&[lost]), "SIM-MAP-1");
    let mut again = map(8, &[(4, 1), (5, 2), (6, 3)]);
    again.shards[0].changes.generation = 2;
    assert_eq!(broken_by(&[before.clone(), after.clone(), again]), "SIM-MAP-7", "a replica that left is back");
    let mut unmade = after.clone();
    unmade.shards[0].changes.generation = 0;
    assert_eq!(broken_by(&[before.clone(), unmade]), "SIM-MAP-5");
    let mut elsewhere = map(8, &[(4, 1), (5, 3), (7, 4)]);
    elsewhere.shards[0].changes.generation = 1;
    assert_eq!(broken_by(&[before.clone(), elsewhere]), "SIM-MAP-7");
    let mut changed = during.clone();
    changed.epoch = Epoch(9);
    changed.shards[0].changes.change = Some(change((8, 4), 6));
    assert_eq!(broken_by(&[during, changed]), "SIM-MAP-5");
    let mut old = map(9, &[(4, 1), (5, 2), (3, 4)]);
    (old.shards[0].changes.generation, old.meta[2].replica) = (1, ReplicaId(2_000));
    assert!(broken_by(&[before, old]).contains("SIM-MAP"), "ids are used again");
}

/// SIM-VERSION-1
#[test]
fn versions_that_fall_or_leave_a_member_behind_are_found() {
    let raised = |epoch, most, version| {
        let mut map = map(epoch, &[(4, 1), (5, 2), (6, 3)]);
        map.nodes.iter_mut().for_each(|node| node.versions.most = ClusterVersion(most));
        ShardMap { version: ClusterVersion(version), ..map }
    };
    assert_eq!(broken_by(&[raised(1, 1, 1), raised(2, 2, 1), raised(3, 2, 2)]), "");
    assert_eq!(broken_by(&[raised(1, 2, 2), raised(2, 2, 1)]), "SIM-VERSION-1");
    assert_eq!(broken_by(&[raised(1, 1, 1), raised(2, 1, 2)]), "SIM-VERSION-1");
}

#[test]
fn removed_nodes_stay_away() {
    let first = map(1, &[(4, 1), (5, 2), (6, 3)]);
    let mut without = ShardMap { epoch: Epoch(2), ..first.clone() };
    without.nodes.pop();
    let back = ShardMap { epoch: Epoch(3), ..first.clone() };
    assert_eq!(broken_by(&[first.clone(), without.clone()]), "");
    assert_eq!(broken_by(&[first.clone(), without, back]), "SIM-MAP-6");
    let mut copy = ShardMap { epoch: Epoch(2), ..first.clone() };
    copy.nodes[3].instance = InstanceId(77);
    assert_eq!(broken_by(&[first, copy]), "SIM-MAP-6");
}
