//! Where the requests of a queue go.

use std::time::Duration;

use strata_types::{Operation, TransactionCall};

use crate::RouterOptions;

/// How long a node lets a request wait, at most; and how long a busy node may keep a page back for what is urgent before
/// it is taken for dead.
const WAITING_TIME: Duration = Duration::from_secs(1);

/// Which replicas the requests of a queue may go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Path {
    /// The one that leads.
    Leader,
    /// Any, in turn. Only reads are queued here.
    Any,
    /// The one that leads, for reads at timestamps: they may wait for logical time, or for commits under way, and what
    /// needs neither must not wait with them.
    Dated,
    /// The one that leads, for pages of scans, which take long: what is short must not wait with them, and how many are
    /// under way says nothing of how busy the shards are with the rest.
    Pages,
    /// The one that leads, for what it may let wait until others are done: one request a batch, so that it holds up
    /// nobody.
    Waiting,
}

impl Path {
    /// Whether its batches count among those that decide how many a shard may have.
    pub(crate) fn is_traffic(self) -> bool {
        match self {
            Path::Leader | Path::Any | Path::Dated => true,
            Path::Pages | Path::Waiting => false,
        }
    }

    /// When a batch without an answer is stuck.
    pub(crate) fn stall(self, options: &RouterOptions) -> Duration {
        match self {
            Path::Leader | Path::Any | Path::Dated => options.stall,
            Path::Pages | Path::Waiting => options.stall + WAITING_TIME,
        }
    }
}

/// Whether a node may let this wait for somebody else.
pub(crate) fn may_wait(operation: &Operation) -> bool {
    let Operation::Transact(call) = operation else { return false };
    matches!(**call, TransactionCall::Lock { .. } | TransactionCall::Push { .. })
}
