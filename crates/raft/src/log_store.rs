//! openraft's log storage over one replica's part of the node's log.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, stream};
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{EntryPayload, LogState, RaftLogReader};
use strata_codec::DecodeError;
use strata_types::LogIndex;
use strata_wal::ReplicaLog;

use crate::encoding::{
    decode_entry, decode_log_id, decode_vote, encode_entry, encode_log_id, encode_vote, entry_log_id,
};
use crate::lease::Leases;
use crate::types::{Entry, LogId, Types, Vote};

/// Most bytes that one read for replication or for apply brings into memory.
const READ_BYTES_MAX: usize = 1024 * 1024;

/// The log of one replica. Clones share it.
#[derive(Clone)]
pub(crate) struct LogStore {
    log: ReplicaLog,
    /// Told of what ends a lease before anybody else can hear of it.
    leases: Arc<Leases>,
}

impl LogStore {
    pub(crate) fn new(log: ReplicaLog, leases: Arc<Leases>) -> LogStore {
        LogStore { log, leases }
    }

    async fn read(&self, from: u64, to: u64, max_bytes: usize) -> io::Result<Vec<Entry>> {
        let encoded = self.log.read(LogIndex(from), LogIndex(to), max_bytes).await.map_err(io::Error::other)?;
        encoded.into_iter().map(|bytes| decode_entry(bytes).map_err(damaged)).collect()
    }

    /// The present bounds of the log intersected with a range, end exclusive.
    fn bounds(&self, range: &impl RangeBounds<u64>) -> (u64, u64) {
        let state = self.log.state();
        let first = state.first.map_or(0, |index| index.0);
        let end = state.last.map_or(0, |index| index.0 + 1);
        let from = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&start) => start + 1,
            Bound::Unbounded => first,
        };
        let to = match range.end_bound() {
            Bound::Included(&last) => last + 1,
            Bound::Excluded(&end) => end,
            Bound::Unbounded => end,
        };
        (from, to.min(end))
    }
}

/// The log verified these bytes when it read them, so this is a bug or a format from the future.
fn damaged(error: DecodeError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let (from, to) = self.bounds(&range);
        // By contract this one leaves out what was purged. For replication and apply a missing entry is an error.
        let from = from.max(self.log.state().first.map_or(to, |first| first.0));
        if from >= to { Ok(Vec::new()) } else { self.read(from, to, usize::MAX).await }
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end, READ_BYTES_MAX).await
    }

    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = io::Result<Entry>> + Send
    where
        RB: RangeBounds<u64> + Clone + Debug + Send,
    {
        // Applying may have a gigabyte to catch up with after a restart: read it piece by piece.
        let (from, to) = self.bounds(&range);
        let log = self.clone();
        let pieces = stream::unfold((log, from), move |(log, from)| async move {
            if from >= to {
                return None;
            }
            let piece = log.read(from, to, READ_BYTES_MAX).await;
            let next = match &piece {
                Ok(entries) if !entries.is_empty() => from + entries.len() as u64,
                _ => to,
            };
            let items: Vec<io::Result<Entry>> = match piece {
                Ok(entries) => entries.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            };
            Some((stream::iter(items), (log, next)))
        });
        Box::pin(futures_util::StreamExt::flatten(pieces))
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        self.log.state().vote.map(decode_vote).transpose().map_err(damaged)
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let state = self.log.state();
        let purged = state.purged.map(|(_, id)| decode_log_id(id)).transpose().map_err(damaged)?;
        let last = match state.last {
            None => purged,
            Some(last) => {
                let bytes = self.log.read(last, last.next(), usize::MAX).await.map_err(io::Error::other)?;
                let bytes = bytes.first().ok_or_else(|| io::Error::other("the last entry of the log is missing"))?;
                Some(entry_log_id(bytes).map_err(damaged)?)
            }
        };
        Ok(LogState { last_purged_log_id: purged, last_log_id: last })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.leases.vote(*vote.leader_id());
        self.log.save_vote(encode_vote(vote)).await.map_err(io::Error::other)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        if let Some(id) = committed {
            // Rides on the next frame, after the entries it speaks of: never durable before them.
            self.log.save_committed(encode_log_id(&id));
        }
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        let state = self.log.state();
        let committed = state.committed.map(decode_log_id).transpose().map_err(damaged)?;
        // A commit position beyond the log can be left behind by a crash between a truncation and the next frame.
        Ok(committed.filter(|id| state.last.is_some_and(|last| id.index <= last.0)))
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let encode = |entry: Entry| {
            if let EntryPayload::Membership(membership) = &entry.payload {
                self.leases.note_membership(entry.log_id.leader_id, membership);
            }
            (LogIndex(entry.log_id.index), encode_entry(&entry))
        };
        let encoded: Vec<(LogIndex, Bytes)> = entries.into_iter().map(encode).collect();
        #[cfg(debug_assertions)]
        if crate::mutant::is(crate::mutant::Mutant::AckBeforeSync) {
            self.log.append(encoded, Box::new(|_| ()));
            callback.io_completed(Ok(()));
            return Ok(());
        }
        self.log.append(encoded, Box::new(move |result| callback.io_completed(result.map_err(io::Error::other))));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        self.log.truncate_after(last.map(|id| LogIndex(id.index))).await.map_err(io::Error::other)
    }

    async fn purge(&mut self, up_to: LogId) -> io::Result<()> {
        self.log.purge(LogIndex(up_to.index), encode_log_id(&up_to)).await.map_err(io::Error::other)
    }
}
