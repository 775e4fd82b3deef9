//! The rows that were written last, before and beside RocksDB's memtables.
//!
//! # Why
//! A memtable is a skip list, and keeps each write of a row until it is flushed. So the way to one row leads over some
//! twenty others that no processor cache holds, and whoever changes a row goes it twice: to read the old row and to
//! write the new one. Here a row is found at once, and replaced where it lies. RocksDB gets what has come together:
//! each row once, in key order, where one row's way is most of the next one's.
//!
//! # Model
//! ```text
//!   write -->  rows   k1: v9 (owed)   k2: removed (owed)   k3: v4
//!                          |                |                 |
//!              RocksDB     v3               v1                v4        what is not owed is the same there
//! ```
//! All that is owed goes to RocksDB in one batch (ROCKS-3), so what RocksDB holds, and what survives a crash, always is
//! a prefix of the writes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use strata_storage::{WriteBatch, WriteOp};

/// What a row takes beside its key and its value, roughly.
const ROW_BYTES: usize = 160;

/// While the node has too many recent rows, a tablet may have so many still: writes of fewer rows at once gain little.
const LEAST_BYTES: usize = 64 << 10;

/// How much memory recent rows may take.
#[derive(Debug)]
pub(crate) struct Budget {
    tablet_bytes_max: usize,
    node_bytes_max: usize,
    node_bytes: AtomicUsize,
}

impl Budget {
    pub(crate) fn new(tablet_bytes_max: usize, node_bytes_max: usize) -> Budget {
        Budget { tablet_bytes_max, node_bytes_max, node_bytes: AtomicUsize::new(0) }
    }
}

/// Rows in key order, and which of them are to be removed.
pub(crate) type Changes = Vec<(Arc<[u8]>, Option<Bytes>)>;

struct Row {
    /// `None`: there is no such row any more.
    value: Option<Bytes>,
    /// In which round it was written. What was written in an earlier one than the present is in RocksDB.
    round: u64,
}

/// The rows written last, of one tablet.
pub(crate) struct Recent {
    rows: HashMap<Arc<[u8]>, Row>,
    /// Keys of the rows that RocksDB does not have yet, by their first bytes: most scans look at rows of one kind, of
    /// which there are none here.
    owed: BTreeMap<u8, Vec<Arc<[u8]>>>,
    /// Of all keys and values written in this round, also of those that others have replaced since.
    owed_bytes: u64,
    round: u64,
    bytes: usize,
    budget: Arc<Budget>,
}

impl Recent {
    pub(crate) fn new(budget: Arc<Budget>) -> Recent {
        let (rows, owed) = (HashMap::new(), BTreeMap::new());
        Recent { rows, owed, owed_bytes: 0, round: 0, bytes: 0, budget }
    }

    /// The row, if it is here: it may be here as one that is no more.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&Option<Bytes>> {
        self.rows.get(key).map(|row| &row.value)
    }

    /// Whether a batch can be taken as well.
    pub(crate) fn has_room(&self, batch: &WriteBatch) -> bool {
        let bytes = self.bytes + batch.bytes() + batch.ops().len() * ROW_BYTES;
        let is_node_full = self.budget.node_bytes.load(Ordering::Relaxed) >= self.budget.node_bytes_max;
        bytes <= if is_node_full { LEAST_BYTES } else { self.budget.tablet_bytes_max }
    }

    pub(crate) fn put(&mut self, batch: &WriteBatch) {
        for op in batch.ops() {
            match op {
                WriteOp::Put(key, value) => self.set(key, Some(value)),
                WriteOp::Delete(key) => self.set(key, None),
            }
        }
        self.owed_bytes += batch.bytes() as u64;
    }

    fn set(&mut self, key: &[u8], value: Option<&Bytes>) {
        // Copied: it may be a small part of something large.
        let value = value.map(|value| Bytes::copy_from_slice(value));
        let length = |value: &Option<Bytes>| value.as_ref().map_or(0, Bytes::len);
        let key = match self.rows.get_mut(key) {
            Some(row) => {
                let (before, after) = (length(&row.value), length(&value));
                row.value = value;
                let is_owed = std::mem::replace(&mut row.round, self.round) == self.round;
                self.grown(before, after);
                match self.rows.get_key_value(key).filter(|_| !is_owed) {
                    Some((key, _)) => Arc::clone(key),
                    None => return,
                }
            }
            None => {
                let key: Arc<[u8]> = Arc::from(key);
                self.grown(0, ROW_BYTES + key.len() + length(&value));
                self.rows.insert(Arc::clone(&key), Row { value, round: self.round });
                key
            }
        };
        self.owed.entry(key.first().copied().unwrap_or(0)).or_default().push(key);
    }

    fn grown(&mut self, before: usize, after: usize) {
        self.bytes = self.bytes + after - before;
        self.budget.node_bytes.fetch_add(after, Ordering::Relaxed);
        self.budget.node_bytes.fetch_sub(before, Ordering::Relaxed);
    }

    /// How many rows RocksDB does not have yet, of the kinds that begin between `start` and `end`.
    pub(crate) fn owed_rows_of(&self, start: &[u8], end: &[u8]) -> usize {
        self.owed_of(start, end).map(Vec::len).sum()
    }

    fn owed_of(&self, start: &[u8], end: &[u8]) -> impl Iterator<Item = &Vec<Arc<[u8]>>> {
        let first = start.first().copied().unwrap_or(0);
        let last = end.first().copied().unwrap_or(u8::MAX).max(first);
        self.owed.range(first..=last).map(|(_, keys)| keys)
    }

    /// How many bytes were written since it had them all.
    pub(crate) fn owed_bytes(&self) -> u64 {
        self.owed_bytes
    }

    /// What RocksDB does not have yet of `start <= key < end`, where an empty `end` is no bound.
    pub(crate) fn owed(&self, start: &[u8], end: &[u8]) -> Changes {
        let is_inside = |key: &&Arc<[u8]>| key.as_ref() >= start && (end.is_empty() || key.as_ref() < end);
        let keys = self.owed_of(start, end).flatten().filter(is_inside);
        let value = |key: &Arc<[u8]>| self.rows.get(key).and_then(|row| row.value.clone());
        let mut changes: Changes = keys.map(|key| (Arc::clone(key), value(key))).collect();
        changes.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        changes
    }

    /// RocksDB has all of it now.
    pub(crate) fn settle(&mut self) {
        self.owed.clear();
        self.owed_bytes = 0;
        self.round += 1;
    }

    /// Forgets all rows, of which RocksDB has all.
    pub(crate) fn clear(&mut self) {
        debug_assert!(self.owed.is_empty(), "rows are forgotten when RocksDB has them");
        self.rows = HashMap::new();
        self.grown(self.bytes, 0);
    }
}

impl Drop for Recent {
    fn drop(&mut self) {
        self.budget.node_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
