//! The one error table: what happened, whether the write was applied, whether to try again.
//!
//! A code is worth having only when somebody would act differently because of it. Codes are stable strings: they
//! travel in `grpc-status-details-bin` and in JSON, and scripts match on them.

use std::fmt;

use crate::{Conflict, ConflictReason, LogIndex};

/// What went wrong, by what the caller can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ErrorCode {
    /// The request breaks a rule that no retry will change.
    InvalidArgument,
    /// A key, value, batch or message is over its limit.
    TooLarge,
    /// The keys of a batch live on different shards.
    CrossShard,
    /// The request was routed by a shard map that is no longer valid.
    StaleRoute,
    /// The asked replica does not lead the shard.
    NotLeader,
    /// No leader with a quorum could be found in time.
    Unavailable,
    /// The deadline passed.
    DeadlineExceeded,
    /// More is waiting than the node accepts.
    Overloaded,
    /// The disk of a replica is full.
    DiskFull,
    /// A replica found its own files damaged and refuses to serve.
    Corrupt,
    /// The session was forgotten or the request is older than the results it kept.
    SessionExpired,
    /// Another cluster, an identity that is taken, or a node too many.
    IdentityRefused,
    /// The node is starting or stopping.
    NotReady,
    /// What no other code says: a bug of ours, a read of a disk that failed, or an answer that this program is too old
    /// to understand. The node that says so goes on.
    Internal,
    /// The state of the cluster does not allow what an operator asked for.
    Refused,
    /// As refused: too few replicas of a shard would be left.
    MajorityAtRisk,
    /// As refused: the members of the shard are being changed already.
    ChangeUnderWay,
    /// A transaction cannot commit because of another one. A new transaction may.
    Conflict,
    /// What was committed up to a timestamp is not kept any more.
    SnapshotTooOld,
    /// A transaction that is not decided yet is in the way. Nothing was applied.
    Blocked,
}

/// Whether a write took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did.
    Applied,
    /// It did not and will not.
    NotApplied,
    /// Nobody can tell yet. Retrying is safe only with a session or an idempotent write.
    Unknown,
}

/// What a caller should do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Nothing: the same request fails again.
    No,
    /// Fetch the shard map or find the leader, then send again.
    Reroute,
    /// Wait a little, then send again.
    Backoff,
    /// Begin the transaction anew: read again, and decide again.
    Restart,
}

impl ErrorCode {
    /// All codes, for tables and tests.
    pub const ALL: [ErrorCode; 20] = [
        ErrorCode::InvalidArgument,
        ErrorCode::TooLarge,
        ErrorCode::CrossShard,
        ErrorCode::StaleRoute,
        ErrorCode::NotLeader,
        ErrorCode::Unavailable,
        ErrorCode::DeadlineExceeded,
        ErrorCode::Overloaded,
        ErrorCode::DiskFull,
        ErrorCode::Corrupt,
        ErrorCode::SessionExpired,
        ErrorCode::IdentityRefused,
        ErrorCode::NotReady,
        ErrorCode::Internal,
        ErrorCode::Refused,
        ErrorCode::MajorityAtRisk,
        ErrorCode::ChangeUnderWay,
        ErrorCode::Conflict,
        ErrorCode::SnapshotTooOld,
        ErrorCode::Blocked,
    ];

    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            ErrorCode::InvalidArgument => "invalid_argument",
            ErrorCode::TooLarge => "too_large",
            ErrorCode::CrossShard => "cross_shard",
            ErrorCode::StaleRoute => "stale_route",
            ErrorCode::NotLeader => "not_leader",
            ErrorCode::Unavailable => "unavailable",
            ErrorCode::DeadlineExceeded => "deadline_exceeded",
            ErrorCode::Overloaded => "overloaded",
            ErrorCode::DiskFull => "disk_full",
            ErrorCode::Corrupt => "corrupt",
            ErrorCode::SessionExpired => "session_expired",
            ErrorCode::IdentityRefused => "identity_refused",
            ErrorCode::NotReady => "not_ready",
            ErrorCode::Internal => "internal",
            ErrorCode::Refused => "refused",
            ErrorCode::MajorityAtRisk => "majority_at_risk",
            ErrorCode::ChangeUnderWay => "change_under_way",
            ErrorCode::Conflict => "conflict",
            ErrorCode::SnapshotTooOld => "snapshot_too_old",
            ErrorCode::Blocked => "blocked",
        }
    }

    /// The code of a stable name.
    pub fn from_name(name: &str) -> Option<ErrorCode> {
        ErrorCode::ALL.into_iter().find(|code| code.name() == name)
    }

    /// What a caller should do.
    pub fn retry(self) -> Retry {
        match self {
            ErrorCode::InvalidArgument
            | ErrorCode::TooLarge
            | ErrorCode::CrossShard
            | ErrorCode::SessionExpired
            | ErrorCode::IdentityRefused
            | ErrorCode::DeadlineExceeded
            | ErrorCode::Internal
            | ErrorCode::Refused
            | ErrorCode::MajorityAtRisk
            | ErrorCode::SnapshotTooOld => Retry::No,
            ErrorCode::Conflict => Retry::Restart,
            ErrorCode::StaleRoute | ErrorCode::NotLeader | ErrorCode::Corrupt => Retry::Reroute,
            ErrorCode::Unavailable
            | ErrorCode::Overloaded
            | ErrorCode::DiskFull
            | ErrorCode::NotReady
            | ErrorCode::ChangeUnderWay
            | ErrorCode::Blocked => Retry::Backoff,
        }
    }
}

impl Outcome {
    /// The word that users read.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Applied => "applied",
            Outcome::NotApplied => "not applied",
            Outcome::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a client sees when something fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What went wrong.
    pub code: ErrorCode,
    /// Whether the write was applied; `NotApplied` for reads.
    pub outcome: Outcome,
    /// One sentence: what happened and why.
    pub message: String,
    /// How far the shard's log is: with `SessionExpired`, where the next session may be opened.
    pub position: Option<LogIndex>,
    /// Of a transaction that cannot commit: why, and over what.
    pub conflict: Option<Box<Conflict>>,
}

const WITHOUT_ROOM: &str = "the answers of the batch do not fit; ask again for this one";

impl Error {
    /// An error with this outcome.
    pub fn new(code: ErrorCode, outcome: Outcome, message: impl Into<String>) -> Error {
        Error { code, outcome, message: message.into(), position: None, conflict: None }
    }

    /// An error of a request that was not applied.
    pub fn not_applied(code: ErrorCode, message: impl Into<String>) -> Error {
        Error::new(code, Outcome::NotApplied, message)
    }

    /// What stands for an answer that does not fit beside the others of its batch: nothing was changed.
    pub fn without_room() -> Error {
        Error::not_applied(ErrorCode::Overloaded, WITHOUT_ROOM)
    }

    /// Whether it is [`Error::without_room`]: there is room once the others have their answers.
    pub fn is_without_room(&self) -> bool {
        self.code == ErrorCode::Overloaded && self.message == WITHOUT_ROOM
    }

    /// An error of a write of which nobody can tell.
    pub fn unknown(code: ErrorCode, message: impl Into<String>) -> Error {
        Error::new(code, Outcome::Unknown, message)
    }

    /// The error of a transaction that cannot commit: nothing of it was written.
    pub fn of_conflict(conflict: Conflict) -> Error {
        let code = match conflict.reason {
            ConflictReason::TooOld => ErrorCode::SnapshotTooOld,
            ConflictReason::Changed | ConflictReason::Aborted | ConflictReason::Wounded | ConflictReason::Locked => {
                ErrorCode::Conflict
            }
        };
        Error { conflict: Some(Box::new(conflict.clone())), ..Error::not_applied(code, conflict.to_string()) }
    }

    /// The same error, with how far the shard's log is.
    pub fn at(self, position: LogIndex) -> Error {
        Error { position: Some(position), ..self }
    }

    /// What a caller should do.
    pub fn retry(&self) -> Retry {
        self.code.retry()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {})", self.message, self.code.name(), self.outcome)
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_round_trip() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_name(code.name()), Some(code));
        }
        assert_eq!(ErrorCode::from_name("no such code"), None);
    }
}
