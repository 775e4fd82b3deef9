//! How a transaction ended.

use strata_router::KeptStage;
use strata_types::{
    Conflict, ConflictReason, Decision, Error, ErrorCode, Outcome, Result, Timestamp, TransactionStatus,
};

use crate::TransactionHandle;

/// How a transaction ended, for those who ask again.
#[derive(Clone, Debug)]
pub(super) enum Over {
    /// Its commit was answered: the timestamp, or why not.
    Answered(Result<Timestamp>),
    /// Its client gave it up.
    RolledBack,
    /// This node gave it up: the sentence says why.
    GivenUp(String),
}

impl Over {
    /// What counts it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Over::Answered(Ok(_)) => "committed",
            Over::Answered(Err(error)) => match (error.outcome, error.code) {
                (Outcome::Unknown, _) => "unknown",
                (_, ErrorCode::Conflict | ErrorCode::SnapshotTooOld) => "conflict",
                _ => "failed",
            },
            Over::RolledBack => "rolled_back",
            Over::GivenUp(_) => "given_up",
        }
    }

    /// The error of a call that comes too late. Never `not applied` of a transaction that may be committed.
    pub(super) fn error(&self) -> Error {
        let late = |how: String| {
            Error::not_applied(ErrorCode::InvalidArgument, format!("the transaction is over: it was {how}"))
        };
        match self {
            Over::Answered(Ok(at)) => late(format!("committed at {at}")),
            Over::Answered(Err(error)) => error.clone(),
            Over::RolledBack => late("rolled back".to_owned()),
            Over::GivenUp(why) => aborted(why),
        }
    }

    /// The answer to a commit that is asked for again. `None`: somebody else must know.
    pub(super) fn commit_answer(&self) -> Option<Result<Timestamp>> {
        match self {
            Over::Answered(Err(error)) if error.outcome == Outcome::Unknown => None,
            Over::Answered(answer) => Some(answer.clone()),
            Over::RolledBack | Over::GivenUp(_) => Some(Err(self.error())),
        }
    }

    /// What has become of it, as far as is known here.
    pub(super) fn status(&self) -> Option<TransactionStatus> {
        match self.stage() {
            KeptStage::Ended(decision) => Some(TransactionStatus::Decided(decision)),
            KeptStage::Open | KeptStage::Committing | KeptStage::Unanswered => None,
        }
    }

    /// The same, as other nodes and operators are told.
    pub(super) fn stage(&self) -> KeptStage {
        match self.commit_answer() {
            Some(Ok(at)) => KeptStage::Ended(Decision::Committed(at)),
            Some(Err(_)) => KeptStage::Ended(Decision::Aborted),
            None => KeptStage::Unanswered,
        }
    }
}

/// Its writes are gone: begin anew.
pub(super) fn aborted(why: &str) -> Error {
    let conflict = Conflict { reason: ConflictReason::Aborted, key: None, rival: None, at: Timestamp::default() };
    Error { message: format!("{why}; nothing was written; begin anew"), ..Error::of_conflict(conflict) }
}

/// The answer to a commit whose first answer was lost, from what the shard of its record says.
pub(super) fn answer_of(status: TransactionStatus, handle: &TransactionHandle) -> Result<Timestamp> {
    let id = handle.id;
    match status {
        TransactionStatus::Decided(Decision::Committed(at)) => Ok(at),
        TransactionStatus::Decided(Decision::Aborted) => Err(aborted(&format!("transaction {id} was aborted"))),
        TransactionStatus::Pending => {
            let sentence = format!("transaction {id} is not decided yet: ask again");
            Err(Error::unknown(ErrorCode::Unavailable, sentence))
        }
        TransactionStatus::Unknown => {
            let sentence = format!(
                "there is no trace of transaction {id}: it did not get as far as that, or it ended so long ago that this \
                 was forgotten"
            );
            Err(Error::unknown(ErrorCode::Unavailable, sentence))
        }
    }
}

/// The answer to a rollback after a commit without an answer.
pub(super) fn rolled_back(status: TransactionStatus, handle: &TransactionHandle) -> Result<()> {
    match status {
        TransactionStatus::Decided(Decision::Aborted) => Ok(()),
        TransactionStatus::Decided(Decision::Committed(at)) => Err(Over::Answered(Ok(at)).error()),
        TransactionStatus::Pending | TransactionStatus::Unknown => answer_of(status, handle).map(drop),
    }
}
