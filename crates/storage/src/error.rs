//! What can go wrong in an engine, by what the caller must do.

/// Result of an engine call.
pub type StorageResult<T> = Result<T, StorageError>;

/// An engine call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// Stored bytes are damaged. This replica must not serve; others can.
    #[error("damaged file: file=`{file}` detail=`{detail}`")]
    Corrupt {
        /// The file, as precisely as the engine knows.
        file: String,
        /// What is wrong.
        detail: String,
    },
    /// There is no room. Nothing was lost; the call may be repeated when there is.
    #[error("disk full: detail=`{detail}`")]
    Full {
        /// What the engine said.
        detail: String,
    },
    /// What was written before is still being put in order, and the disk does not keep up. Nothing was lost; the call may be
    /// repeated a little later.
    #[error("the disk does not keep up: detail=`{detail}`")]
    Behind {
        /// What the engine said.
        detail: String,
    },
    /// Any other failure of the disk. The node must stop: what is durable is not known.
    #[error("storage failed: detail=`{detail}`")]
    Io {
        /// What the engine said.
        detail: String,
    },
    /// The call could not be carried out without waiting for the disk. Nothing changed; only calls that are made not to
    /// wait say this.
    #[error("the call would have to wait for the disk")]
    WouldBlock,
    /// The call broke a rule: a bad file name, a hole in a received file, received files that are not a tablet.
    /// Nothing changed; what the caller got the arguments from (a peer, as a rule) is at fault.
    #[error("invalid storage call: detail=`{detail}`")]
    Invalid {
        /// Which rule.
        detail: String,
    },
}
