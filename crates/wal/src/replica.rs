//! A replica's log as its owner sees it: ahead of the disk.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;
use strata_types::{LogIndex, ReplicaId};

use crate::WalError;
use crate::index::ReplicaIndex;

/// What each entry costs beside its bytes, in memory for as long as it is kept, and in its frame: roughly. Many small entries
/// would cost far more than they count for.
pub const ENTRY_BYTES: u64 = 128;

/// One replica's log in memory.
pub(crate) struct Replica {
    pub(crate) id: ReplicaId,
    pub(crate) memory: Mutex<Memory>,
}

/// What a replica's log says, including what is not durable yet.
///
/// ```text
///   purged | first .. on disk only | in memory, durable | in memory, under way | next
///            ^0                      ^evicted             ^durable_end
/// ```
#[derive(Default)]
pub(crate) struct Memory {
    pub(crate) vote: Option<Bytes>,
    pub(crate) committed: Option<Bytes>,
    /// `committed` has not been handed to the lane.
    pub(crate) committed_waits: bool,
    pub(crate) purged: Option<(LogIndex, Bytes)>,
    /// Index of the first slot.
    first: u64,
    slots: VecDeque<Slot>,
    /// Leading slots whose bytes are on the disk only.
    evicted: usize,
    /// Entries below this index are durable.
    durable_end: u64,
    /// Rises with each truncation: an append that was sent before one says nothing about entries after it.
    pub(crate) era: u64,
    bytes: u64,
    cached: usize,
    pub(crate) removed: bool,
}

struct Slot {
    content: Option<Bytes>,
    length: u32,
}

impl Slot {
    /// What it counts for.
    fn bytes(&self) -> u64 {
        u64::from(self.length) + ENTRY_BYTES
    }
}

/// Entries to read: some are at hand, the rest must be fetched.
pub(crate) enum Piece {
    Hot(Bytes),
    Cold(LogIndex),
}

impl Replica {
    pub(crate) fn new(id: ReplicaId) -> Replica {
        Replica { id, memory: Mutex::default() }
    }

    /// What recovery found; entries stay on the disk until they are read.
    pub(crate) fn recovered(id: ReplicaId, index: &ReplicaIndex) -> Replica {
        let first = index.entries.first_key_value().map_or(0, |(first, _)| first.0);
        let slots: VecDeque<Slot> =
            index.entries.values().map(|place| Slot { content: None, length: place.length }).collect();
        let memory = Memory {
            vote: index.vote.clone(),
            committed: index.committed.clone(),
            purged: index.purged.clone(),
            first,
            evicted: slots.len(),
            durable_end: first + slots.len() as u64,
            bytes: slots.iter().map(Slot::bytes).sum(),
            slots,
            ..Memory::default()
        };
        Replica { id, memory: Mutex::new(memory) }
    }
}

impl Memory {
    pub(crate) fn first(&self) -> Option<LogIndex> {
        (!self.slots.is_empty()).then_some(LogIndex(self.first))
    }

    pub(crate) fn last(&self) -> Option<LogIndex> {
        self.end().checked_sub(1).filter(|_| !self.slots.is_empty()).map(LogIndex)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn cached(&self) -> usize {
        self.cached
    }

    /// Whether anything was ever stored.
    pub(crate) fn is_blank(&self) -> bool {
        self.slots.is_empty() && self.vote.is_none() && self.committed.is_none() && self.purged.is_none()
    }

    fn end(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    /// The only index an append may begin at; any, if the log never held an entry.
    fn next(&self) -> Option<u64> {
        if self.slots.is_empty() { self.purged.as_ref().map(|(index, _)| index.0 + 1) } else { Some(self.end()) }
    }

    /// Adds entries; refuses those that do not continue the log. Returns the bytes added.
    pub(crate) fn append(&mut self, entries: &[(LogIndex, Bytes)]) -> Result<usize, LogIndex> {
        let Some((first, _)) = entries.first() else { return Ok(0) };
        let start = self.next().unwrap_or(first.0);
        for (expected, (index, _)) in (start..).zip(entries) {
            if index.0 != expected {
                return Err(LogIndex(expected));
            }
        }
        if self.slots.is_empty() {
            self.first = start;
            self.durable_end = start;
        }
        let mut added = 0;
        for (_, bytes) in entries {
            added += bytes.len();
            let length = u32::try_from(bytes.len()).expect("entries are far below 4 GiB");
            self.slots.push_back(Slot { content: Some(bytes.clone()), length });
        }
        self.bytes += added as u64 + entries.len() as u64 * ENTRY_BYTES;
        self.cached += added;
        Ok(added)
    }

    /// Drops entries after `keep`. Returns the bytes that are no longer held in memory.
    pub(crate) fn truncate(&mut self, keep: Option<LogIndex>) -> usize {
        let end = keep.map_or(0, |index| index.0 + 1).max(self.first);
        self.era += 1;
        let mut freed = 0;
        while self.end() > end {
            let slot = self.slots.pop_back().expect("a log that ends after its first entry is not empty");
            freed += self.forget(&slot);
        }
        self.evicted = self.evicted.min(self.slots.len());
        self.durable_end = self.durable_end.min(self.end());
        freed
    }

    /// Drops entries up to `index`. Returns the bytes that are no longer held in memory; `None` if that was done before.
    pub(crate) fn purge(&mut self, index: LogIndex, id: Bytes) -> Option<usize> {
        if self.purged.as_ref().is_some_and(|(purged, _)| *purged >= index) {
            return None;
        }
        let mut freed = 0;
        while self.first <= index.0 {
            let Some(slot) = self.slots.pop_front() else { break };
            self.first += 1;
            self.evicted = self.evicted.saturating_sub(1);
            freed += self.forget(&slot);
        }
        self.purged = Some((index, id));
        Some(freed)
    }

    /// Drops everything. Returns the bytes that are no longer held in memory.
    pub(crate) fn clear(&mut self) -> usize {
        let freed = self.cached;
        *self = Memory { era: self.era + 1, removed: true, ..Memory::default() };
        freed
    }

    /// Entries below `end` are durable, says an append of `era`.
    pub(crate) fn mark_durable(&mut self, era: u64, end: u64) {
        if era == self.era {
            self.durable_end = self.durable_end.max(end.min(self.end()));
        }
    }

    /// Lets go of at least `wanted` bytes of the oldest entries, as far as they are durable. Returns the bytes freed.
    pub(crate) fn evict(&mut self, wanted: usize) -> usize {
        let mut freed = 0;
        while freed < wanted && self.first + (self.evicted as u64) < self.durable_end {
            let Some(slot) = self.slots.get_mut(self.evicted) else { break };
            if slot.content.take().is_some() {
                freed += slot.length as usize;
            }
            self.evicted += 1;
        }
        self.cached -= freed;
        freed
    }

    /// What to return for the entries from `from` up to but not including `to`.
    pub(crate) fn plan(
        &self,
        replica: ReplicaId,
        from: LogIndex,
        to: LogIndex,
        bytes_max: usize,
    ) -> Result<Vec<Piece>, WalError> {
        let start = if self.slots.is_empty() { self.next().unwrap_or(0) } else { self.first };
        if from < to && from.0 < start {
            return Err(WalError::Hole { replica, index: from });
        }
        let mut pieces = Vec::new();
        let mut total = 0;
        for index in from.0..to.0.min(self.end()) {
            let slot = &self.slots[(index - self.first) as usize];
            total += slot.length as usize;
            if !pieces.is_empty() && total > bytes_max {
                break;
            }
            pieces.push(match &slot.content {
                Some(bytes) => Piece::Hot(bytes.clone()),
                None => Piece::Cold(LogIndex(index)),
            });
        }
        Ok(pieces)
    }

    fn forget(&mut self, slot: &Slot) -> usize {
        self.bytes -= slot.bytes();
        let freed = if slot.content.is_some() { slot.length as usize } else { 0 };
        self.cached -= freed;
        freed
    }
}
