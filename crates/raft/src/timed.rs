//! What a group offers that has time: stamped entries, and a clock for whoever asks the meta group.

use bytes::Bytes;
use strata_types::{Reach, Term, Timestamp};

use crate::error::ProposeError;
use crate::group::Group;

/// The reply to a command, and the logical time at which it was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// What the machine answered.
    pub reply: Bytes,
    /// The stamp of the entry; zero in an untimed group.
    pub stamp: Timestamp,
}

impl Group {
    /// Whether entries get stamps from now on, and wait for the clock: those of shards, once every node of the cluster
    /// understands them. A group that has applied a stamp stays timed.
    pub fn set_timed(&self, timed: bool) {
        self.state().clock.set_timed(timed);
    }

    /// Opens the clock of this leader for a term. `at` must be above every timestamp that was handed out before the
    /// leader of that term was elected: it must have been asked for after that (RAFT-14).
    pub fn open_clock(&self, term: Term, at: Timestamp) {
        self.state().clock.open(term, at);
    }

    /// The logical time here: no later entry gets a stamp below it. `None` unless this replica leads and its clock is
    /// open.
    pub fn clock(&self) -> Option<Timestamp> {
        self.state().clock.now()
    }

    /// The highest stamp, or time of a clock, that this replica has heard of: at most one above what was handed out.
    pub fn heard(&self) -> Timestamp {
        self.state().clock.heard()
    }

    /// No entry gets a stamp below `at` from now on. Only for what was handed out: time may not run ahead.
    pub fn raise_clock(&self, at: Timestamp) {
        self.state().clock.raise(at);
    }

    /// Replicates commands as [`Group::propose`] does, in an entry that is not stamped below `not_before`, which must
    /// have been handed out.
    pub async fn propose_at(&self, commands: Vec<Bytes>, not_before: Timestamp) -> Vec<Result<Proposed, ProposeError>> {
        self.propose_within(commands, Reach::ALL, not_before).await
    }

    /// The same with commands that change nothing but what they reach: who reads something else at a timestamp does not wait
    /// for them.
    pub async fn propose_within(
        &self,
        commands: Vec<Bytes>,
        reach: Reach,
        not_before: Timestamp,
    ) -> Vec<Result<Proposed, ProposeError>> {
        let count = commands.len();
        match self.propose_all(commands, reach, not_before).await {
            Ok((replies, stamp)) => replies.into_iter().map(|reply| Ok(Proposed { reply, stamp })).collect(),
            Err(error) => vec![Err(error); count],
        }
    }
}
