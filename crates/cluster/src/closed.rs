//! Replicas of this node that could not be opened.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use strata_types::{GroupId, ReplicaId};

use crate::report::GroupReport;

/// A replica that could not be opened, and why.
struct Closed {
    replica: ReplicaId,
    problem: String,
    /// It was found damaged and refuses to serve. Otherwise there was no room, and it is tried again.
    is_damaged: bool,
}

/// All of them, one a group at most.
#[derive(Default)]
pub(crate) struct ClosedReplicas(Mutex<BTreeMap<GroupId, Closed>>);

impl ClosedReplicas {
    /// A replica is damaged and stays closed.
    pub(crate) fn refuse(&self, group: GroupId, replica: ReplicaId, problem: String) {
        tracing::error!(%group, %replica, problem, "replica refuses to serve");
        metrics::counter!("strata_cluster_replicas_refused_total").increment(1);
        self.0.lock().insert(group, Closed { replica, problem, is_damaged: true });
    }

    /// There is no room to open a replica; it is tried again.
    pub(crate) fn wait_for_room(&self, group: GroupId, replica: ReplicaId, problem: String) {
        tracing::warn!(%group, %replica, problem, "a replica waits for room");
        self.0.lock().insert(group, Closed { replica, problem, is_damaged: false });
    }

    /// The replica of a group that refuses, if one does.
    pub(crate) fn refused(&self, group: GroupId) -> Option<ReplicaId> {
        self.0.lock().get(&group).filter(|closed| closed.is_damaged).map(|closed| closed.replica)
    }

    /// A replica that could not be opened is open, or deleted.
    pub(crate) fn forget(&self, group: GroupId, replica: ReplicaId) {
        let mut closed = self.0.lock();
        if closed.get(&group).is_some_and(|closed| closed.replica == replica) {
            closed.remove(&group);
        }
    }

    /// Forgets those that the map does not know.
    pub(crate) fn keep(&self, is_known: impl Fn(GroupId, ReplicaId) -> bool) {
        self.0.lock().retain(|group, closed| is_known(*group, closed.replica));
    }

    /// What is to be said of them.
    pub(crate) fn reports(&self) -> Vec<GroupReport> {
        let report = |(&group, closed): (&GroupId, &Closed)| GroupReport {
            group,
            replica: closed.replica,
            problem: Some(closed.problem.clone()),
            is_damaged: closed.is_damaged,
            ..GroupReport::default()
        };
        self.0.lock().iter().map(report).collect()
    }
}
