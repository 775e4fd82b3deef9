//! Leadership goes from one replica to another.

use std::cmp::Reverse;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::{Instant as _, RaftMetrics};
use strata_types::ReplicaId;

use crate::group::Group;
use crate::host::HANDOVER_PATIENCE;
use crate::types::Types;

/// A successor may lack this many entries: it gets them while it takes over.
const SUCCESSOR_LAG_MAX: u64 = 64;
/// How often a waiting transfer looks whether it is done.
const TRANSFER_POLL: Duration = Duration::from_millis(5);

impl Group {
    /// Hands leadership to another replica; completes when it is known to lead, or after `patience`, or as soon as the
    /// other one or the majority falls silent. Returns whether it was handed over.
    ///
    /// Who stops must stay until the successor leads: its vote may be needed, and the others deny theirs for a while
    /// unless they have heard that leadership is handed over.
    pub async fn transfer_leader(&self, to: ReplicaId, patience: Duration) -> bool {
        let Some(raft) = self.raft() else { return true };
        if !raft.is_leader() {
            return true;
        }
        if raft.trigger().transfer_leader(to).await.is_err() {
            return true;
        }
        *self.offered.lock() = None;
        let until = self.env().now() + patience;
        while self.env().now() < until {
            let metrics = raft.metrics().borrow_watched().clone();
            match metrics.current_leader {
                Some(leader) if leader != self.replica() => return true,
                Some(_) if !self.successors(&metrics).contains(&to) => return false,
                _ => self.env().sleep(TRANSFER_POLL).await,
            }
        }
        !raft.is_leader()
    }

    /// Another replica begins to hand leadership over to this one.
    pub(crate) fn note_offer(&self) {
        *self.offered.lock() = Some(self.env().now());
    }

    /// Whether this replica may be about to lead because another one hands over to it, or has just begun to.
    pub(crate) fn may_come_to_lead(&self) -> bool {
        let now = self.env().now();
        self.offered.lock().is_some_and(|at| now.since(at) < self.timing().election_min)
    }

    /// Waits until everything that was proposed here has its outcome, but not for long: what was on its way when
    /// another replica was elected is committed by that one, and this one hears of it a moment later. Who leads still
    /// has always something on its way.
    pub(crate) async fn settle(&self, patience: Duration) {
        let until = self.env().now() + patience;
        while !self.leads() && !self.batcher.is_idle() && self.env().now() < until {
            self.env().sleep(TRANSFER_POLL).await;
        }
    }

    /// The voter that should take over, if anybody can. Of those that lack next to nothing it is the one that has answered
    /// for the longest time: who was away just now may be still opening its other replicas, and lets no client in. Where
    /// all lack more it is the one that is furthest along.
    pub fn best_successor(&self) -> Option<ReplicaId> {
        let raft = self.raft()?;
        let metrics = raft.metrics();
        let metrics = metrics.borrow_watched();
        let able = self.successors(&metrics);
        let matched = metrics.replication.as_ref()?.iter().filter(|(id, _)| able.contains(id));
        let enough = metrics.last_log_index.unwrap_or(0).saturating_sub(SUCCESSOR_LAG_MAX);
        let rank = |id: &ReplicaId, at: Option<u64>| {
            let since = if at >= Some(enough) { self.state().leases.answers_since(*id) } else { None };
            (since.is_some(), Reverse(since), at, Reverse(*id))
        };
        matched.max_by_key(|(id, at)| rank(id, at.map(|id| id.index))).map(|(id, _)| *id)
    }

    /// The other voters that have answered lately; none when this replica does not lead or a majority is silent: then
    /// nobody could be elected in its place.
    fn successors(&self, metrics: &RaftMetrics<Types>) -> Vec<ReplicaId> {
        let silence_max = self.timing().silence_max();
        if metrics.last_quorum_acked.as_ref().is_none_or(|at| at.elapsed() >= silence_max) {
            return Vec::new();
        }
        let heard = metrics.heartbeat.iter().flatten();
        let heard = heard.filter(|(_, at)| at.as_ref().is_some_and(|at| at.elapsed() < silence_max));
        let voters: Vec<ReplicaId> = metrics.membership_config.membership().voter_ids().collect();
        heard.map(|(id, _)| *id).filter(|id| voters.contains(id) && *id != self.replica()).collect()
    }

    /// Hands over leadership if somebody can take it and takes no part any more: the others elect a leader if that
    /// failed, which they would not while this replica leads.
    pub(crate) async fn leave(&self) {
        if let Some(successor) = self.best_successor() {
            self.transfer_leader(successor, HANDOVER_PATIENCE).await;
        }
        self.stop_raft().await;
    }
}
