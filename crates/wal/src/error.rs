//! What can go wrong with the log.

use std::io;
use std::path::Path;

use strata_types::{LogIndex, ReplicaId};

/// Why the log could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WalError {
    /// Bytes that were durable are not what was written. The log refuses to serve: what it would say may be wrong.
    #[error("the log is damaged: file=`{file}` detail=`{detail}`")]
    Corrupt {
        /// The damaged file.
        file: String,
        /// What is wrong, and where in the file.
        detail: String,
    },
    /// The disk failed. Nothing written since the last completion can be trusted, and nothing more will be written.
    #[error("the log failed: detail=`{detail}`")]
    Failed {
        /// What failed.
        detail: String,
    },
    /// The log has no such entry where it should have one, or an append does not continue it.
    #[error("the log has a hole: replica=`{replica}` index=`{index}`")]
    Hole {
        /// The replica whose log it is.
        replica: ReplicaId,
        /// The entry that is missing.
        index: LogIndex,
    },
    /// The log was shut down, or the replica was removed from it.
    #[error("the log is closed")]
    Closed,
}

impl WalError {
    pub(crate) fn io(action: &str, path: &Path, error: &io::Error) -> WalError {
        WalError::Failed { detail: format!("cannot {action} {}: {error}", path.display()) }
    }

    pub(crate) fn corrupt(path: &Path, detail: impl Into<String>) -> WalError {
        WalError::Corrupt { file: path.display().to_string(), detail: detail.into() }
    }
}
