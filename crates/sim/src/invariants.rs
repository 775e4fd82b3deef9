//! What must hold at every step, whatever happens. Each has an id; `docs/invariants.md` says which failure it prevents.

use std::collections::{BTreeMap, BTreeSet};

use strata_raft::GroupStatus;
use strata_types::{Epoch, GroupId, LogIndex, NodeId, ReplicaId, ShardMap, Term};

/// Everything seen so far that later states must agree with.
#[derive(Default)]
pub(crate) struct Invariants {
    /// Who led a group in a term.
    leaders: BTreeMap<(GroupId, Term), BTreeSet<ReplicaId>>,
    /// The highest term of a replica. Survives restarts: votes are durable.
    terms: BTreeMap<ReplicaId, Term>,
    /// How far a replica's present life has come.
    positions: BTreeMap<(ReplicaId, u64), (LogIndex, LogIndex)>,
    /// The hash chain at an index of a group, from whoever reached it first.
    chains: BTreeMap<(GroupId, LogIndex), (u64, ReplicaId)>,
    /// The highest committed index of a group that anybody has seen.
    committed: BTreeMap<GroupId, LogIndex>,
    /// The shard map of an epoch.
    maps: BTreeMap<Epoch, ShardMap>,
    /// The highest epoch a node has shown in its present life.
    epochs: BTreeMap<(NodeId, u64), Epoch>,
    violations: Vec<String>,
    checks: u64,
}

impl Invariants {
    /// Everything that was broken so far.
    pub(crate) fn violations(&self) -> &[String] {
        &self.violations
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
    pub(crate) fn see_replica(&mut self, life: u64, status: &GroupStatus) {
        self.checks += 1;
        self.election_safety(status);
        self.terms_rise(status);
        self.positions_rise(life, status);
        self.positions_ordered(status);
        self.state_machine_safety(status);
        if status.committed > self.committed.get(&status.group).copied().unwrap_or_default() {
            self.committed.insert(status.group, status.committed);
        }
    }

    /// SIM-RAFT-1: the leaders of one term of a group have rising replica ids.
    ///
    /// The Raft library orders leaders by term and then by id, so that of two candidates of one term the one with
    /// the higher id may depose the other; the lower one must never come up after it.
    fn election_safety(&mut self, status: &GroupStatus) {
        if !status.is_leader {
            return;
        }
        let leaders = self.leaders.entry((status.group, status.term)).or_default();
        if leaders.contains(&status.replica) {
            return;
        }
        let deposed_by = leaders.iter().copied().find(|leader| *leader > status.replica);
        leaders.insert(status.replica);
        if let Some(leader) = deposed_by {
            let GroupStatus { group, term, replica, .. } = status;
            self.report(format!("SIM-RAFT-1 election safety: {group} {term} is led by {replica} after {leader}"));
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

    /// SIM-MAP-1 to 3: a map is valid, an epoch has one map, and no node's map goes back within a life.
    pub(crate) fn see_map(&mut self, node: NodeId, life: u64, map: &ShardMap) {
        if let Err(error) = map.validate() {
            self.report(format!("SIM-MAP-1 valid map: epoch {}: {error}", map.epoch));
        }
        let known = self.maps.entry(map.epoch).or_insert_with(|| map.clone());
        if known != map {
            self.report(format!("SIM-MAP-2 one map an epoch: {node} holds another map of {}", map.epoch));
        }
        let epoch = self.epochs.entry((node, life)).or_default();
        if map.epoch < *epoch {
            let text = format!("SIM-MAP-3 epochs rise: {node} went from {epoch} to {}", map.epoch);
            self.report(text);
        } else {
            *epoch = map.epoch;
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
            invariants.see_replica(*life, status);
        }
        invariants.violations().iter().map(|text| text.split(' ').next().unwrap_or("").to_string()).collect()
    }

    #[test]
    fn each_violation_is_found_and_named() {
        let leader = |replica, term| GroupStatus { is_leader: true, ..status(replica, term, 0, 0) };
        assert_eq!(broken_by(&[(1, leader(2, 3)), (1, leader(1, 3))]), "SIM-RAFT-1");
        assert_eq!(broken_by(&[(1, leader(1, 3)), (1, leader(2, 3)), (1, leader(1, 3))]), "", "not yet deposed");
        assert_eq!(broken_by(&[(1, leader(1, 3)), (1, leader(2, 4))]), "");
        assert_eq!(broken_by(&[(1, status(1, 5, 0, 0)), (2, status(1, 4, 0, 0))]), "SIM-RAFT-2");
        assert_eq!(broken_by(&[(1, status(1, 5, 9, 7)), (1, status(1, 5, 8, 6))]), "SIM-RAFT-3");
        assert_eq!(broken_by(&[(1, status(1, 5, 9, 7)), (2, status(1, 5, 8, 6))]), "", "a crash rolls back");
        let purged = GroupStatus { purged: LogIndex(4), ..status(1, 1, 3, 1) };
        assert_eq!(broken_by(&[(1, purged)]), "SIM-RAFT-4");
        assert_eq!(broken_by(&[(1, status(1, 1, 9, 7)), (1, status(2, 1, 9, 8))]), "SIM-RAFT-5");
    }
}
