//! What the layers below answer, in the words of the error table: sentences for the people who read them, without the
//! fields of the errors that they are made of.

use strata_raft::{ProposeError, ReadError};
use strata_shard::Obstacle;
use strata_storage::StorageError;
use strata_types::{Error, ErrorCode, NodeId};

/// Whether a part of a batch was refused because this replica cannot lead it, so that the whole batch may go on to
/// another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Elsewhere {
    /// It was: nothing of this part was carried out.
    Yes { leader: Option<NodeId> },
    /// It was not.
    No,
}

impl From<&ProposeError> for Elsewhere {
    fn from(error: &ProposeError) -> Elsewhere {
        match error {
            ProposeError::NotLeader { leader } => Elsewhere::Yes { leader: *leader },
            ProposeError::Stopped { .. } => Elsewhere::Yes { leader: None },
            _ => Elsewhere::No,
        }
    }
}

impl From<&ReadError> for Elsewhere {
    fn from(error: &ReadError) -> Elsewhere {
        match error {
            ReadError::NotLeader { leader } => Elsewhere::Yes { leader: *leader },
            ReadError::Stopped { .. } | ReadError::LeaderSilent { .. } => Elsewhere::Yes { leader: None },
            _ => Elsewhere::No,
        }
    }
}

pub(crate) fn propose_error(error: ProposeError) -> Error {
    match error {
        ProposeError::NotLeader { leader } => not_leader(leader),
        ProposeError::Overloaded => Error::not_applied(ErrorCode::Overloaded, error.to_string()),
        ProposeError::DiskFull => Error::not_applied(ErrorCode::DiskFull, error.to_string()),
        ProposeError::Stopped { reason } => stopped(&reason),
        ProposeError::NoTime => no_time(),
        ProposeError::Unknown { detail } => {
            let message = format!("the write may or may not have been applied: {detail}");
            Error::unknown(ErrorCode::Unavailable, message)
        }
        // A newer reason: the honest answer is that nobody can tell.
        newer => Error::unknown(ErrorCode::Internal, newer.to_string()),
    }
}

pub(crate) fn read_error(error: ReadError) -> Error {
    match error {
        ReadError::NotLeader { leader } => not_leader(leader),
        ReadError::NoQuorum { detail } => {
            let message = format!("no majority of the shard's replicas answers its leader ({detail})");
            Error::not_applied(ErrorCode::Unavailable, message)
        }
        ReadError::LeaderSilent { leader, detail } => {
            let message = format!("{leader}, which leads the shard, did not tell a follower how far it is ({detail})");
            Error::not_applied(ErrorCode::Unavailable, message)
        }
        ReadError::Stopped { reason } => stopped(&reason),
        ReadError::NoTime => no_time(),
        newer => Error::not_applied(ErrorCode::Internal, newer.to_string()),
    }
}

pub(crate) fn storage_error(error: &StorageError) -> Error {
    match error {
        StorageError::Corrupt { file, detail } => {
            let message = format!("file {file} of the replica is damaged ({detail}): it serves no more");
            Error::not_applied(ErrorCode::Corrupt, message)
        }
        StorageError::Full { detail } | StorageError::Io { detail } | StorageError::Invalid { detail } => {
            Error::not_applied(ErrorCode::Internal, format!("reading the replica's tablet failed: {detail}"))
        }
        newer => Error::not_applied(ErrorCode::Internal, format!("reading the replica's tablet failed: {newer}")),
    }
}

/// What a read met that cannot be got out of the way.
pub(crate) fn obstacle(obstacle: Obstacle) -> Error {
    match obstacle {
        Obstacle::Blocked(by) => crate::blockers::blocked(&by),
        Obstacle::TooOld { horizon } => {
            let message = format!("what was committed that long ago is not kept any more: nothing before {horizon} is");
            Error::not_applied(ErrorCode::SnapshotTooOld, message)
        }
    }
}

fn not_leader(leader: Option<NodeId>) -> Error {
    let known = leader.map_or_else(|| "knows no leader".to_owned(), |leader| format!("says that {leader} does"));
    Error::not_applied(ErrorCode::NotLeader, format!("the replica does not lead the shard and {known}"))
}

fn no_time() -> Error {
    let message = "the new leader of the shard has not heard from the meta group what time it is; nothing was applied";
    Error::not_applied(ErrorCode::Unavailable, message)
}

fn stopped(reason: &str) -> Error {
    Error::not_applied(ErrorCode::NotReady, format!("the replica does not serve: {reason}"))
}

#[cfg(test)]
mod tests {
    use strata_types::Outcome;

    use super::*;

    #[test]
    fn only_what_nobody_can_tell_is_unknown() {
        let reason = || "stopping".to_owned();
        let table = [
            (ProposeError::NotLeader { leader: None }, ErrorCode::NotLeader, Outcome::NotApplied),
            (ProposeError::Overloaded, ErrorCode::Overloaded, Outcome::NotApplied),
            (ProposeError::DiskFull, ErrorCode::DiskFull, Outcome::NotApplied),
            (ProposeError::Stopped { reason: reason() }, ErrorCode::NotReady, Outcome::NotApplied),
            (ProposeError::Unknown { detail: reason() }, ErrorCode::Unavailable, Outcome::Unknown),
        ];
        for (error, code, outcome) in table {
            let mapped = propose_error(error);
            assert_eq!((mapped.code, mapped.outcome), (code, outcome));
            assert!(!mapped.message.contains("=`"), "a sentence without fields: {mapped}");
        }
        let corrupt = StorageError::Corrupt { file: "000012.sst".into(), detail: "checksum".into() };
        let error = storage_error(&corrupt);
        assert_eq!(error.code, ErrorCode::Corrupt);
        assert_eq!(error.message, "file 000012.sst of the replica is damaged (checksum): it serves no more");
    }
}
