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
//! Rows that are not owed stay, so that they are found, until the node needs the room for others. Writes come in bundles.
//! When a bundle is full, its rows go to RocksDB in one batch (ROCKS-3), and writes go on in the next one meanwhile. Only
//! one bundle at a time is on its way, so what RocksDB holds, and what survives a crash, always is a prefix of the writes.
//! A snapshot shares what was written: it ends a part of the bundle, and changes after it are in the next part.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::{array, iter};

use bytes::Bytes;
use strata_storage::{WriteBatch, WriteOp};
use strata_types::ReplicaId;

use crate::budget::Budget;
use crate::part::{Change, Part};

/// What a row takes beside its key and its value, roughly. What a write counts for is the same: what it costs to make it
/// again from the log depends more on how many there are than on how long they are.
const ROW_BYTES: usize = 128;

/// The rows lie in so many tables. One that grows moves all its rows, while who writes waits: so they are small, and do
/// not grow at the same time.
const TABLES: usize = 64;

/// A bundle has one part more than this at most, and two bundles are owed: who scans looks at each part. Beyond it they are
/// joined.
const PARTS_MAX: usize = 8;

/// What a batch takes as recent rows.
pub(crate) fn size_of(batch: &WriteBatch) -> usize {
    batch.bytes() + batch.ops().len() * ROW_BYTES
}

/// What is needed here no more. To free it takes its time.
pub(crate) type Forgotten = Box<dyn Send>;

struct Row {
    /// `None`: there is no such row any more.
    value: Option<Bytes>,
    /// In which part it was written, and where it is among the changes of that part.
    part: u64,
    at: usize,
}

type Tables = Box<[HashMap<Bytes, Row>; TABLES]>;

/// The rows written last, of one tablet.
pub(crate) struct Recent {
    replica: ReplicaId,
    rows: Tables,
    /// How much there is room for in the present bundle.
    bundle_bytes: usize,
    /// The number of the present part.
    number: u64,
    present: Part,
    /// What else is of the present bundle, the newest first.
    parts: Vec<Arc<Part>>,
    /// An earlier bundle that RocksDB may have or not.
    leaving: Vec<Arc<Part>>,
    /// What all rows take.
    bytes: usize,
    budget: Arc<Budget>,
}

impl Recent {
    /// No rows yet.
    pub(crate) fn new(budget: Arc<Budget>, replica: ReplicaId) -> Recent {
        Recent {
            replica,
            rows: no_rows(),
            bundle_bytes: budget.bundle_bytes(replica, 0),
            number: 0,
            present: Part::default(),
            parts: Vec::new(),
            leaving: Vec::new(),
            bytes: 0,
            budget,
        }
    }

    /// The row, if it is here: it may be here as one that is no more.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Option<Bytes>> {
        self.rows[table_of(key)].get(key).map(|row| row.value.clone())
    }

    /// Whether a batch can be taken as well.
    pub(crate) fn has_room(&self, batch: &WriteBatch) -> bool {
        self.budget.has_room(self.bytes, size_of(batch)) && !self.is_bundle_full(batch)
    }

    /// Whether a batch would be too much for the present bundle.
    pub(crate) fn is_bundle_full(&self, batch: &WriteBatch) -> bool {
        self.bundle().map(|part| part.bytes).sum::<usize>() + size_of(batch) > self.bundle_bytes
    }

    pub(crate) fn put(&mut self, batch: &WriteBatch) {
        for op in batch.ops() {
            match op {
                WriteOp::Put(key, value) => self.set(key, Some(value)),
                WriteOp::Delete(key) => self.set(key, None),
            }
        }
        self.present.written_bytes += size_of(batch);
    }

    fn set(&mut self, key: &Bytes, value: Option<&Bytes>) {
        let size = |value: Option<&Bytes>| ROW_BYTES + key.len() + value.map_or(0, Bytes::len);
        let (after, value) = (size(value), value.cloned());
        let changes = self.present.changes_like(key);
        let (before, owed) = match self.rows[table_of(key)].entry(key.clone()) {
            Entry::Occupied(mut row) => {
                let row = row.get_mut();
                let before = size(row.value.as_ref());
                row.value.clone_from(&value);
                if row.part == self.number {
                    changes[row.at].1 = value;
                    (before, before)
                } else {
                    (row.part, row.at) = (self.number, changes.len());
                    changes.push((key.clone(), value));
                    (before, 0)
                }
            }
            Entry::Vacant(row) => {
                row.insert(Row { value: value.clone(), part: self.number, at: changes.len() });
                changes.push((key.clone(), value));
                (0, 0)
            }
        };
        self.grown(before, after);
        self.present.bytes = self.present.bytes + after - owed;
    }

    fn grown(&mut self, before: usize, after: usize) {
        self.bytes = self.bytes + after - before;
        self.budget.changed(before, after);
    }

    /// The parts of the present bundle, the newest first.
    fn bundle(&self) -> impl Iterator<Item = &Part> {
        iter::once(&self.present).chain(self.parts.iter().map(Arc::as_ref))
    }

    /// All that RocksDB may not have yet, the newest first.
    fn owed(&self) -> impl Iterator<Item = &Part> {
        self.bundle().chain(self.leaving.iter().map(Arc::as_ref))
    }

    /// What all rows take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether RocksDB has all rows.
    pub(crate) fn is_settled(&self) -> bool {
        self.owed().all(Part::is_empty)
    }

    /// How many bytes of writes RocksDB may not have yet, also of those that others have replaced since.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.owed().map(|part| part.written_bytes as u64).sum()
    }

    /// What RocksDB may not have yet of `start <= key < end`, where an empty `end` is no bound; the newest first. Not in
    /// order: whoever writes waits for this, perhaps for a thread that others go before.
    pub(crate) fn owed_within(&self, start: &[u8], end: &[u8]) -> Vec<Change> {
        self.owed().flat_map(|part| part.within(start, end)).cloned().collect()
    }

    /// All that RocksDB may not have yet, the newest first. It is shared, not copied: what is written from now on is in
    /// another part.
    pub(crate) fn share(&mut self) -> Vec<Arc<Part>> {
        if self.parts.len() == PARTS_MAX && !self.present.is_empty() {
            self.parts = vec![Arc::new(Part::joined(self.parts.iter().map(Arc::as_ref)))];
        }
        self.end_part();
        self.parts.iter().chain(&self.leaving).cloned().collect()
    }

    fn end_part(&mut self) {
        if !self.present.is_empty() {
            self.parts.insert(0, Arc::new(std::mem::take(&mut self.present)));
            self.number += 1;
        }
    }

    /// Ends the present bundle and returns it, the newest first, or `None` if it is empty, or RocksDB refused the one
    /// before. Its rows are owed until they are [settled](Recent::settle).
    pub(crate) fn leave(&mut self) -> Option<Vec<Arc<Part>>> {
        if !self.leaving.is_empty() {
            return None;
        }
        self.end_part();
        self.leaving = std::mem::take(&mut self.parts);
        self.bundle_bytes = self.budget.bundle_bytes(self.replica, self.number);
        (!self.leaving.is_empty()).then(|| self.leaving.clone())
    }

    /// RocksDB has the bundle that is leaving.
    pub(crate) fn settle(&mut self) -> Forgotten {
        Box::new(std::mem::take(&mut self.leaving))
    }

    /// RocksDB has all that was [shared](Recent::share) last, and nothing was written since.
    pub(crate) fn settle_all(&mut self) -> Forgotten {
        debug_assert!(self.present.is_empty(), "nobody writes while it is spilled");
        Box::new((std::mem::take(&mut self.leaving), std::mem::take(&mut self.parts)))
    }

    /// Forgets all rows, of which RocksDB has all. Returns `None` if there are none.
    pub(crate) fn forget(&mut self) -> Option<Forgotten> {
        debug_assert!(self.is_settled(), "rows are forgotten when RocksDB has them");
        if self.bytes == 0 {
            return None;
        }
        self.grown(self.bytes, 0);
        Some(Box::new(std::mem::replace(&mut self.rows, no_rows())))
    }
}

fn no_rows() -> Tables {
    Box::new(array::from_fn(|_| HashMap::new()))
}

/// Which of the tables has a row. Each of them has its own hash, so nobody can make a table slow by his choice of keys.
fn table_of(key: &[u8]) -> usize {
    crc32c::crc32c(key) as usize % TABLES
}

impl Drop for Recent {
    fn drop(&mut self) {
        self.budget.changed(self.bytes, 0);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use parking_lot::RwLock;

    use super::*;
    use crate::part::{in_order, rows_of};

    pub(crate) fn batch(rows: std::ops::Range<u32>, value: &'static [u8]) -> WriteBatch {
        let mut batch = WriteBatch::new();
        rows.for_each(|row| batch.put(Bytes::from(row.to_be_bytes().to_vec()), Bytes::from_static(value)));
        batch
    }

    /// Takes a batch that there is room for.
    pub(crate) fn put(tablet: &RwLock<Recent>, batch: &WriteBatch) {
        assert!(tablet.read().has_room(batch));
        tablet.write().put(batch);
    }

    /// Gives RocksDB all rows, as far as the tablet knows.
    pub(crate) fn spill(tablet: &RwLock<Recent>) {
        let mut recent = tablet.write();
        recent.share();
        recent.settle_all();
    }

    #[test]
    fn a_row_counts_once_however_often_it_is_written() {
        let budget = Arc::new(Budget::new(100_000, 1 << 20));
        let tablet = budget.tablet(ReplicaId(1));
        for value in [&b"long value"[..], b"short", b"longer than before"].into_iter().cycle().take(99) {
            put(&tablet, &batch(0..100, value));
        }
        let mut gone = WriteBatch::new();
        gone.delete(Bytes::from(5_u32.to_be_bytes().to_vec()));
        put(&tablet, &gone);
        let recent = tablet.read();
        let rows = 100 * (ROW_BYTES + 4) + 99 * b"longer than before".len();
        assert_eq!((recent.bytes, recent.present.bytes), (rows, rows));
        assert!(recent.written_bytes() > 99 * 100 * ROW_BYTES as u64, "each write is replayed after a crash");
        let owed = recent.owed_within(&3_u32.to_be_bytes(), &7_u32.to_be_bytes());
        let owed: Vec<_> = in_order(owed).iter().map(|(key, value)| (key[3], value.is_some())).collect();
        assert_eq!(owed, [(3, true), (4, true), (5, false), (6, true)]);
    }

    #[test]
    fn what_was_settled_is_owed_again_when_it_changes() {
        let tablet = Arc::new(Budget::new(100_000, 1 << 20)).tablet(ReplicaId(1));
        put(&tablet, &batch(0..100, b"old"));
        spill(&tablet);
        assert!(tablet.read().owed_within(b"", b"").is_empty());
        put(&tablet, &batch(40..42, b"new"));
        let recent = tablet.read();
        let owed: Vec<_> =
            in_order(recent.owed_within(b"", b"")).into_iter().map(|(key, value)| (key[3], value)).collect();
        assert_eq!(owed, [40, 41].map(|row| (row, Some(Bytes::from_static(b"new")))));
        assert_eq!(recent.present.bytes, 2 * (ROW_BYTES + 4 + 3));
        assert_eq!(recent.get(&50_u32.to_be_bytes()), Some(Some(Bytes::from_static(b"old"))), "still found here");
    }

    #[test]
    fn what_is_shared_stays_as_it_was_however_many_share_it() {
        let tablet = Arc::new(Budget::new(1 << 20, 1 << 20)).tablet(ReplicaId(1));
        let value = |number: u32| Bytes::from(number.to_be_bytes().to_vec());
        let mut shared = Vec::new();
        for number in 0..40 {
            let mut batch = WriteBatch::new();
            // Rows of each of the last three, and one of each before.
            (number..number + 3).for_each(|row| batch.put(value(row), value(number)));
            put(&tablet, &batch);
            shared.push(tablet.write().share());
            assert!(tablet.read().parts.len() <= PARTS_MAX);
        }
        for (number, parts) in (0..).zip(&shared) {
            let rows: Vec<_> = rows_of(parts).into_iter().map(|(key, value)| (key.clone(), value.clone())).collect();
            let expected = |row: u32| (value(row), Some(value(row.min(number))));
            assert_eq!(rows, (0..number + 3).map(expected).collect::<Vec<_>>());
        }
    }
}
