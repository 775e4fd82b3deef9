//! The commit of a transaction: one step if it concerns one shard, else two phases.
//!
//! ```text
//!   one shard:   Commit -> Committed | Conflict
//!   several:     Prepare on each, at once -- all Prepared --> Decide at the anchor -> answer to the caller
//!                        |                                       |
//!                        `-- any refuses --> Abort at the anchor |                   in the background
//!                                                  `-------------+--> Resolve on each --> Forget
//! ```

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt};
use strata_types::{
    Conflict, ConflictReason, Decision, Error, ErrorCode, Outcome, Part, Result, Slot, Timestamp, Transaction,
    TransactionCall, TransactionReply, TransactionStatus, limits::REQUEST_DEADLINE_MAX,
};
use tokio::sync::oneshot;

use crate::TransactionHandle;
use crate::core::{Core, misfit};
use crate::locks::Locks;

/// A transaction that is being committed.
pub(crate) struct Commit {
    pub(crate) core: Arc<Core>,
    pub(crate) transaction: Transaction,
    pub(crate) parts: Vec<Part>,
    pub(crate) locks: Locks,
    pub(crate) deadline: Duration,
}

/// What is left to do when the caller has its answer.
enum Rest {
    /// Nothing; or nobody knows what, and the nodes find out if they have to.
    Nothing,
    /// Every shard must learn the decision.
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
    /// A slot of each shard that has a part.
    participants: Vec<Slot>,
    deadline: Duration,
}

impl Commit {
    /// Commits in a task of its own: a caller that goes away does not leave it half done.
    pub(crate) async fn spawn(self) -> Result<Timestamp> {
        let (sender, receiver) = oneshot::channel();
        let Commit { core, transaction, mut parts, locks, deadline } = self;
        parts.retain(|part| !part.writes.is_empty() || !is_mutant!(PrepareOnlyWrites));
        let participants = parts.iter().map(|part| part.slot).collect();
        let (env, handle) = (core.env().clone(), TransactionHandle::from(&transaction));
        let round = Round { core, transaction, participants, deadline };
        env.spawn("txn-commit", async move {
            let (answer, rest) = round.run(parts).await;
            // A caller that gave up is nobody's error.
            let _ = sender.send(answer);
            if matches!(rest, Rest::Nothing) && locks.is_empty() {
                return;
            }
            round.core.clone().in_background("txn-tidy", async move {
                round.tidy(rest).await;
                locks.release().await;
            });
        });
        let stopped = || Error::unknown(ErrorCode::NotReady, "the program is stopping");
        receiver.await.unwrap_or_else(|_| Err(untold(handle, stopped())))
    }
}

impl Round {
    async fn run(&self, mut parts: Vec<Part>) -> (Result<Timestamp>, Rest) {
        if parts.len() == 1
            && let Some(part) = parts.pop()
        {
            return (self.commit_here(part).await, Rest::Nothing);
        }
        match self.prepare(parts).await {
            Ok(commit_at) => self.decide(commit_at).await,
            Err(error) => (Err(error), Rest::Abandon),
        }
    }

    /// All of it lies on one shard.
    async fn commit_here(&self, part: Part) -> Result<Timestamp> {
        match self.step(TransactionCall::Commit(part)).await {
            Ok(TransactionReply::Committed { at }) => Ok(at),
            Ok(TransactionReply::Conflict(conflict)) => self.refused(conflict).await,
            Ok(other) => Err(self.untold(misfit(&other))),
            Err(error) => Err(self.untold(error)),
        }
    }

    /// A commit was refused. What its entry in the log met, any copy of it meets. But what a leader had in memory says
    /// nothing about a copy that was sent before, without an answer: that one is made to fail, or found committed
    /// (COORD-4).
    async fn refused(&self, conflict: Conflict) -> Result<Timestamp> {
        match conflict.reason {
            ConflictReason::Changed | ConflictReason::Aborted => return Err(Error::of_conflict(conflict)),
            // A copy that was sent before may have been applied so long ago that no trace of it is kept.
            ConflictReason::TooOld => {
                return Err(self.untold(Error { outcome: Outcome::Unknown, ..Error::of_conflict(conflict) }));
            }
            ConflictReason::Wounded | ConflictReason::Locked => {}
        }
        let transaction = self.transaction;
        match self.step(TransactionCall::Abort { transaction }).await {
            Ok(TransactionReply::Status(TransactionStatus::Decided(Decision::Committed(at)))) => Ok(at),
            Ok(TransactionReply::Status(TransactionStatus::Decided(Decision::Aborted))) => {
                Err(Error::of_conflict(conflict))
            }
            Ok(other) => Err(self.untold(misfit(&other))),
            Err(error) => Err(self.untold(Error { outcome: Outcome::Unknown, ..error })),
        }
    }

    /// Prepares every part. Returns the latest timestamp at which one was.
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
            if is_mutant!(CommitBeforePrepared) {
                break;
            }
        }
        Ok(latest)
    }

    /// The point at which it is committed, or not. Only after all parts were prepared (COORD-3).
    async fn decide(&self, commit_at: Timestamp) -> (Result<Timestamp>, Rest) {
        let (transaction, participants) = (self.transaction, self.participants.clone());
        let reply = self.step(TransactionCall::Decide { transaction, commit_at, participants }).await;
        match reply {
            Ok(TransactionReply::Status(TransactionStatus::Decided(Decision::Committed(at)))) => {
                (Ok(at), Rest::Resolve(Decision::Committed(at)))
            }
            Ok(TransactionReply::Status(TransactionStatus::Decided(Decision::Aborted))) => {
                (Err(aborted()), Rest::Resolve(Decision::Aborted))
            }
            // It was prepared, so there was a record. Whoever took it away knows what became of it.
            Ok(TransactionReply::Status(TransactionStatus::Unknown | TransactionStatus::Pending)) => {
                let message = "the shard of the transaction's record does not know it any more";
                (Err(self.untold(Error::unknown(ErrorCode::Unavailable, message))), Rest::Nothing)
            }
            Ok(other) => (Err(self.untold(misfit(&other))), Rest::Nothing),
            Err(error) if error.outcome == Outcome::NotApplied => (Err(error), Rest::Settle),
            Err(_) if is_mutant!(AbortAfterPrepare) => (Err(aborted()), Rest::Resolve(Decision::Aborted)),
            Err(error) => (Err(self.untold(error)), Rest::Nothing),
        }
    }

    /// What nobody waits for.
    async fn tidy(&self, rest: Rest) {
        match rest {
            Rest::Nothing => {}
            Rest::Resolve(decision) => self.resolve(decision).await,
            Rest::Abandon => {
                let transaction = self.transaction;
                let abort = self.slow_step(TransactionCall::Abort { transaction });
                futures_util::future::join(abort, self.resolve(Decision::Aborted)).await;
            }
            Rest::Settle => {
                let transaction = self.transaction;
                if let Some(TransactionReply::Status(TransactionStatus::Decided(decision))) =
                    self.slow_step(TransactionCall::Abort { transaction }).await
                {
                    self.resolve(decision).await;
                }
            }
        }
    }

    /// Tells every shard. When all know that it is committed, its record has done its duty.
    async fn resolve(&self, decision: Decision) {
        let transaction = self.transaction;
        let resolve = |&slot: &Slot| self.slow_step(TransactionCall::Resolve { transaction, slot, decision });
        let replies = join_all(self.participants.iter().map(resolve)).await;
        let all_done = replies.iter().all(|reply| matches!(reply, Some(TransactionReply::Done)));
        if all_done && matches!(decision, Decision::Committed(_)) {
            self.slow_step(TransactionCall::Forget { transaction }).await;
        }
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
