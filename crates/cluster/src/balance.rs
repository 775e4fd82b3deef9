//! Leaders go back to where the map wants them.
//!
//! After a failover leaders pile up on the nodes that stayed. When the preferred node of a shard is back, has caught up
//! and both have been stable for a while, the shard's leader hands over: one shard at a time, so that a move that does
//! harm does little of it.

use std::collections::BTreeMap;
use std::time::Duration;

use strata_env::Mono;
use strata_types::{GroupId, LogIndex, NodeId, ReplicaId, Term};

use crate::node::Node;
use crate::report::NodeReport;

/// How long a leader, and its preferred successor, must have been there.
const STABLE: Duration = Duration::from_secs(5);
/// How long a shard is left alone after a handover that did not work.
const REST: Duration = Duration::from_secs(30);
/// How often it is looked at.
const TICK: Duration = Duration::from_secs(1);
/// A successor may lack this many entries: it gets them during the handover.
const BEHIND_MAX: u64 = 64;
/// How long a handover may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// A group that this node leads and another one should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Misplaced {
    pub(crate) group: GroupId,
    pub(crate) term: Term,
    pub(crate) last: LogIndex,
    /// This node's replica.
    pub(crate) leader: ReplicaId,
    /// Who should lead.
    pub(crate) preferred: (ReplicaId, NodeId),
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
        misplaced.iter().filter(is_due).copied().collect()
    }

    /// A handover did not work.
    pub(crate) fn failed(&mut self, now: Mono, group: GroupId) {
        self.resting.insert(group, now);
    }
}

/// Whether the preferred node, which says this of itself, can take over.
pub(crate) fn can_take_over(report: &NodeReport, one: &Misplaced) -> bool {
    let Some(group) = report.group(one.group) else { return false };
    report.uptime >= STABLE
        && !report.is_stopping
        && group.serving
        && group.replica == one.preferred.0
        && group.term == one.term
        && group.leader.is_some_and(|(leader, _)| leader == one.leader)
        && group.applied.0 + BEHIND_MAX >= one.last.0
}

/// Looks after the leaders of a node for ever.
pub(crate) async fn run(node: std::sync::Arc<Node>) {
    let mut balancer = Balancer::default();
    loop {
        node.env().sleep(TICK).await;
        let due = balancer.due(node.env().now(), &misplaced(&node));
        let mut reports: BTreeMap<NodeId, Option<NodeReport>> = BTreeMap::new();
        for one in due {
            let (replica, target) = one.preferred;
            if let std::collections::btree_map::Entry::Vacant(place) = reports.entry(target) {
                place.insert(node.ask_report(target).await);
            }
            let ready = reports[&target].as_ref().is_some_and(|report| can_take_over(report, &one));
            let Some(group) = node.host().group(one.group).filter(|_| ready) else { continue };
            let done = group.transfer_leader(replica, PATIENCE).await;
            tracing::info!(group = %one.group, to = %target, done, "leader handed back");
            metrics::counter!("strata_cluster_leaders_moved_total").increment(u64::from(done));
            if !done {
                balancer.failed(node.env().now(), one.group);
            }
            break;
        }
    }
}

fn misplaced(node: &Node) -> Vec<Misplaced> {
    let map = node.map();
    let mut found = Vec::new();
    for placement in &map.shards {
        let id = GroupId::of_shard(placement.shard);
        let Some(preferred) = placement.replicas.first().filter(|first| first.node != node.identity().node) else {
            continue;
        };
        let Some(group) = node.host().group(id) else { continue };
        if !group.watch().borrow().is_leader {
            continue;
        }
        let status = group.status();
        found.push(Misplaced {
            group: id,
            term: status.term,
            last: status.last,
            leader: status.replica,
            preferred: (preferred.replica, preferred.node),
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::GroupReport;

    fn at(seconds: u64) -> Mono {
        Mono(Duration::from_secs(seconds))
    }

    fn one(group: u64, term: u64) -> Misplaced {
        Misplaced {
            group: GroupId(group),
            term: Term(term),
            last: LogIndex(1_000),
            leader: ReplicaId(5),
            preferred: (ReplicaId(4), NodeId(1)),
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
        assert!(can_take_over(&good(), &one(1, 3)));
        let spoiled: [fn(&mut NodeReport); 6] = [
            |report| report.uptime = Duration::from_secs(4),
            |report| report.is_stopping = true,
            |report| report.groups[0].serving = false,
            |report| report.groups[0].term = Term(4),
            |report| report.groups[0].leader = None,
            |report| report.groups[0].applied = LogIndex(900),
        ];
        for spoil in spoiled {
            let mut report = good();
            spoil(&mut report);
            assert!(!can_take_over(&report, &one(1, 3)), "{report:?}");
        }
        assert!(!can_take_over(&NodeReport::default(), &one(1, 3)));
    }
}
