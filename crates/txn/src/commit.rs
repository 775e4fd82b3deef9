//! The commit of a transaction: one step if it concerns one shard, else two rounds.
//!
//! ```text
//!   one shard:   Commit -> Committed | Conflict
//!   several:     Prepare on all but the anchor's, at once -- all Prepared --> Commit at the anchor -> answer to the caller
//!                        |                                                           |
//!                        `-- any refuses --> Abort at the anchor                     |      in the background
//!                                                  `---------------------------------+--> Resolve on the others --> Forget
//! ```
//! The last one decides: its entry is the point at which the transaction is committed, on all shards. Before that nobody can
//! have been told that it is, and whoever pushes it leaves a mark in the same log, which refuses it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use strata_types::{
    Conflict, ConflictReason, Decision, Error, ErrorCode, Outcome, Part, Prepared, Result, Slot, Timestamp,
    Transaction, TransactionCall, TransactionReply, TransactionStatus, limits::REQUEST_DEADLINE_MAX,
};
use tokio::sync::oneshot;

use crate::TransactionHandle;
use crate::core::{Core, misfit};
use crate::locks::Locks;
use crate::parts::Parts;
use crate::ticks;

/// A transaction that is being committed.
pub(crate) struct Commit {
    pub(crate) core: Arc<Core>,
    pub(crate) transaction: Transaction,
    pub(crate) parts: Parts,
    pub(crate) locks: Locks,
    pub(crate) deadline: Duration,
}

/// What is left to do when the caller has its answer.
enum Rest {
    /// Nothing; or nobody knows what, and the nodes find out if they have to.
    Nothing,
    /// Every shard that is prepared must learn the decision.
    Resolve(Decision),
    /// It is never going to be committed: nobody was asked to.
    Abandon,
    /// It was not committed, as far as is known here.
    Settle,
}

/// What both phases need.
struct Round {
    core: Arc<Core>,
    transaction: Transaction,
    /// A slot of each shard that has a part, but for the anchor's.
    participants: Vec<Slot>,
    deadline: Duration,
}

impl Commit {
    /// Commits in a task of its own: a caller that goes away does not leave it half done.
    pub(crate) async fn spawn(self) -> Result<Timestamp> {
        let (sender, receiver) = oneshot::channel();
        let Commit { core, transaction, parts: Parts { anchors: last, others: mut parts }, locks, deadline } = self;
        parts.retain(|part| !part.writes.is_empty() || !is_mutant!(PrepareOnlyWrites));
        let participants = parts.iter().map(|part| part.slot).collect();
        let (env, handle) = (core.env().clone(), TransactionHandle::from(&transaction));
        let round = Round { core, transaction, participants, deadline };
        env.spawn("txn-commit", async move {
            let (answer, rest) = round.run(parts, last).await;
            // A caller that gave up is nobody's error.
            let _ = sender.send(answer);
            if matches!(rest, Rest::Nothing) && locks.is_empty() {
                return;
            }
            round.core.clone().in_background("txn-tidy", async move {
                // Whoever locks expects others at its keys: they should not find them in the way.
                if locks.is_empty() && matches!(rest, Rest::Resolve(Decision::Committed(_))) {
                    ticks::next(round.core.env(), ticks::RESOLVE).await;
                }
                let is_heard = round.tidy(rest).await;
                locks.release().await;
                if is_heard {
                    round.forget().await;
                }
            });
        });
        let stopped = || Error::unknown(ErrorCode::NotReady, "the program is stopping");
        receiver.await.unwrap_or_else(|_| Err(untold(handle, stopped())))
    }
}

impl Round {
    async fn run(&self, parts: Vec<Part>, last: Part) -> (Result<Timestamp>, Rest) {
        if is_mutant!(CommitBeforePrepared) {
            let (_, committed) = futures_util::future::join(self.prepare(parts), self.commit(last, Timestamp(0))).await;
            return committed;
        }
        let (answer, rest) = match self.prepare(parts).await {
            Ok(at) => self.commit(last, at).await,
            Err(error) => (Err(error), Rest::Abandon),
        };
        // Nobody else has to learn anything.
        let rest = if self.participants.is_empty() { Rest::Nothing } else { rest };
        (answer, rest)
    }

    /// The point at which it is committed, or not. Only after all other parts were prepared (COORD-3).
    async fn commit(&self, last: Part, at: Timestamp) -> (Result<Timestamp>, Rest) {
        let participants = self.participants.clone();
        let committed = |at| (Ok(at), Rest::Resolve(Decision::Committed(at)));
        match self.step(TransactionCall::Commit(Part { prepared: Prepared { at, participants }, ..last })).await {
            Ok(TransactionReply::Committed { at }) => committed(at),
            Ok(TransactionReply::Conflict(conflict)) => self.refused(conflict).await,
            Ok(other) => (Err(self.untold(misfit(&other))), Rest::Nothing),
            Err(error) if error.outcome == Outcome::NotApplied => (Err(error), Rest::Settle),
            Err(_) if is_mutant!(AbortAfterPrepare) => (Err(aborted()), Rest::Resolve(Decision::Aborted)),
            Err(error) => (Err(self.untold(error)), Rest::Nothing),
        }
    }

    /// A commit was refused. What its entry in the log met, any copy of it meets. But what a leader had in memory says
    /// nothing about a copy that was sent before, without an answer: that one is made to fail, or found committed
    /// (COORD-4).
    async fn refused(&self, conflict: Conflict) -> (Result<Timestamp>, Rest) {
        match conflict.reason {
            ConflictReason::Changed => return (Err(Error::of_conflict(conflict)), Rest::Abandon),
            ConflictReason::Aborted => return (Err(Error::of_conflict(conflict)), Rest::Resolve(Decision::Aborted)),
            // A copy that was sent before may have been applied so long ago that no trace of it is kept.
            ConflictReason::TooOld => {
                let error = Error { outcome: Outcome::Unknown, ..Error::of_conflict(conflict) };
                return (Err(self.untold(error)), Rest::Nothing);
            }
            ConflictReason::Wounded | ConflictReason::Locked => {}
        }
        let transaction = self.transaction;
        match self.step(TransactionCall::Abort { transaction }).await {
            Ok(TransactionReply::Status(TransactionStatus::Decided(decision @ Decision::Committed(at)))) => {
                (Ok(at), Rest::Resolve(decision))
            }
            Ok(TransactionReply::Status(TransactionStatus::Decided(decision @ Decision::Aborted))) => {
                (Err(Error::of_conflict(conflict)), Rest::Resolve(decision))
            }
            // As with `TooOld`.
            Ok(TransactionReply::Status(TransactionStatus::Unknown)) => {
                let error = Error { outcome: Outcome::Unknown, ..Error::of_conflict(conflict) };
                (Err(self.untold(error)), Rest::Nothing)
            }
            Ok(other) => (Err(self.untold(misfit(&other))), Rest::Nothing),
            Err(error) => (Err(self.untold(Error { outcome: Outcome::Unknown, ..error })), Rest::Nothing),
        }
    }

    /// Prepares all other parts. Returns the latest timestamp at which one was.
    async fn prepare(&self, parts: Vec<Part>) -> Result<Timestamp> {
        let mut calls: FuturesUnordered<_> =
            parts.into_iter().map(|part| self.step(TransactionCall::Prepare(part))).collect();
        let mut latest = Timestamp::default();
        // The first refusal ends it: nobody else's answer can change that.
        while let Some(reply) = calls.next().await {
            match reply {
                Ok(TransactionReply::Prepared { at }) => latest = latest.max(at),
                Ok(TransactionReply::Conflict(conflict)) => return Err(Error::of_conflict(conflict)),
                Ok(other) => return Err(unprepared(misfit(&other))),
                Err(error) => return Err(unprepared(error)),
            }
        }
        Ok(latest)
    }

    /// What nobody waits for. Returns whether the record may go.
    async fn tidy(&self, rest: Rest) -> bool {
        let transaction = self.transaction;
        match rest {
            Rest::Nothing => false,
            Rest::Resolve(decision) => self.resolve(decision).await,
            Rest::Abandon => {
                let abort = self.slow_step(TransactionCall::Abort { transaction });
                futures_util::future::join(abort, self.resolve(Decision::Aborted)).await;
                false
            }
            Rest::Settle => match self.slow_step(TransactionCall::Abort { transaction }).await {
                Some(TransactionReply::Status(TransactionStatus::Decided(decision))) => self.resolve(decision).await,
                _ => false,
            },
        }
    }

    /// Tells the other shards. Returns whether the record has done its duty: all of them know that it is committed.
    async fn resolve(&self, decision: Decision) -> bool {
        let transaction = self.transaction;
        let resolve = |&slot: &Slot| self.slow_step(TransactionCall::Resolve { transaction, slot, decision });
        let replies = join_all(self.participants.iter().map(resolve)).await;
        let all_done = replies.iter().all(|reply| matches!(reply, Some(TransactionReply::Done)));
        all_done && matches!(decision, Decision::Committed(_))
    }

    /// Lets the record go, together with others.
    async fn forget(&self) {
        ticks::next(self.core.env(), ticks::FORGET).await;
        let transaction = self.transaction;
        self.slow_step(TransactionCall::Forget { transaction }).await;
    }

    async fn step(&self, call: TransactionCall) -> Result<TransactionReply> {
        self.core.step(call, self.deadline).await
    }

    /// A step that nobody waits for: it has time. `None` if it failed all the same.
    async fn slow_step(&self, call: TransactionCall) -> Option<TransactionReply> {
        let result = self.core.step(call, REQUEST_DEADLINE_MAX).await;
        result
            .inspect_err(|error| tracing::debug!(transaction = %self.transaction.id, %error, "left to the nodes"))
            .ok()
    }

    fn untold(&self, error: Error) -> Error {
        untold(TransactionHandle::from(&self.transaction), error)
    }
}

/// The error, with what to ask when its outcome is unknown.
fn untold(handle: TransactionHandle, error: Error) -> Error {
    match error.outcome {
        Outcome::Unknown => {
            let message = format!("{}; ask for the outcome of transaction {handle}", error.message);
            Error { message, ..error }
        }
        Outcome::Applied | Outcome::NotApplied => error,
    }
}

/// Part of it may be prepared, but nobody was asked to commit it (COORD-4).
fn unprepared(error: Error) -> Error {
    let reason = error.message.split("; whether the write was applied").next().unwrap_or_default();
    let message = format!("the transaction was not committed, a shard could not prepare it: {reason}");
    Error { outcome: Outcome::NotApplied, message, ..error }
}

fn aborted() -> Error {
    let at = Timestamp::default();
    Error::of_conflict(Conflict { reason: ConflictReason::Aborted, key: None, rival: None, at })
}
