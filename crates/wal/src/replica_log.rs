//! The handle of one replica's log.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use strata_types::{LogIndex, ReplicaId};
use tokio::sync::oneshot;

use crate::reader::ColdRead;
use crate::replica::{Memory, Piece, Replica};
use crate::shared::{Request, Work};
use crate::wal::Wal;
use crate::{Completion, WalError};

/// One replica's log. A cheap handle.
///
/// Changes are made in the order of the calls, in memory at once and on the disk in the same order. A completion, and
/// the return of a method that is durable, means that everything before it is durable too.
#[derive(Clone)]
pub struct ReplicaLog {
    wal: Arc<Wal>,
    replica: Arc<Replica>,
}

/// What a log says beside its entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogState {
    /// The last entry that was purged: its index, and its id as [`ReplicaLog::purge`] was given it.
    pub purged: Option<(LogIndex, Bytes)>,
    /// The first entry, if there is any.
    pub first: Option<LogIndex>,
    /// The last entry, if there is any.
    pub last: Option<LogIndex>,
    /// The saved vote.
    pub vote: Option<Bytes>,
    /// The saved committed position.
    pub committed: Option<Bytes>,
}

impl ReplicaLog {
    pub(crate) fn new(wal: Arc<Wal>, replica: Arc<Replica>) -> ReplicaLog {
        ReplicaLog { wal, replica }
    }

    /// Whose log it is.
    pub fn replica(&self) -> ReplicaId {
        self.replica.id
    }

    /// What the log says now, durable or not.
    pub fn state(&self) -> LogState {
        let memory = self.replica.memory.lock();
        LogState {
            purged: memory.purged.clone(),
            first: memory.first(),
            last: memory.last(),
            vote: memory.vote.clone(),
            committed: memory.committed.clone(),
        }
    }

    /// The newest vote, durable or not.
    pub fn vote(&self) -> Option<Bytes> {
        self.replica.memory.lock().vote.clone()
    }

    /// Live bytes of entries, with what each of them costs beside its content.
    pub fn bytes(&self) -> u64 {
        self.replica.memory.lock().bytes()
    }

    /// Adds entries, which must continue the log: they can be read when this returns. `done` is called later, by the
    /// log's own task: with success when they and everything before them are durable. Several are called newest first.
    /// Entries that do not continue the log change nothing, and `done` gets [`WalError::Hole`].
    pub fn append(&self, entries: Vec<(LogIndex, Bytes)>, done: Completion) {
        let mut memory = self.replica.memory.lock();
        let work = match memory.append(&entries) {
            _ if memory.removed => Work::Refuse(WalError::Closed),
            Ok(added) => {
                self.wal.shared.cached.fetch_add(added, Ordering::Relaxed);
                let first = entries.first().map_or(LogIndex(0), |(index, _)| *index);
                let entries = entries.into_iter().map(|(_, bytes)| bytes).collect();
                Work::Append { first, entries, era: memory.era }
            }
            Err(index) => Work::Refuse(WalError::Hole { replica: self.replica.id, index }),
        };
        let committed = take_committed(&mut memory);
        self.wal.send(Request { replica: self.replica.clone(), work, committed }, Some(done));
    }

    /// The entries from `from` up to but not including `to`, as far as there are any and as far as `max_bytes` goes,
    /// but at least one. An entry that was purged is a [`WalError::Hole`].
    pub async fn read(&self, from: LogIndex, to: LogIndex, max_bytes: usize) -> Result<Vec<Bytes>, WalError> {
        let pieces = self.replica.memory.lock().plan(self.replica.id, from, to, max_bytes)?;
        let mut cold = Vec::new();
        {
            let index = self.wal.shared.index.lock();
            for piece in &pieces {
                if let Piece::Cold(entry) = piece {
                    // Purged since, if it is not there.
                    let hole = WalError::Hole { replica: self.replica.id, index: *entry };
                    cold.push(index.locate(self.replica.id, *entry).ok_or(hole)?);
                }
            }
        }
        let mut fetched = if cold.is_empty() { Vec::new() } else { self.fetch(cold).await? }.into_iter();
        let bytes = pieces.into_iter().map(|piece| match piece {
            Piece::Hot(bytes) => bytes,
            Piece::Cold(_) => fetched.next().expect("each cold entry was fetched"),
        });
        Ok(bytes.collect())
    }

    async fn fetch(
        &self,
        entries: Vec<(Arc<crate::segment::Segment>, crate::record::Place)>,
    ) -> Result<Vec<Bytes>, WalError> {
        let (reply, answer) = oneshot::channel();
        let closed = || self.wal.shared.closed_error();
        self.wal.cold_reads.send(ColdRead { entries, reply }).map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Drops the entries after `keep`, all if there is none. Durable before it returns (WAL-2).
    pub async fn truncate_after(&self, keep: Option<LogIndex>) -> Result<(), WalError> {
        let waiter = self.change(|memory| {
            let freed = memory.truncate(keep);
            (freed, Work::Truncate(keep))
        })?;
        self.wal.wait(waiter).await
    }

    /// Drops the entries up to `up_to`, whose id is `id`. Done in memory at once; durable some time later.
    pub async fn purge(&self, up_to: LogIndex, id: Bytes) -> Result<(), WalError> {
        let mut memory = self.replica.memory.lock();
        if memory.removed {
            return Err(WalError::Closed);
        }
        if let Some(freed) = memory.purge(up_to, id.clone()) {
            self.wal.shared.uncache(freed);
            let committed = take_committed(&mut memory);
            let work = Work::Purge(up_to, id);
            self.wal.send(Request { replica: self.replica.clone(), work, committed }, None);
        }
        Ok(())
    }

    /// Waits until all that was done to it before is durable.
    pub async fn settle(&self) -> Result<(), WalError> {
        let waiter = self.change(|_| (0, Work::Flush))?;
        self.wal.wait(waiter).await
    }

    /// Saves the vote. Durable before it returns (WAL-2).
    pub async fn save_vote(&self, vote: Bytes) -> Result<(), WalError> {
        let waiter = self.change(|memory| {
            memory.vote = Some(vote.clone());
            (0, Work::Vote(vote))
        })?;
        self.wal.wait(waiter).await
    }

    /// Saves the committed position. It becomes durable together with this replica's next change, or at shutdown.
    pub fn save_committed(&self, committed: Bytes) {
        let mut memory = self.replica.memory.lock();
        if !memory.removed {
            memory.committed = Some(committed);
            memory.committed_waits = true;
        }
    }

    fn change(
        &self,
        change: impl FnOnce(&mut Memory) -> (usize, Work),
    ) -> Result<oneshot::Receiver<Result<(), WalError>>, WalError> {
        let mut memory = self.replica.memory.lock();
        if memory.removed {
            return Err(WalError::Closed);
        }
        let (freed, work) = change(&mut memory);
        self.wal.shared.uncache(freed);
        let committed = take_committed(&mut memory);
        Ok(self.wal.submit(self.replica.clone(), work, committed))
    }
}

/// The committed position, if it has not been handed to the lane yet.
fn take_committed(memory: &mut Memory) -> Option<Bytes> {
    std::mem::take(&mut memory.committed_waits).then(|| memory.committed.clone()).flatten()
}
