//! The whole cluster, as far as one node could find out.

use std::collections::{BTreeMap, BTreeSet};

use strata_meta::stranded;
use strata_types::{
    ClusterOverview, GroupId, NodeDescriptor, NodeId, NodeOverview, ReplicaOverview, ReplicaPlacement, ShardMap,
    ShardOverview, ShardPlacement, Term,
};

use crate::ClusterName;
use crate::report::NodeReport;

/// Puts together what the nodes that answered have said.
pub(crate) fn assemble(
    name: &ClusterName,
    node: NodeId,
    map: &ShardMap,
    reports: &BTreeMap<NodeId, NodeReport>,
) -> ClusterOverview {
    let shards: Vec<_> = map.shards.iter().map(|placement| shard_overview(placement, reports)).collect();
    let full: BTreeSet<NodeId> = reports.iter().filter(|(_, report)| report.is_full()).map(|(node, _)| *node).collect();
    let node_of = |node: &NodeDescriptor| node_overview(node, map, &shards, reports.get(&node.id), &full);
    let nodes = map.nodes.iter().map(node_of).collect();
    let mut problems = Vec::new();
    let meta: Vec<_> = map.meta.iter().copied().chain(map.meta_changes.added()).collect();
    for placement in &meta {
        let report = reports.get(&placement.node);
        let replica = report.and_then(|report| report.replica(GroupId::META, placement.replica));
        if let Some(problem) = replica.and_then(|replica| replica.problem.as_ref()) {
            problems.push(format!("meta replica {} on {}: {problem}", placement.replica, placement.node));
        }
    }
    ClusterOverview {
        cluster: map.cluster,
        name: name.to_string(),
        node,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        epoch: map.epoch,
        meta_leader: leader(GroupId::META, &meta, reports).0,
        nodes,
        shards,
        problems,
    }
}

fn node_overview(
    node: &NodeDescriptor,
    map: &ShardMap,
    shards: &[ShardOverview],
    report: Option<&NodeReport>,
    full: &BTreeSet<NodeId>,
) -> NodeOverview {
    let is_here = |placement: &&ShardPlacement| placement.replicas.iter().any(|replica| replica.node == node.id);
    let told = report.map(|report| report.problems.clone()).unwrap_or_default();
    NodeOverview {
        node: node.clone(),
        is_up: report.is_some(),
        version: report.map(|report| report.version.clone()).unwrap_or_default(),
        replicas: map.shards.iter().filter(is_here).count() as u32,
        leaders: shards.iter().filter(|shard| shard.leader == Some(node.id)).count() as u32,
        uptime: report.map(|report| report.uptime).unwrap_or_default(),
        is_full: full.contains(&node.id),
        problems: told.into_iter().chain(stranded(map, node.id, full)).collect(),
    }
}

fn shard_overview(placement: &ShardPlacement, reports: &BTreeMap<NodeId, NodeReport>) -> ShardOverview {
    let group = GroupId::of_shard(placement.shard);
    // Also one that is being added: it may lead before the map knows that it is a member.
    let placed: Vec<_> = placement.as_group().open_replicas().collect();
    let (leader, term) = leader(group, &placed, reports);
    let replica = |placed: &ReplicaPlacement| {
        let report = reports.get(&placed.node)?.replica(group, placed.replica)?;
        Some(ReplicaOverview {
            replica: placed.replica,
            node: placed.node,
            last: report.last,
            committed: report.committed,
            applied: report.applied,
            log_bytes: report.log_bytes,
            figures: report.figures,
            is_serving: report.serving,
            problem: report.problem.clone(),
        })
    };
    let replicas = placed.iter().filter_map(replica).collect();
    ShardOverview { placement: placement.clone(), leader, term, replicas }
}

/// Who leads, in the view of whoever is in the highest term; of those, the leader's own word counts most. Followers remember a
/// leader for a while after its death: one whose node does not answer is none.
fn leader(
    group: GroupId,
    replicas: &[ReplicaPlacement],
    reports: &BTreeMap<NodeId, NodeReport>,
) -> (Option<NodeId>, Term) {
    let views = replicas.iter().filter_map(|placed| reports.get(&placed.node)?.replica(group, placed.replica));
    let newest = views.max_by_key(|view| (view.term, view.is_leader, view.leader.is_some()));
    let answers = |node: &NodeId| reports.contains_key(node);
    newest.map_or((None, Term(0)), |view| (view.leader.map(|(_, node)| node).filter(answers), view.term))
}

#[cfg(test)]
mod tests {
    use strata_types::{ChangeId, ChangeReason, NodeState, ReplicaChange, ReplicaId, ShardId, SlotRange};

    use super::*;
    use crate::report::{GroupReport, Room};

    fn map() -> ShardMap {
        let node = |id| NodeDescriptor { id: NodeId(id), ..NodeDescriptor::default() };
        let placed = |replica, node| ReplicaPlacement { replica: ReplicaId(replica), node: NodeId(node) };
        ShardMap {
            nodes: vec![node(1), node(2), node(3)],
            shards: vec![ShardPlacement {
                shard: ShardId(0),
                slots: SlotRange { start: 0, end: 16_384 },
                replicas: vec![placed(4, 1), placed(5, 2), placed(6, 3)],
                ..ShardPlacement::default()
            }],
            meta: vec![placed(1, 1), placed(2, 2), placed(3, 3)],
            ..ShardMap::default()
        }
    }

    fn report(node: u64, term: u64, leader: Option<u64>) -> NodeReport {
        let group = GroupReport {
            group: GroupId(1),
            replica: ReplicaId(node + 3),
            term: Term(term),
            leader: leader.map(|leader| (ReplicaId(leader + 3), NodeId(leader))),
            is_leader: leader == Some(node),
            serving: true,
            ..GroupReport::default()
        };
        NodeReport { version: "x".into(), groups: vec![group], ..NodeReport::default() }
    }

    #[test]
    fn the_newest_term_says_who_leads() {
        let mut reports = BTreeMap::new();
        // A deposed leader that does not know it yet.
        reports.insert(NodeId(1), report(1, 3, Some(1)));
        reports.insert(NodeId(2), report(2, 4, Some(2)));
        let overview = assemble(&ClusterName::default(), NodeId(2), &map(), &reports);
        assert_eq!((overview.shards[0].leader, overview.shards[0].term), (Some(NodeId(2)), Term(4)));
        assert_eq!(
            overview.nodes.iter().map(|node| (node.is_up, node.leaders)).collect::<Vec<_>>(),
            [(true, 0), (true, 1), (false, 0)]
        );
        assert_eq!(overview.shards[0].replicas.len(), 2, "those that answered");
        assert_eq!(overview.meta_leader, None);
    }

    #[test]
    fn a_dead_leader_that_is_remembered_leads_nobody() {
        let reports = BTreeMap::from([1, 3].map(|node| (NodeId(node), report(node, 3, Some(2)))));
        let overview = assemble(&ClusterName::default(), NodeId(1), &map(), &reports);
        assert_eq!((overview.shards[0].leader, overview.shards[0].term), (None, Term(3)));
    }

    #[test]
    fn a_replica_that_is_added_is_shown_and_may_lead() {
        let add = ReplicaPlacement { replica: ReplicaId(9), node: NodeId(3) };
        let mut map = map();
        map.shards[0].changes.change = Some(ReplicaChange {
            id: ChangeId(1),
            add: Some(add),
            remove: Some(ReplicaId(6)),
            reason: ChangeReason::Damaged,
            cancelled: false,
            decided: Term(4),
        });
        let mut built = report(3, 5, Some(3));
        built.groups[0].replica = add.replica;
        let damaged = GroupReport { problem: Some("damaged".into()), ..report(3, 1, None).groups[0].clone() };
        built.groups.push(damaged);
        let overview = assemble(&ClusterName::default(), NodeId(3), &map, &BTreeMap::from([(NodeId(3), built)]));
        let replicas = &overview.shards[0].replicas;
        let shown: Vec<_> = replicas.iter().map(|replica| (replica.replica, replica.problem.is_some())).collect();
        assert_eq!(shown, [(ReplicaId(6), true), (ReplicaId(9), false)]);
        assert_eq!(overview.shards[0].leader, Some(NodeId(3)));
    }

    #[test]
    fn replicas_that_nobody_can_take_are_a_problem_of_their_node() {
        let mut map = map();
        map.nodes[2].state = NodeState::Lost;
        let mut reports = BTreeMap::from([1, 2].map(|node| (NodeId(node), report(node, 3, Some(1)))));
        let problems = |map: &ShardMap, reports: &BTreeMap<NodeId, NodeReport>| {
            assemble(&ClusterName::default(), NodeId(1), map, reports).nodes[2].problems.clone()
        };
        let is_told = |problems: &[String]| problems.iter().any(|one| one.starts_with("no other node can take 2 of"));
        assert!(is_told(&problems(&map, &reports)), "the shard's and that of the meta group");
        map.nodes.push(NodeDescriptor { id: NodeId(4), ..NodeDescriptor::default() });
        assert_eq!(problems(&map, &reports), Vec::<String>::new(), "the fourth can");
        reports.insert(NodeId(4), NodeReport { room: Room::Little, ..NodeReport::default() });
        assert!(is_told(&problems(&map, &reports)), "it has no room");
    }

    #[test]
    fn a_refusing_replica_is_shown_with_its_file() {
        let mut damaged = report(3, 0, None);
        damaged.groups[0].problem = Some("damaged file: file=`000012.sst`".into());
        damaged.groups[0].serving = false;
        let reports = BTreeMap::from([(NodeId(1), report(1, 2, Some(1))), (NodeId(3), damaged)]);
        let overview = assemble(&ClusterName::default(), NodeId(1), &map(), &reports);
        let replica = &overview.shards[0].replicas[1];
        assert_eq!((replica.node, replica.is_serving), (NodeId(3), false));
        assert!(replica.problem.as_deref().is_some_and(|problem| problem.contains("000012.sst")));
    }
}
