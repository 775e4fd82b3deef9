//! What the layers below answer, in the words of the error table.

use strata_raft::{ProposeError, ReadError};
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
            ReadError::Stopped { .. } => Elsewhere::Yes { leader: None },
            _ => Elsewhere::No,
        }
    }
}

pub(crate) fn propose_error(error: ProposeError) -> Error {
    let message = error.to_string();
    match error {
        ProposeError::NotLeader { .. } => Error::not_applied(ErrorCode::NotLeader, message),
        ProposeError::Overloaded => Error::not_applied(ErrorCode::Overloaded, message),
        ProposeError::DiskFull => Error::not_applied(ErrorCode::DiskFull, message),
        ProposeError::Stopped { .. } => Error::not_applied(ErrorCode::NotReady, message),
        ProposeError::Unknown { .. } => Error::unknown(ErrorCode::Unavailable, message),
        // A newer reason: the honest answer is that nobody can tell.
        _ => Error::unknown(ErrorCode::Internal, message),
    }
}

pub(crate) fn read_error(error: ReadError) -> Error {
    let message = error.to_string();
    let code = match error {
        ReadError::NotLeader { .. } => ErrorCode::NotLeader,
        ReadError::NoQuorum { .. } => ErrorCode::Unavailable,
        ReadError::Stopped { .. } => ErrorCode::NotReady,
        _ => ErrorCode::Internal,
    };
    Error::not_applied(code, message)
}

pub(crate) fn storage_error(error: &StorageError) -> Error {
    let code = match error {
        StorageError::Corrupt { .. } => ErrorCode::Corrupt,
        _ => ErrorCode::Internal,
    };
    Error::not_applied(code, format!("reading the replica's tablet failed: {error}"))
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
        }
        let corrupt = StorageError::Corrupt { file: "000012.sst".into(), detail: "checksum".into() };
        let error = storage_error(&corrupt);
        assert_eq!(error.code, ErrorCode::Corrupt);
        assert!(error.message.contains("000012.sst"), "{error}");
    }
}
