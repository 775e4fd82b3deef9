//! What the tasks of the log and its handles share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;
use strata_types::{LogIndex, ReplicaId};
use tokio::sync::Notify;

use crate::index::Index;
use crate::replica::Replica;
use crate::{Completion, WalError};

/// What the tasks of the log and its handles share.
#[derive(Default)]
pub(crate) struct Shared {
    /// The durable state. Locked after a replica's memory, never before.
    pub(crate) index: Mutex<Index>,
    pub(crate) replicas: Mutex<BTreeMap<ReplicaId, Arc<Replica>>>,
    /// Bytes of entries held in memory, over all replicas.
    pub(crate) cached: AtomicUsize,
    /// The preparer could not allocate a segment.
    pub(crate) full: AtomicBool,
    /// Bytes of prepared segments.
    pub(crate) spare_bytes: AtomicU64,
    /// Bytes of the active segment that entries may take while the disk is full.
    pub(crate) entry_bytes: AtomicU64,
    pub(crate) syncs: AtomicU64,
    /// Why the lane stopped, if it did.
    failure: OnceLock<WalError>,
    /// Set when the log is shut down; a lane that waits for room gives up.
    pub(crate) closing: AtomicBool,
    pub(crate) closing_changed: Notify,
}

impl Shared {
    pub(crate) fn fail(&self, error: WalError) {
        let _ = self.failure.set(error);
    }

    /// What to answer when the lane takes no more requests.
    pub(crate) fn closed_error(&self) -> WalError {
        self.failure.get().cloned().unwrap_or(WalError::Closed)
    }

    pub(crate) fn uncache(&self, bytes: usize) {
        self.cached.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What goes through the lane's queue: a request, and whom to tell.
pub(crate) type Submission = (Request, Option<Completion>);

/// One thing for the lane to do.
pub(crate) struct Request {
    pub(crate) replica: Arc<Replica>,
    pub(crate) work: Work,
    /// Written behind the work, so that it never names an entry that is not before it.
    pub(crate) committed: Option<Bytes>,
}

/// What the lane does.
pub(crate) enum Work {
    Append {
        first: LogIndex,
        entries: Vec<Bytes>,
        era: u64,
    },
    Vote(Bytes),
    Truncate(Option<LogIndex>),
    Purge(LogIndex, Bytes),
    Remove,
    /// Nothing to write: only the committed position, if there is one.
    Flush,
    /// Fails in its turn: an append that did not continue its log.
    Refuse(WalError),
    /// The last request.
    Shutdown,
}

impl Work {
    /// Roughly what it adds to a batch.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Work::Append { entries, .. } => entries.iter().map(Bytes::len).sum(),
            _ => 0,
        }
    }
}
