//! What is under way in the membership of a group.

use std::fmt;

use crate::{ChangeId, ReplicaId, ReplicaPlacement, Term};

/// How far the membership of a group has come, and what is under way.
///
/// ```text
///   change: None --start--> Some --decide--> decided --finish--> None, generation + 1     replicas + add - remove;
///                             |                                                           the removed one leaves
///                             +---(cancel)---abandon--+--> None                           replicas as before;
///                                                                                         the added one leaves
///   leaving: taken out of the group; stays until its node says that its files are deleted
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupChanges {
    /// How many changes were finished. Zero: nobody but the founding replicas was ever a member.
    pub generation: u64,
    /// The change under way; a group has one at a time.
    pub change: Option<ReplicaChange>,
    /// Replicas that are no longer members and whose files are not known to be deleted.
    pub leaving: Vec<ReplicaPlacement>,
}

/// A change of a group's members: one joint change after the added replica has caught up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaChange {
    /// Its id, given out once.
    pub id: ChangeId,
    /// The new, empty replica; becomes a learner, catches up, becomes a voter.
    pub add: Option<ReplicaPlacement>,
    /// The voter that goes in the same step.
    pub remove: Option<ReplicaId>,
    /// Why.
    pub reason: ChangeReason,
    /// No longer wished: the leader of the group abandons it, or finishes it if the members have begun to change.
    pub cancelled: bool,
    /// The term of the last leader that was allowed to change the members; zero while none was. Leaders of earlier
    /// terms can neither abandon the change nor begin to make it.
    pub decided: Term,
}

/// Why a change is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ChangeReason {
    /// The group has fewer replicas than it should have.
    TooFew,
    /// The node of the removed replica is lost.
    NodeLost,
    /// The node of the removed replica is being removed.
    NodeRemoving,
    /// A zone holds too many replicas of the group.
    Zone,
    /// Nodes hold too much or too little.
    Balance,
    /// An operator asked for it.
    Operator,
    /// The removed replica is damaged; the added one is built from its peers.
    Damaged,
    /// The group has more replicas than it should have.
    TooMany,
}

impl ChangeReason {
    /// All reasons; the position of each is its number in formats. Only ever appended.
    pub const ALL: [ChangeReason; 8] = [
        ChangeReason::TooFew,
        ChangeReason::NodeLost,
        ChangeReason::NodeRemoving,
        ChangeReason::Zone,
        ChangeReason::Balance,
        ChangeReason::Operator,
        ChangeReason::Damaged,
        ChangeReason::TooMany,
    ];

    /// Its number in formats.
    pub fn number(self) -> u8 {
        match self {
            ChangeReason::TooFew => 0,
            ChangeReason::NodeLost => 1,
            ChangeReason::NodeRemoving => 2,
            ChangeReason::Zone => 3,
            ChangeReason::Balance => 4,
            ChangeReason::Operator => 5,
            ChangeReason::Damaged => 6,
            ChangeReason::TooMany => 7,
        }
    }

    /// The reason with a number.
    pub fn of_number(number: u8) -> Option<ChangeReason> {
        ChangeReason::ALL.get(usize::from(number)).copied()
    }
}

impl fmt::Display for ChangeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ChangeReason::TooFew => "too few replicas",
            ChangeReason::NodeLost => "the node is lost",
            ChangeReason::NodeRemoving => "the node is being removed",
            ChangeReason::Zone => "too many replicas in one zone",
            ChangeReason::Balance => "evens out the nodes",
            ChangeReason::Operator => "asked for by an operator",
            ChangeReason::Damaged => "the replica is damaged",
            ChangeReason::TooMany => "too many replicas",
        })
    }
}

impl ReplicaChange {
    /// Whether some leader was allowed to change the members, and may have done so.
    pub fn is_decided(&self) -> bool {
        self.decided > Term(0)
    }
}

impl GroupChanges {
    /// The replica that is being added.
    pub fn added(&self) -> Option<ReplicaPlacement> {
        self.change.and_then(|change| change.add)
    }

    /// The voter that is being removed.
    pub fn removed(&self) -> Option<ReplicaId> {
        self.change.and_then(|change| change.remove)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_reasons_are_their_positions() {
        for (number, reason) in (0..).zip(ChangeReason::ALL) {
            assert_eq!((reason.number(), ChangeReason::of_number(number)), (number, Some(reason)));
        }
        assert_eq!(ChangeReason::of_number(8), None);
    }
}
