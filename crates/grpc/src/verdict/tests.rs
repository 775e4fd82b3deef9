//! What an operator is told.

use std::time::Duration;

use strata_types::{
    ChangeId, ChangeReason, ClusterId, ClusterVersion, Epoch, LogIndex, NodeDescriptor, NodeId, ReplicaChange,
    ReplicaId, ReplicaPlacement, ShardId, ShardPlacement, SlotRange, Term,
};

use super::*;
use crate::ReplicaOverview;

/// Three nodes and a lost or coming fourth; one shard and the meta group on the first three.
fn map() -> ShardMap {
    let node = |id| NodeDescriptor { id: NodeId(id), peer_address: format!("h:{id}"), ..NodeDescriptor::default() };
    let placed = |replica, node| ReplicaPlacement { replica: ReplicaId(replica), node: NodeId(node) };
    ShardMap {
        nodes: vec![node(1), node(2), node(3), node(4)],
        shards: vec![ShardPlacement {
            shard: ShardId(0),
            slots: SlotRange { start: 0, end: 16_384 },
            replicas: vec![placed(4, 1), placed(5, 2), placed(6, 3)],
            ..ShardPlacement::default()
        }],
        meta: vec![placed(1, 1), placed(2, 2), placed(3, 3)],
        version: ClusterVersion(1),
        ..ShardMap::default()
    }
}

/// What is seen when everybody answers but the nodes that are down.
fn overview(map: &ShardMap, down: &[u64]) -> ClusterOverview {
    let is_up = |node: NodeId| !down.contains(&node.0);
    let node = |node: &NodeDescriptor| NodeOverview {
        node: node.clone(),
        is_up: is_up(node.id),
        version: String::new(),
        replicas: 0,
        leaders: 0,
        uptime: Duration::ZERO,
        is_full: false,
        problems: Vec::new(),
    };
    let replica = |placed: &ReplicaPlacement| ReplicaOverview {
        replica: placed.replica,
        node: placed.node,
        last: LogIndex(9),
        committed: LogIndex(9),
        applied: LogIndex(9),
        log_bytes: 0,
        figures: None,
        is_serving: true,
        problem: None,
    };
    let shard = |shard: &ShardPlacement| ShardOverview {
        placement: shard.clone(),
        leader: shard.replicas.iter().map(|placed| placed.node).find(|node| is_up(*node)),
        term: Term(1),
        replicas: shard.as_group().open_replicas().filter(|placed| is_up(placed.node)).map(|p| replica(&p)).collect(),
    };
    ClusterOverview {
        cluster: ClusterId(1),
        name: "strata".to_owned(),
        node: NodeId(1),
        version: String::new(),
        epoch: Epoch(1),
        meta_leader: Some(NodeId(1)),
        nodes: map.nodes.iter().map(node).collect(),
        shards: map.shards.iter().map(shard).collect(),
        problems: Vec::new(),
    }
}

#[test]
fn a_cluster_where_everybody_answers_is_healthy() {
    let verdict = Verdict::of(&overview(&map(), &[]), &map());
    assert_eq!(verdict, Verdict { health: Health::Healthy, problems: Vec::new(), notes: Vec::new() });
}

#[test]
fn a_dead_node_degrades_and_a_missing_leader_makes_unavailable() {
    let verdict = Verdict::of(&overview(&map(), &[3]), &map());
    assert_eq!(verdict.health, Health::Degraded);
    assert_eq!(verdict.problems, ["node n3 at h:3 does not answer", "shard s0: 2 of 3 replicas answer"]);
    let verdict = Verdict::of(&overview(&map(), &[2, 3]), &map());
    assert_eq!(verdict.health, Health::Unavailable, "a leader without a majority may not know it yet");
    let verdict = Verdict::of(&overview(&map(), &[1, 2, 3]), &map());
    assert_eq!(verdict.health, Health::Unavailable);
    assert_eq!(verdict.problems[0], "shard s0 has no leader", "what keeps users from working comes first");
    let mut cut_off = overview(&map(), &[]);
    cut_off.meta_leader = None;
    assert_eq!(Verdict::of(&cut_off, &map()).health, Health::Unavailable);
    let nothing = Verdict::of(&overview(&ShardMap::default(), &[]), &ShardMap::default());
    assert_eq!(nothing.health, Health::Unavailable, "a cluster that is not founded serves nobody");
}

#[test]
fn what_operators_wished_for_is_no_problem() {
    let mut map = map();
    map.nodes[0].state = NodeState::Draining;
    map.nodes[1].state = NodeState::Removing;
    map.shards[0].changes.change = Some(ReplicaChange {
        id: ChangeId(1),
        add: Some(ReplicaPlacement { replica: ReplicaId(9), node: NodeId(4) }),
        remove: Some(ReplicaId(5)),
        reason: ChangeReason::NodeRemoving,
        cancelled: false,
        decided: Term(0),
    });
    map.meta_changes.leaving.push(ReplicaPlacement { replica: ReplicaId(8), node: NodeId(4) });
    let verdict = Verdict::of(&overview(&map, &[]), &map);
    assert_eq!((verdict.health, verdict.problems), (Health::Healthy, Vec::new()));
    assert_eq!(
        verdict.notes,
        [
            "node n1 is draining: it leads nothing and gets no new replicas",
            "node n2 is being removed: 2 replicas to go",
            "1 change is under way, 1 former replica is being deleted",
        ]
    );
}

#[test]
fn a_replica_that_is_being_added_does_not_stand_in_for_one_that_is_down() {
    let mut map = map();
    map.shards[0].changes.change = Some(ReplicaChange {
        id: ChangeId(1),
        add: Some(ReplicaPlacement { replica: ReplicaId(9), node: NodeId(4) }),
        remove: Some(ReplicaId(6)),
        reason: ChangeReason::NodeLost,
        cancelled: false,
        decided: Term(0),
    });
    let verdict = Verdict::of(&overview(&map, &[3]), &map);
    assert!(verdict.problems.contains(&"shard s0: 2 of 3 replicas answer".to_owned()), "{:?}", verdict.problems);
}

#[test]
fn a_lost_node_is_missed_until_its_replicas_are_replaced() {
    let mut map = map();
    map.nodes[2].state = NodeState::Lost;
    let verdict = Verdict::of(&overview(&map, &[3]), &map);
    assert_eq!(verdict.health, Health::Degraded);
    assert_eq!(verdict.notes, ["node n3 is lost: 2 replicas to be replaced"]);
    map.nodes[2].state = NodeState::Active;
    map.nodes[3].state = NodeState::Lost;
    let verdict = Verdict::of(&overview(&map, &[4]), &map);
    assert_eq!(verdict.health, Health::Healthy, "{:?}", verdict.problems);
    assert_eq!(verdict.notes, ["node n4 is lost and holds nothing any more"]);
}

#[test]
fn an_upgrade_is_noted_while_it_is_half_way_and_when_everybody_is_ready() {
    let mut map = map();
    let notes = |map: &ShardMap| Verdict::of(&overview(map, &[]), map).notes;
    map.nodes[0].versions.most = ClusterVersion(2);
    assert_eq!(notes(&map), ["programs are being exchanged: 3 of 4 nodes do not know cluster version v2"]);
    map.nodes.iter_mut().for_each(|node| node.versions.most = ClusterVersion(2));
    assert_eq!(notes(&map), ["every node knows cluster version v2: `strata cluster upgrade` switches it on"]);
    map.version = ClusterVersion(2);
    assert!(notes(&map).is_empty());
}
