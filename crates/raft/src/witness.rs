//! A read at a timestamp without a round: the vote came with the timestamp.
//!
//! ```text
//!   leader L of a shard --- begin; does r7 still vote for L? ---> node of the meta group's leader: T, then r7's vote
//!                       <-- T, yes ---
//!     raises its clock above T, looks at its own vote, waits for all that it stamped --> read
//! ```
//! # Why it is enough
//! L and r7 are a majority of the configuration that L knew before it asked. When T was handed out r7 still voted for L, and
//! L votes for itself later than that: so nobody had been elected above L when T was handed out. Whoever is elected
//! later asks the meta group for the time after that, and stamps above T (RAFT-14). What L stamps is above T once its
//! clock is, and what it stamped before is waited for (RAFT-13). What was acknowledged or shown before T was handed out
//! is seen for the same reasons as after a round (`roll_call.rs`): only the instant of it is T's, and not that of the
//! question.
//!
//! r7's vote must not be looked at before T is there. Otherwise somebody could be elected between the two, be told a time
//! below T, and write at T or below.
//!
//! Where one vote is not enough, because there are more voters than three or none of them is on that node, or where it
//! was a "no", there is a round as ever.

use strata_types::{GroupId, Reach, ReplicaId, Timestamp};

use crate::ballot::Ballot;
use crate::barriers::{Round, begin_at, check_term};
use crate::error::ReadError;
use crate::group::Group;
use crate::reads::ROUND_DEADLINE;

/// Who voted for a leader, other than itself, when a timestamp had just been handed out: with the leader a majority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    ballot: Ballot,
    at: Timestamp,
}

impl Witness {
    /// Of a voter that was asked on its node after the timestamp was handed out there, and said yes; `None` if its vote is
    /// not enough.
    pub fn new(ballot: Ballot, voter: ReplicaId, at: Timestamp) -> Option<Witness> {
        ballot.needs_only(voter).then_some(Witness { ballot, at })
    }

    /// The group.
    pub fn group(&self) -> GroupId {
        self.ballot.group()
    }
}

impl Group {
    /// [`Group::snapshot_barrier`] for what is reached of the tablet, without a round if the witness is good for it.
    pub async fn snapshot_barrier_for(
        &self,
        at: Timestamp,
        reach: &Reach,
        witness: Option<&Witness>,
    ) -> Result<(), ReadError> {
        let Some(witness) = witness.filter(|witness| at <= witness.at) else {
            return self.snapshot_barrier_within(at, reach).await;
        };
        self.prepare_snapshot().await?;
        match self.env().timeout(ROUND_DEADLINE, self.is_witnessed(at, reach, witness)).await {
            Ok(Ok(true)) => Ok(()),
            // A round finds out what is the matter.
            Ok(Ok(false) | Err(_)) | Err(_) => self.snapshot_barrier_within(at, reach).await,
        }
    }

    async fn is_witnessed(&self, at: Timestamp, reach: &Reach, witness: &Witness) -> Result<bool, ReadError> {
        let replica = self.state();
        let noted = begin_at(&replica.clock, at)?;
        // With this replica's own voice, which comes last.
        if self.ballot().as_ref() != Some(&witness.ballot) {
            return Ok(false);
        }
        let Some(shown) = replica.shown() else { return Ok(false) };
        check_term(&shown, noted)?;
        self.shows(Round { shown, noted: Some(noted) }, reach).await?;
        metrics::counter!("strata_raft_reads_witnessed_total").increment(1);
        Ok(true)
    }
}
