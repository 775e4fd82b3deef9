//! What openraft drives: entries are applied, snapshots made and installed.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use openraft::RaftSnapshotBuilder;
use openraft::storage::{EntryResponder, RaftStateMachine};
use strata_codec::APPLIED_KEY;
use strata_storage::StorageError;

use crate::applied::Applied;
use crate::apply::Item;
use crate::overlay::Waiting;
use crate::replica::Replica;
use crate::snapshot::SnapshotSource;
use crate::types::{Entry, EntryBody, LogId, Snapshot, SnapshotMeta, StoredMembership, Types};

/// One atomic apply takes at most this many entries and bytes: it bounds memory and how long readers wait.
const APPLY_ENTRIES_MAX: usize = 256;
const APPLY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Applies of at most this much are tried without changing threads.
const INLINE_BYTES_MAX: usize = 32 * 1024;
/// How often a full disk is tried again.
const DISK_FULL_RETRY: Duration = Duration::from_millis(500);
/// How often a disk that does not keep up is.
const BEHIND_RETRY: Duration = Duration::from_millis(50);

/// What openraft drives: a handle to the [`Replica`].
pub(crate) struct StateMachine {
    replica: Arc<Replica>,
}

impl StateMachine {
    pub(crate) fn new(replica: Arc<Replica>) -> StateMachine {
        StateMachine { replica }
    }

    async fn apply_items(&self, mut items: Vec<Item>, bytes: usize) -> io::Result<()> {
        // Two changes of threads cost more than a small apply. What is not in memory is tried again on another thread.
        let is_small = bytes <= INLINE_BYTES_MAX && !self.replica.machine.reads_everything();
        let mut waiting = if is_small { Waiting::Forbidden } else { Waiting::Allowed };
        let mut is_full = false;
        loop {
            let replica = self.replica.clone();
            let work = move || replica.apply_entries(items, waiting);
            let outcome = match waiting {
                Waiting::Allowed => self.replica.env.blocking(work).await,
                Waiting::Forbidden => catch_unwind(AssertUnwindSafe(work)).ok(),
            };
            match outcome {
                None => {
                    self.replica.env.halt(format!("applying entries of {} panicked", self.replica.group));
                    return Err(io::Error::other("applying panicked"));
                }
                Some(Ok(())) => {
                    if is_full {
                        self.replica.set_obstacle(None);
                    }
                    return Ok(());
                }
                Some(Err((back, StorageError::WouldBlock))) => (items, waiting) = (back, Waiting::Allowed),
                Some(Err((back, StorageError::Behind { .. }))) => {
                    (items, waiting) = (back, Waiting::Allowed);
                    self.replica.env.sleep(BEHIND_RETRY).await;
                }
                Some(Err((back, StorageError::Full { detail }))) => {
                    (items, is_full) = (back, true);
                    wait_for_room(&self.replica, "apply entries", &detail).await?;
                }
                Some(Err((_, error))) => return Err(self.replica.storage_failed(&error)),
            }
        }
    }

    /// What is durable of the tablet, if anything is. While openraft starts, it only wants to know how far that goes: the
    /// answer takes no room on the disk.
    async fn persisted(&self) -> io::Result<Option<Snapshot>> {
        let tablet = self.replica.tablet();
        let read = self.replica.env.blocking(move || Applied::decode(tablet.get_persisted(APPLIED_KEY)?)).await;
        match read {
            Some(Ok(applied)) => Ok(applied.log_id.map(|_| flushed(&applied))),
            Some(Err(error)) => Err(self.replica.storage_failed(&error)),
            None => Err(io::Error::other("reading a tablet panicked")),
        }
    }
}

fn flushed(applied: &Applied) -> Snapshot {
    Snapshot { meta: applied.snapshot_meta(), snapshot: SnapshotSource::Flushed }
}

/// Waits a while for room on the disk, and says so. Not while the group is opened: whoever opens it waits, and lets
/// others be opened meanwhile.
async fn wait_for_room(replica: &Replica, purpose: &str, detail: &str) -> io::Result<()> {
    replica.set_obstacle(Some(format!("there is no room to {purpose}: {detail}")));
    if !replica.is_running() {
        return Err(io::Error::other(format!("disk full: {detail}")));
    }
    replica.env.sleep(DISK_FULL_RETRY).await;
    Ok(())
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotData = SnapshotSource;
    type SnapshotBuilder = FlushingBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let applied = self.replica.applied();
        Ok((applied.log_id, applied.membership))
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + Send,
    {
        let mut entries = entries.fuse();
        loop {
            let mut items = Vec::new();
            let mut bytes = 0;
            while items.len() < APPLY_ENTRIES_MAX && bytes < APPLY_BYTES_MAX {
                let Some(item) = entries.next().await else { break };
                let item = item?;
                bytes += entry_bytes(&item.0);
                items.push(item);
            }
            if items.is_empty() {
                return Ok(());
            }
            self.apply_items(items, bytes).await?;
        }
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<FlushingBuilder> {
        Some(self.get_snapshot_builder().await)
    }

    async fn get_snapshot_builder(&mut self) -> FlushingBuilder {
        FlushingBuilder { replica: self.replica.clone(), applied: self.replica.applied() }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotSource) -> io::Result<()> {
        let SnapshotSource::Received(received) = snapshot else {
            return Err(io::Error::other("only a received snapshot can be installed"));
        };
        let applied =
            Applied::decode(received.get(APPLIED_KEY).map_err(io::Error::other)?).map_err(io::Error::other)?;
        #[cfg(debug_assertions)]
        let applied = match crate::mutant::is(crate::mutant::Mutant::PurgeDuringTransfer) {
            true => Applied { log_id: meta.last_log_id, membership: meta.last_membership.clone(), ..applied },
            false => applied,
        };
        assert_eq!(applied.log_id, meta.last_log_id, "{}: the receiver checked this", self.replica.group);
        self.replica.transfers.forget(self.replica.id);
        let mut is_full = false;
        loop {
            let (replica, received, applied) = (self.replica.clone(), received.clone(), applied.clone());
            match self.replica.env.blocking(move || replica.install(received, applied)).await {
                Some(Ok(())) => {
                    if is_full {
                        self.replica.set_obstacle(None);
                    }
                    return Ok(());
                }
                Some(Err(StorageError::Full { detail })) => {
                    is_full = true;
                    wait_for_room(&self.replica, "install a snapshot of the shard", &detail).await?;
                }
                Some(Err(StorageError::Behind { .. })) => self.replica.env.sleep(BEHIND_RETRY).await,
                Some(Err(error)) => return Err(self.replica.storage_failed(&error)),
                None => return Err(io::Error::other("installing a snapshot panicked")),
            }
        }
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        if !self.replica.is_running() {
            return self.persisted().await;
        }
        let transfers = &self.replica.transfers;
        // One that broke off goes on; and what one follower takes serves another one.
        if let Some(kept) = transfers.kept(self.replica.id) {
            return Ok(Some(Snapshot { meta: kept.meta.clone(), snapshot: SnapshotSource::Checkpoint(kept) }));
        }
        // This runs in the worker that applies, so the checkpoint holds exactly what is applied now.
        let applied = self.replica.applied();
        let tablet = self.replica.tablet();
        // Not in the background: what is to be applied waits for it.
        match self.replica.env.blocking(move || tablet.checkpoint()).await {
            Some(Ok(checkpoint)) => {
                let meta = applied.snapshot_meta();
                let kept = transfers.keep(self.replica.id, meta.clone(), checkpoint);
                Ok(Some(Snapshot { meta, snapshot: SnapshotSource::Checkpoint(kept) }))
            }
            // A full disk ends nobody: what cannot be sent is asked for again after a while.
            Some(Err(error @ (StorageError::Full { .. } | StorageError::Behind { .. }))) => {
                tracing::warn!(group = %self.replica.group, %error, "no snapshot can be made");
                Ok(Some(flushed(&applied)))
            }
            Some(Err(error)) => Err(self.replica.storage_failed(&error)),
            None => Err(io::Error::other("making a checkpoint panicked")),
        }
    }
}

/// "Building a snapshot" is making the tablet durable: from then on the log up to there is not needed for recovery.
/// A copy is made only when a follower needs one.
pub(crate) struct FlushingBuilder {
    replica: Arc<Replica>,
    applied: Applied,
}

impl RaftSnapshotBuilder<Types> for FlushingBuilder {
    type SnapshotData = SnapshotSource;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        loop {
            let tablet = self.replica.tablet();
            // Not in the background: for a moment nobody else can write to the tablet.
            match self.replica.env.blocking(move || tablet.flush()).await {
                Some(Ok(())) => return Ok(flushed(&self.applied)),
                Some(Err(StorageError::Behind { .. })) => self.replica.env.sleep(BEHIND_RETRY).await,
                Some(Err(StorageError::Full { .. })) if self.replica.is_running() => {
                    self.replica.env.sleep(DISK_FULL_RETRY).await;
                }
                Some(Err(StorageError::Full { detail })) => wait_for_room(&self.replica, "open", &detail).await?,
                Some(Err(error)) => return Err(self.replica.storage_failed(&error)),
                None => return Err(io::Error::other("flushing a tablet panicked")),
            }
        }
    }
}

fn entry_bytes(entry: &Entry) -> usize {
    if let EntryBody::Normal(payload) = &entry.payload { payload.0.len() } else { 0 }
}
