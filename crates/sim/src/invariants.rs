//! What must hold at every step, whatever happens. Each has an id; `docs/invariants.md` says which failure it prevents.

use std::collections::BTreeMap;
use std::sync::Arc;

use strata_raft::{GroupStatus, Members};
use strata_types::{GroupId, LogIndex, NodeId, ReplicaId, ShardMap, Term};

use crate::files::Files;
use crate::map_history::MapHistory;
use crate::member_rules::{Look, MemberRules};

/// Everything seen so far that later states must agree with.
#[derive(Default)]
pub(crate) struct Invariants {
    /// Every map.
    pub(crate) maps: MapHistory,
    /// Every disk.
    pub(crate) files: Files,
    members: MemberRules,
    /// Who led a group in a term, and committed something.
    leaders: BTreeMap<(GroupId, Term), ReplicaId>,
    /// The highest term of a replica. Survives restarts: votes are durable.
    terms: BTreeMap<ReplicaId, Term>,
    /// Where a replica lives.
    places: BTreeMap<ReplicaId, (GroupId, NodeId)>,
    /// How far a replica's present life has come.
    positions: BTreeMap<(ReplicaId, u64), (LogIndex, LogIndex)>,
    /// The hash chain at an index of a group, from whoever reached it first.
    chains: BTreeMap<(GroupId, LogIndex), (u64, ReplicaId)>,
    /// The highest committed index of a group that anybody has seen.
    committed: BTreeMap<GroupId, LogIndex>,
    violations: Vec<String>,
    /// How many of them were shown already.
    shown: usize,
    checks: u64,
}

impl Invariants {
    /// Everything that was broken so far.
    pub(crate) fn violations(&self) -> &[String] {
        &self.violations
    }

    /// Those since the last call.
    pub(crate) fn news(&mut self) -> Vec<String> {
        let news = self.violations[self.shown..].to_vec();
        self.shown = self.violations.len();
        news
    }

    /// How many replica states were looked at.
    pub(crate) fn checks(&self) -> u64 {
        self.checks
    }

    /// Records a violation found elsewhere.
    pub(crate) fn report(&mut self, violation: String) {
        if !self.violations.contains(&violation) {
            self.violations.push(violation);
        }
    }

    /// Looks at one replica in one life of its node.
    pub(crate) fn see_replica(&mut self, life: u64, node: NodeId, status: &GroupStatus) {
        self.checks += 1;
        self.one_place(node, status);
        self.damaged_is_silent(status);
        self.terms_rise(status);
        self.positions_rise(life, status);
        self.positions_ordered(status);
        self.state_machine_safety(status);
        if status.committed > self.committed.get(&status.group).copied().unwrap_or_default() {
            self.committed.insert(status.group, status.committed);
        }
    }

    /// SIM-MEMBER-1: a replica lives on one node in its life, and in one group. In two places at once it would be a second
    /// founder of its group (CLUSTER-9), or a copy.
    fn one_place(&mut self, node: NodeId, status: &GroupStatus) {
        let here = (status.group, node);
        let place = *self.places.entry(status.replica).or_insert(here);
        if place != here {
            let replica = status.replica;
            self.report(format!("SIM-MEMBER-1 one place a replica: {replica} is in {here:?}, and was in {place:?}"));
        }
    }

    /// SIM-MEMBER-5 (CLUSTER-5): a replica that has met damage serves nobody any more.
    fn damaged_is_silent(&mut self, status: &GroupStatus) {
        if status.serving && self.files.is_damaged(status.replica) {
            let GroupStatus { group, replica, .. } = status;
            self.report(format!("SIM-MEMBER-5 damage silences: {replica} of {group} serves with damaged files"));
        }
    }

    /// SIM-RAFT-1 (RAFT-8): in one term of a group, one leader at most has committed an entry of its own.
    ///
    /// The Raft library orders leaders by term and then by id, so that of two candidates of one term the one with the
    /// higher id may depose the other, and the other may hear only then that it was elected. Nothing comes of that: a
    /// majority does not listen to it any more.
    pub(crate) fn see_leader(&mut self, status: &GroupStatus) {
        let leader = *self.leaders.entry((status.group, status.term)).or_insert(status.replica);
        if leader != status.replica {
            let GroupStatus { group, term, replica, .. } = status;
            self.report(format!("SIM-RAFT-1 election safety: {group} {term} is led by {replica} and {leader}"));
        }
    }

    /// SIM-RAFT-2: the term of a replica never falls, not even over a crash.
    fn terms_rise(&mut self, status: &GroupStatus) {
        if !status.serving {
            return;
        }
        let highest = self.terms.entry(status.replica).or_default();
        if status.term < *highest {
            let text = format!("SIM-RAFT-2 terms rise: {} went from {highest} to {}", status.replica, status.term);
            self.report(text);
        } else {
            *highest = status.term;
        }
    }

    /// SIM-RAFT-3: within one life of its node, a replica's committed and applied positions never fall.
    fn positions_rise(&mut self, life: u64, status: &GroupStatus) {
        if !status.serving {
            return;
        }
        let now = (status.committed, status.applied);
        let before = self.positions.insert((status.replica, life), now).unwrap_or_default();
        if now.0 < before.0 || now.1 < before.1 {
            self.report(format!("SIM-RAFT-3 positions rise: {} went from {before:?} to {now:?}", status.replica));
        }
    }

    /// SIM-RAFT-4: nothing is applied that is not committed, nothing purged that is not applied.
    fn positions_ordered(&mut self, status: &GroupStatus) {
        if status.serving && status.purged > status.applied {
            self.report(format!(
                "SIM-RAFT-4 order of positions: {} purged {} but applied {}",
                status.replica, status.purged, status.applied
            ));
        }
    }

    /// SIM-RAFT-5: two replicas that applied up to the same entry wrote the same bytes.
    fn state_machine_safety(&mut self, status: &GroupStatus) {
        if status.applied == LogIndex(0) {
            return;
        }
        let key = (status.group, status.applied);
        let (chain, first) = *self.chains.entry(key).or_insert((status.chain, status.replica));
        if chain != status.chain {
            let GroupStatus { group, replica, applied, .. } = status;
            self.report(format!(
                "SIM-RAFT-5 state machine safety: {group} at {applied}: {replica} differs from {first}"
            ));
        }
    }

    /// SIM-MAP-1 to 7: a node has this map.
    pub(crate) fn see_map(&mut self, node: NodeId, life: u64, map: &Arc<ShardMap>) {
        self.maps.see(node, life, map);
        for text in self.maps.take_broken() {
            self.report(text);
        }
    }

    /// SIM-MEMBER-1 to 4: looks at all replicas that run, after each of them and each map was seen.
    pub(crate) fn see_members(&mut self, groups: &[(GroupStatus, Option<Members>)]) {
        for (status, _) in groups.iter().filter(|(status, members)| status.is_leader && members.is_some()) {
            self.see_leader(status);
        }
        self.members.note_left(&self.maps, groups.iter().map(|(status, _)| status.replica));
        let look = Look { groups, maps: &self.maps, files: &self.files, committed: &self.committed };
        let mut broken = self.members.look(&look);
        broken.extend(self.files.take_broken());
        for text in broken {
            self.report(text);
        }
    }

    /// SIM-RAFT-6: after everything healed, no replica is behind what was ever committed.
    pub(crate) fn committed_survives(&mut self, statuses: &[GroupStatus]) {
        for status in statuses {
            let committed = self.committed.get(&status.group).copied().unwrap_or_default();
            if status.applied < committed {
                self.report(format!(
                    "SIM-RAFT-6 committed entries survive: {} of {} applied {} but {committed} was committed",
                    status.replica, status.group, status.applied
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(replica: u64, term: u64, applied: u64, chain: u64) -> GroupStatus {
        GroupStatus {
            group: GroupId(1),
            replica: ReplicaId(replica),
            term: Term(term),
            committed: LogIndex(applied),
            applied: LogIndex(applied),
            serving: true,
            chain,
            ..GroupStatus::default()
        }
    }

    fn broken_by(states: &[(u64, GroupStatus)]) -> String {
        let mut invariants = Invariants::default();
        for (life, status) in states {
            invariants.see_replica(*life, NodeId(status.replica.0), status);
        }
        invariants.violations().iter().map(|text| text.split(' ').next().unwrap_or("").to_string()).collect()
    }

    #[test]
    fn each_violation_is_found_and_named() {
        let mut leaders = Invariants::default();
        for (replica, term) in [(1, 3), (1, 3), (2, 4)] {
            leaders.see_leader(&status(replica, term, 0, 0));
        }
        assert!(leaders.violations().is_empty());
        leaders.see_leader(&status(2, 3, 0, 0));
        assert!(leaders.violations()[0].starts_with("SIM-RAFT-1"));
        assert_eq!(broken_by(&[(1, status(1, 5, 0, 0)), (2, status(1, 4, 0, 0))]), "SIM-RAFT-2");
        assert_eq!(broken_by(&[(1, status(1, 5, 9, 7)), (1, status(1, 5, 8, 6))]), "SIM-RAFT-3");
        assert_eq!(broken_by(&[(1, status(1, 5, 9, 7)), (2, status(1, 5, 8, 6))]), "", "a crash rolls back");
        let purged = GroupStatus { purged: LogIndex(4), ..status(1, 1, 3, 1) };
        assert_eq!(broken_by(&[(1, purged)]), "SIM-RAFT-4");
        assert_eq!(broken_by(&[(1, status(1, 1, 9, 7)), (1, status(2, 1, 9, 8))]), "SIM-RAFT-5");
        let mut damaged = Invariants::default();
        damaged.files.damage(ReplicaId(1));
        damaged.see_replica(1, NodeId(1), &GroupStatus { serving: false, ..status(1, 1, 9, 7) });
        assert!(damaged.violations().is_empty());
        damaged.see_replica(1, NodeId(1), &status(1, 1, 9, 7));
        assert!(damaged.violations()[0].starts_with("SIM-MEMBER-5"));
    }
}
