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
    /// Somebody claims to have seen what was not handed out yet.
    #[error("a timestamp lies in the future: seen=`{seen}` last=`{last}`")]
    Future {
        /// What is claimed.
        seen: Timestamp,
        /// The last one that was handed out.
        last: Timestamp,
    },
    /// This node is stopping.
    #[error("the node is stopping")]
    Stopped,
}
