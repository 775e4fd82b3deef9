//! Why there is no timestamp.

use strata_types::{ClusterVersion, Timestamp};

/// There is no timestamp, or it cannot be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimeError {
    /// Nobody gave one in time.
    #[error("no majority of the meta group gave a timestamp in time: detail=`{detail}`")]
    NoAnswer {
        /// What those who were asked said.
        detail: String,
    },
    /// The cluster has programs that know of no timestamps, or had and was not told yet.
    #[error("the cluster has no transactions before its version is raised: version=`{version}`")]
    Unsupported {
        /// The version of the cluster.
        version: ClusterVersion,
    },
    /// Somebody names what was not handed out yet.
    #[error("timestamp {named} is from the future: the latest one handed out is {last}")]
    Future {
        /// What is named.
        named: Timestamp,
        /// The last one that was handed out.
        last: Timestamp,
    },
    /// This node is stopping.
    #[error("the node is stopping")]
    Stopped,
}

impl TimeError {
    /// Whoever gave one could not be confirmed.
    pub fn unconfirmed() -> TimeError {
        TimeError::NoAnswer { detail: "no majority of the meta group answers its leader".to_owned() }
    }
}
