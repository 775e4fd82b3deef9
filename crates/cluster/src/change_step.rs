//! What the leader of a group does next about its members, without any I/O.
//!
//! ```text
//!   members as the map has them:  stray learner? take it out      no change: rest
//!        |
//!        +-- cancelled: take the new learner out ----> abandon
//!        |
//!        +-- add the learner --> has caught up? --> hand over, if this leader is to go --> decide in this term
//!                                                                                            |
//!   joint members: decide in this term, unless cancelled --------------------------> change the voters
//!                                                                                            |
//!   members as after the change:                                                           finish
//! ```
//! The voters are not touched before a majority of those that are to be is ready: from the joint members there is no way
//! back, and without that majority none onward either. Then the change waits, and can be cancelled.
//!
//! Every leader begins at the top and skips what the members show as done, so it does not matter who did it, or
//! whether the one who did it heard that it worked.

use std::collections::BTreeSet;

use strata_raft::Members;
use strata_types::{ChangeId, GroupPlacement, ReplicaChange, ReplicaId, ReplicaPlacement, Term};

/// What a leader knows of its group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    /// What the map says. It may be old.
    pub(crate) placement: GroupPlacement<'a>,
    /// The leader.
    pub(crate) own: ReplicaId,
    /// The term in which it leads.
    pub(crate) term: Term,
    /// Newest in its log, after it has committed an entry of its term.
    pub(crate) members: &'a Members,
    /// Whether the replica that is being added has nearly all entries.
    pub(crate) has_caught_up: bool,
    /// The members that answer and have nearly all entries.
    pub(crate) ready: &'a BTreeSet<ReplicaId>,
    /// Whether handing over is worth a try: it was not tried in vain again and again.
    pub(crate) may_hand_over: bool,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// All is as it should be.
    Rest,
    /// Nothing can be done before something else happens: the learner catches up, an entry is committed, or a newer map
    /// arrives.
    Wait,
    /// A learner that the map does not want.
    RemoveLearner(ReplicaId),
    /// The first thing of a change.
    AddLearner(ReplicaPlacement),
    /// Give leadership to a voter that stays: this one is to go.
    HandOver,
    /// Have the change decided in this term.
    Decide(ChangeId),
    /// The change itself, or the rest of it.
    ChangeVoters(BTreeSet<ReplicaId>),
    /// Tell that it is done.
    Finish(ChangeId),
    /// Tell that it was given up.
    Abandon(ChangeId),
}

/// The next step of a leader (CLUSTER-6).
pub(crate) fn next_step(view: &View<'_>) -> Step {
    let voters: BTreeSet<ReplicaId> = view.members.voters.keys().copied().collect();
    let before: BTreeSet<ReplicaId> = view.placement.replicas.iter().map(|placement| placement.replica).collect();
    let Some(change) = view.placement.changes.change else {
        // Voters that the map does not know: it is an old one.
        let is_settled = voters == before && !view.members.is_joint && view.members.is_committed;
        return if is_settled { stray(view, None).map_or(Step::Rest, Step::RemoveLearner) } else { Step::Wait };
    };
    let after = after(&before, &change);
    if view.members.is_joint {
        let is_of_change = voters.iter().all(|voter| before.contains(voter) || after.contains(voter));
        return if is_of_change { go_on(view.term, &change, after) } else { Step::Wait };
    }
    match () {
        () if !view.members.is_committed => Step::Wait,
        () if voters == after => Step::Finish(change.id),
        () if voters == before => begin(view, &change, after),
        () => Step::Wait,
    }
}

fn after(before: &BTreeSet<ReplicaId>, change: &ReplicaChange) -> BTreeSet<ReplicaId> {
    let staying = before.iter().copied().filter(|replica| Some(*replica) != change.remove);
    staying.chain(change.add.map(|add| add.replica)).collect()
}

/// A learner other than the wanted one.
fn stray(view: &View<'_>, wanted: Option<ReplicaId>) -> Option<ReplicaId> {
    view.members.learners.keys().copied().find(|learner| Some(*learner) != wanted)
}

/// The voters are those of before the change.
fn begin(view: &View<'_>, change: &ReplicaChange, after: BTreeSet<ReplicaId>) -> Step {
    let add = change.add.filter(|_| !change.cancelled);
    if let Some(stray) = stray(view, add.map(|add| add.replica)) {
        return Step::RemoveLearner(stray);
    }
    if change.cancelled {
        // A later leader has decided it: this one leads no more.
        return if change.decided > view.term { Step::Wait } else { Step::Abandon(change.id) };
    }
    if let Some(add) = add {
        if !view.members.learners.contains_key(&add.replica) {
            return Step::AddLearner(add);
        }
        if !view.has_caught_up {
            return Step::Wait;
        }
    }
    if after.intersection(view.ready).count() * 2 <= after.len() {
        return Step::Wait;
    }
    // A leader can change the members and step down then; but a successor that was chosen with care takes over faster.
    // Without another voter that stays there is none.
    let is_other = |voter: &ReplicaId| *voter != view.own;
    if view.may_hand_over && change.remove == Some(view.own) && view.members.voters.keys().any(is_other) {
        return Step::HandOver;
    }
    decided(view.term, change, after)
}

/// The members have begun to change. A cancelled change goes on too, and undecided by this leader: nobody can decide it
/// any more, and nobody can have it abandoned. Who could have proposed that had no trace of the change among its
/// members after its term had begun, so no later leader would have one either.
fn go_on(term: Term, change: &ReplicaChange, after: BTreeSet<ReplicaId>) -> Step {
    match (change.cancelled, change.is_decided()) {
        (false, _) => decided(term, change, after),
        (true, true) => Step::ChangeVoters(after),
        // What cannot be must not be made worse.
        (true, false) => Step::Wait,
    }
}

fn decided(term: Term, change: &ReplicaChange, after: BTreeSet<ReplicaId>) -> Step {
    match change.decided.cmp(&term) {
        std::cmp::Ordering::Less => Step::Decide(change.id),
        std::cmp::Ordering::Equal => Step::ChangeVoters(after),
        std::cmp::Ordering::Greater => Step::Wait,
    }
}

#[cfg(test)]
mod tests;
