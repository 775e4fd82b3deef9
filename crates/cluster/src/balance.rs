//! Leaders go back to where the map wants them.
//!
//! After a failover leaders pile up on the nodes that stayed. When the preferred node of a shard is back, has caught up
//! and both have been stable for a while, the shard's leader hands over: one shard at a time, so that a move that does
//! harm does little of it. A node that is not to lead gives its leaders, also that of the meta group, to whoever can
//! take them. So does one whose disk is full, and nobody gives it any: a leader there would refuse writes that a
//! majority has room for.

use std::collections::BTreeMap;
use std::time::Duration;

use strata_env::Mono;
use strata_types::{GroupId, GroupPlacement, LogIndex, NodeId, ReplicaId, ReplicaPlacement, ShardMap, Term};

use crate::node::Node;
use crate::report::NodeReport;

/// How long a leader, and its preferred successor, must have been there.
const STABLE: Duration = Duration::from_secs(5);
/// How long a shard is left alone after a handover that did not work.
const REST: Duration = Duration::from_secs(30);
/// How often it is looked at, and at how fast replicas are.
const TICK: Duration = Duration::from_secs(1);
/// A successor may lack this many entries: it gets them during the handover.
const BEHIND_MAX: u64 = 64;
/// How long a handover may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// A group that this node leads and another one should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Misplaced {
    pub(crate) group: GroupId,
    pub(crate) term: Term,
    pub(crate) last: LogIndex,
    /// This node's replica.
    pub(crate) leader: ReplicaId,
    /// Who should lead, the best one first.
    pub(crate) successors: Vec<ReplicaPlacement>,
}

/// Remembers how long things have been as they are.
#[derive(Default)]
pub(crate) struct Balancer {
    since: BTreeMap<GroupId, (Term, Mono)>,
    resting: BTreeMap<GroupId, Mono>,
}

impl Balancer {
    /// Of the groups that are misplaced now, those that have been for long enough.
    pub(crate) fn due(&mut self, now: Mono, misplaced: &[Misplaced]) -> Vec<Misplaced> {
        self.since.retain(|group, _| misplaced.iter().any(|one| one.group == *group));
        self.resting.retain(|_, since| now.since(*since) < REST);
        for one in misplaced {
            let since = self.since.entry(one.group).or_insert((one.term, now));
            if since.0 != one.term {
                *since = (one.term, now);
            }
        }
        let is_due =
            |one: &&Misplaced| now.since(self.since[&one.group].1) >= STABLE && !self.resting.contains_key(&one.group);
        misplaced.iter().filter(is_due).cloned().collect()
    }

    /// A handover did not work.
    pub(crate) fn failed(&mut self, now: Mono, group: GroupId) {
        self.resting.insert(group, now);
    }
}

/// Whether a successor, whose node says this of itself, can take over.
pub(crate) fn can_take_over(report: &NodeReport, one: &Misplaced, successor: ReplicaId) -> bool {
    let Some(group) = report.replica(one.group, successor) else { return false };
    report.uptime >= STABLE
        && !report.is_stopping
        && report.has_room()
        && group.serving
        && group.term == one.term
        && group.leader.is_some_and(|(leader, _)| leader == one.leader)
        && group.applied.0 + BEHIND_MAX >= one.last.0
}

/// Looks after the leaders of a node for ever.
pub(crate) async fn run(node: std::sync::Arc<Node>) {
    let mut balancer = Balancer::default();
    loop {
        node.env().sleep(TICK).await;
        node.look_at_paces();
        let due = balancer.due(node.env().now(), &misplaced(&node));
        let mut reports: BTreeMap<NodeId, Option<NodeReport>> = BTreeMap::new();
        for one in due {
            let mut ready = None;
            for successor in &one.successors {
                if let std::collections::btree_map::Entry::Vacant(place) = reports.entry(successor.node) {
                    place.insert(node.ask_report(successor.node).await);
                }
                let report = reports[&successor.node].as_ref();
                if report.is_some_and(|report| can_take_over(report, &one, successor.replica)) {
                    ready = Some(*successor);
                    break;
                }
            }
            let Some((group, successor)) = node.host().group(one.group).zip(ready) else { continue };
            let done = group.transfer_leader(successor.replica, PATIENCE).await;
            tracing::info!(group = %one.group, to = %successor.node, done, "leader handed back");
            metrics::counter!("strata_cluster_leaders_moved_total").increment(u64::from(done));
            if !done {
                balancer.failed(node.env().now(), one.group);
            }
            break;
        }
    }
}

fn misplaced(node: &Node) -> Vec<Misplaced> {
    let (map, has_room) = (node.map(), node.wal().room());
    let mut found = Vec::new();
    for placement in map.groups() {
        let successors = successors(&map, &placement, node.identity().node, has_room);
        let Some(group) = node.host().group(placement.group).filter(|_| !successors.is_empty()) else { continue };
        if !group.watch().borrow().is_leader {
            continue;
        }
        let status = group.status();
        found.push(Misplaced {
            group: placement.group,
            term: status.term,
            last: status.last,
            leader: status.replica,
            successors,
        });
    }
    found
}

/// Who should lead a group rather than its replica on this node: the preferred one, if that is another. A node that is
/// not to lead, or has no room, takes anybody who may. The meta group has no preferred leader.
fn successors(map: &ShardMap, placement: &GroupPlacement<'_>, own: NodeId, has_room: bool) -> Vec<ReplicaPlacement> {
    let takes = |id: NodeId| map.node(id).is_some_and(|node| node.state.takes());
    let stays = |replica: &ReplicaPlacement| placement.changes.removed() != Some(replica.replica);
    let preferred = placement.replicas.first().filter(|_| placement.group != GroupId::META);
    if takes(own) && has_room {
        return preferred.copied().filter(|first| first.node != own && stays(first)).into_iter().collect();
    }
    let others = placement.replicas.iter().copied();
    others.filter(|other| other.node != own && takes(other.node) && stays(other)).collect()
}

#[cfg(test)]
mod tests {
    use strata_types::{ChangeId, ChangeReason, GroupChanges, NodeDescriptor, NodeState, ReplicaChange};

    use super::*;
    use crate::report::{GroupReport, Room};

    fn at(seconds: u64) -> Mono {
        Mono(Duration::from_secs(seconds))
    }

    fn one(group: u64, term: u64) -> Misplaced {
        Misplaced {
            group: GroupId(group),
            term: Term(term),
            last: LogIndex(1_000),
            leader: ReplicaId(5),
            successors: vec![ReplicaPlacement { replica: ReplicaId(4), node: NodeId(1) }],
        }
    }

    #[test]
    fn only_what_stays_misplaced_in_one_term_is_due() {
        let mut balancer = Balancer::default();
        assert_eq!(balancer.due(at(0), &[one(1, 3)]), []);
        assert_eq!(balancer.due(at(4), &[one(1, 3), one(2, 7)]), []);
        assert_eq!(balancer.due(at(5), &[one(1, 3), one(2, 7)]), [one(1, 3)]);
        assert_eq!(balancer.due(at(6), &[one(1, 4), one(2, 7)]), [], "a new election");
        assert_eq!(balancer.due(at(8), &[one(2, 7)]), []);
        assert_eq!(balancer.due(at(9), &[one(1, 4), one(2, 7)]), [one(2, 7)], "it was well placed meanwhile");
    }

    #[test]
    fn a_failed_handover_is_not_repeated_at_once() {
        let mut balancer = Balancer::default();
        balancer.due(at(0), &[one(1, 3)]);
        assert_eq!(balancer.due(at(5), &[one(1, 3)]).len(), 1);
        balancer.failed(at(6), GroupId(1));
        assert_eq!(balancer.due(at(35), &[one(1, 3)]), []);
        assert_eq!(balancer.due(at(36), &[one(1, 3)]).len(), 1);
    }

    #[test]
    fn only_a_stable_follower_that_caught_up_takes_over() {
        let good = || NodeReport {
            uptime: STABLE,
            groups: vec![GroupReport {
                group: GroupId(1),
                replica: ReplicaId(4),
                term: Term(3),
                leader: Some((ReplicaId(5), NodeId(2))),
                serving: true,
                applied: LogIndex(990),
                ..GroupReport::default()
            }],
            ..NodeReport::default()
        };
        assert!(can_take_over(&good(), &one(1, 3), ReplicaId(4)));
        let spoiled: [fn(&mut NodeReport); 7] = [
            |report| report.uptime = Duration::from_secs(4),
            |report| report.is_stopping = true,
            |report| report.room = Room::No,
            |report| report.groups[0].serving = false,
            |report| report.groups[0].term = Term(4),
            |report| report.groups[0].leader = None,
            |report| report.groups[0].applied = LogIndex(900),
        ];
        for spoil in spoiled {
            let mut report = good();
            spoil(&mut report);
            assert!(!can_take_over(&report, &one(1, 3), ReplicaId(4)), "{report:?}");
        }
        assert!(!can_take_over(&NodeReport::default(), &one(1, 3), ReplicaId(4)));
        assert!(!can_take_over(&good(), &one(1, 3), ReplicaId(6)), "another replica on its node");
    }

    #[test]
    fn a_node_that_is_not_to_lead_gives_leaders_to_whoever_may() {
        let placed = |replica, node| ReplicaPlacement { replica: ReplicaId(replica), node: NodeId(node) };
        let node = |id, state| NodeDescriptor { id: NodeId(id), state, ..NodeDescriptor::default() };
        let replicas = [placed(4, 1), placed(5, 2), placed(6, 3)];
        let whom_of = |states: [NodeState; 3], group, own, has_room| -> Vec<u64> {
            let nodes = (1..).zip(states).map(|(id, state)| node(id, state)).collect();
            let map = ShardMap { nodes, ..ShardMap::default() };
            let change = ReplicaChange {
                id: ChangeId(1),
                add: None,
                remove: Some(ReplicaId(6)),
                reason: ChangeReason::Operator,
                cancelled: false,
                decided: Term(0),
            };
            let changes = GroupChanges { change: Some(change), ..GroupChanges::default() };
            let placement = GroupPlacement { group: GroupId(group), replicas: &replicas, changes: &changes };
            let successors = successors(&map, &placement, NodeId(own), has_room);
            successors.iter().map(|successor| successor.node.0).collect()
        };
        let whom = |states, group, own| whom_of(states, group, own, true);
        use NodeState::{Active, Draining, Removing};
        assert_eq!(whom([Active; 3], 1, 1), [0; 0], "the preferred one");
        assert_eq!(whom([Active; 3], 1, 2), [1]);
        assert_eq!(whom([Active; 3], 0, 2), [0; 0], "the meta group has none");
        assert_eq!(whom([Active, Draining, Active], 0, 2), [1], "but not the one that is about to go");
        assert_eq!(whom([Active, Active, Draining], 1, 3), [1, 2]);
        assert_eq!(whom([Removing, Active, Draining], 1, 1), [2]);
        assert_eq!(whom([Draining; 3], 1, 1), [0; 0]);
        assert_eq!(whom_of([Active; 3], 1, 1, false), [2], "it has no room, and another one is about to go");
        assert_eq!(whom_of([Active; 3], 0, 2, false), [1]);
    }
}
