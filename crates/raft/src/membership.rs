//! Who belongs to a group, and changing it.
//!
//! ```text
//!   add_learner(d)        voters a b c            learners d      one entry; d is sent a snapshot, then the log
//!   change_voters(b c d)  voters a b c AND b c d                  first entry: both majorities are needed
//!                         voters b c d                            second entry: a is no member any more
//! ```
//! Each change names the membership it starts from, and the leader refuses it when that is not the newest one: of two
//! changes begun at once, one happens. Each also names the leader it was begun by, so that a replica which lost
//! leadership and won it again does not go on with what it began before: whoever leads now decides anew.
//!
//! A leader answers only after it has committed an entry of its own (RAFT-8). Until then a membership that a former
//! leader left may still be replaced, and two leaders of one term are possible: openraft orders leaders of a term by
//! replica. Of these only one can commit an entry, because a majority has it by then and the log of the other lacks it.
//!
//! A leader may remove itself. It leads until the second entry is committed, whose majority it is no part of; the call
//! returns, and a moment later it hands leadership to the voter that is furthest along and becomes a learner of nobody.
//! Handing over first would be one more step that can fail half way, and would find its way back to this case anyway.

use std::collections::{BTreeMap, BTreeSet};

use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::{ChangeMembershipError, ClientWriteError, PreconditionFailed, RaftError};
use openraft::{ChangeMembers, Instant as _, Precondition, RaftMetrics};
use strata_types::{NodeId, ReplicaId, Term};

use crate::error::ChangeError;
use crate::group::Group;
use crate::types::{LeaderId, Membership, Raft, Seat, Types};

#[cfg(test)]
pub(crate) mod tests;

/// The members of a group, as the newest membership in its leader's log names them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// The replicas that vote. While a change is under way: those of before and those of after.
    pub voters: BTreeMap<ReplicaId, NodeId>,
    /// The replicas that only receive.
    pub learners: BTreeMap<ReplicaId, NodeId>,
    /// Whether a change of the voters is half way: [`Group::change_voters`] to the same voters finishes it.
    pub is_joint: bool,
    /// Whether this membership is committed.
    pub is_committed: bool,
}

/// A replica that leads, and what it knew when it was asked.
struct Leading {
    raft: Raft,
    metrics: RaftMetrics<Types>,
    leader: LeaderId,
}

impl Group {
    /// The newest membership, committed or not; `None` unless this replica leads and has committed an entry of its own.
    pub fn members(&self) -> Option<Members> {
        self.leading().map(|leading| leading.members())
    }

    /// Adds a replica that receives the log and does not vote. Returns when that is committed, not when the replica has
    /// caught up: see [`Group::lag`]. Does nothing if it is a member on that node already.
    pub async fn add_learner(&self, replica: ReplicaId, node: NodeId) -> Result<(), ChangeError> {
        let leading = self.settled().await?;
        match leading.membership().get_node(&replica) {
            Some(seat) if seat.node == node => return Ok(()),
            Some(seat) => return Err(failed(format!("{replica} is a member on {} already", seat.node))),
            None => leading.check_uniform()?,
        }
        leading.change(ChangeMembers::AddNodes([(replica, Seat { node })].into())).await
    }

    /// Removes a replica that does not vote. Returns when that is committed. Does nothing if it is no member.
    pub async fn remove_learner(&self, replica: ReplicaId) -> Result<(), ChangeError> {
        let leading = self.settled().await?;
        if leading.membership().get_node(&replica).is_none() {
            return Ok(());
        }
        leading.check_uniform()?;
        if leading.membership().voter_ids().any(|voter| voter == replica) {
            return Err(failed(format!("{replica} votes")));
        }
        leading.change(ChangeMembers::RemoveNodes([replica].into())).await
    }

    /// Makes exactly these members vote, each of which must vote or be a learner now; former voters are no members any
    /// more. Only as the leader of the given term, in which that was decided. Returns when it is committed. Finishes a
    /// change to the same voters that a former leader left half way, and refuses another target then. Waits while the
    /// group has no majority; dropping the call may leave the change half way.
    pub async fn change_voters(&self, term: Term, to: BTreeSet<ReplicaId>) -> Result<(), ChangeError> {
        let leading = self.settled().await?;
        if leading.leader.term != term.0 {
            return Err(ChangeError::NotLeader { leader: None });
        }
        let configs = leading.membership().get_joint_config();
        match configs.as_slice() {
            [now] if *now == to => return Ok(()),
            [_] => {}
            [.., target] if *target == to => {}
            _ => leading.check_uniform()?,
        }
        if let Some(stranger) = to.iter().find(|replica| leading.membership().get_node(replica).is_none()) {
            return Err(failed(format!("{stranger} is no member")));
        }
        let change = leading.change(ChangeMembers::ReplaceAllVoters(to));
        #[cfg(debug_assertions)]
        if crate::mutant::is(crate::mutant::Mutant::OneStepChange) {
            crate::mutant::change_in_one_step(self, change).await;
            return Err(failed("the voters changed".into()));
        }
        change.await
    }

    /// How many entries of this leader's log a member lacks, as far as it has said; `None` when it has not said
    /// anything yet or this replica does not lead.
    pub fn lag(&self, replica: ReplicaId) -> Option<u64> {
        let raft = self.raft()?;
        let metrics = raft.metrics();
        let metrics = metrics.borrow_watched();
        let matched = metrics.replication.as_ref()?.get(&replica)?.as_ref()?.index;
        Some(metrics.last_log_index?.saturating_sub(matched))
    }

    /// The members that answered this leader lately and lack no more than so many entries, this one among them; none when
    /// it does not lead.
    pub fn ready_members(&self, lag_max: u64) -> BTreeSet<ReplicaId> {
        let Some(raft) = self.raft() else { return BTreeSet::new() };
        let metrics = raft.metrics();
        let metrics = metrics.borrow_watched();
        let (Some(heard), Some(matched)) = (&metrics.heartbeat, &metrics.replication) else { return BTreeSet::new() };
        let silence_max = self.timing().silence_max();
        let last = metrics.last_log_index.unwrap_or_default();
        let is_close = |replica: &ReplicaId| {
            let at = matched.get(replica).and_then(|at| at.as_ref());
            at.is_some_and(|at| last.saturating_sub(at.index) <= lag_max)
        };
        let ready = heard
            .iter()
            .filter(|(replica, at)| at.as_ref().is_some_and(|at| at.elapsed() < silence_max) && is_close(replica));
        ready.map(|(replica, _)| *replica).chain([self.replica()]).collect()
    }

    /// All replicas of the newest membership that this replica knows.
    pub(crate) fn everybody(&self) -> Vec<ReplicaId> {
        let Some(raft) = self.raft() else { return Vec::new() };
        let metrics = raft.metrics();
        let metrics = metrics.borrow_watched();
        metrics.membership_config.nodes().map(|(replica, _)| *replica).collect()
    }

    /// RAFT-8: nothing is said about members, and nothing is changed, before this leader has committed an entry.
    fn leading(&self) -> Option<Leading> {
        let raft = self.raft()?;
        let metrics = raft.metrics().borrow_watched().clone();
        let leads = metrics.state.is_leader() && metrics.current_leader == Some(self.replica());
        let leader = metrics.local_committed?.leader_id;
        (leads && leader == *metrics.vote.leader_id()).then_some(Leading { raft, metrics, leader })
    }

    /// Waits until the newest membership is committed: before, no other one may follow it.
    async fn settled(&self) -> Result<Leading, ChangeError> {
        loop {
            let Some(leading) = self.leading() else {
                let leader = self.status().leader.filter(|(replica, _)| *replica != self.replica());
                return Err(ChangeError::NotLeader { leader: leader.map(|(_, node)| node) });
            };
            if leading.is_committed() {
                return Ok(leading);
            }
            let mut changes = leading.raft.metrics();
            // What was looked at may be older than what is there now: then this returns at once.
            if changes.borrow_watched().membership_config == leading.metrics.membership_config
                && changes.changed().await.is_err()
            {
                return Err(failed("the replica stopped".into()));
            }
        }
    }
}

impl Leading {
    fn membership(&self) -> &Membership {
        self.metrics.membership_config.membership()
    }

    fn is_committed(&self) -> bool {
        self.metrics.committed_membership_config.log_id() == self.metrics.membership_config.log_id()
    }

    fn members(&self) -> Members {
        let voting: BTreeSet<ReplicaId> = self.membership().voter_ids().collect();
        let seats = self.membership().nodes().map(|(replica, seat)| (*replica, seat.node));
        let (voters, learners) = seats.partition(|(replica, _)| voting.contains(replica));
        let is_joint = self.membership().get_joint_config().len() > 1;
        Members { voters, learners, is_joint, is_committed: self.is_committed() }
    }

    /// openraft would finish a change of voters that is half way together with any other change.
    fn check_uniform(&self) -> Result<(), ChangeError> {
        match self.membership().get_joint_config().as_slice() {
            [_] => Ok(()),
            configs => {
                Err(ChangeError::Superseded { detail: format!("the voters are changing: voters=`{configs:?}`") })
            }
        }
    }

    async fn change(self, change: ChangeMembers<ReplicaId, Seat>) -> Result<(), ChangeError> {
        let start = [
            Precondition::LastMembershipLogId { last_membership_log_id: *self.metrics.membership_config.log_id() },
            Precondition::CommittedLeaderId { committed_leader_id: self.leader },
        ];
        self.raft.change_membership_if(change, false, start).await.map(drop).map_err(refused)
    }
}

fn failed(detail: String) -> ChangeError {
    ChangeError::Failed { detail }
}

fn refused(error: RaftError<Types, ClientWriteError<Types>>) -> ChangeError {
    let RaftError::APIError(error) = error else { return failed(error.to_string()) };
    match error {
        ClientWriteError::ForwardToLeader(to) | ClientWriteError::LogEntryDiscarded(to) => {
            ChangeError::NotLeader { leader: to.leader_node.map(|seat| seat.node) }
        }
        ClientWriteError::PreconditionFailed(PreconditionFailed::CommittedLeaderIdMismatch { .. }) => {
            ChangeError::NotLeader { leader: None }
        }
        ClientWriteError::PreconditionFailed(_)
        | ClientWriteError::ChangeMembershipError(ChangeMembershipError::InProgress(_)) => {
            ChangeError::Superseded { detail: error.to_string() }
        }
        ClientWriteError::ChangeMembershipError(_) => failed(error.to_string()),
    }
}
