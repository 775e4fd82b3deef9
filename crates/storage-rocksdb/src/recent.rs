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
//! Rows that are not owed stay, so that they are found, until the node needs the room for others. All that is owed goes to
//! RocksDB in one batch (ROCKS-3), so what RocksDB holds, and what survives a crash, always is a prefix of the writes.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use strata_storage::{WriteBatch, WriteOp};

/// What a row takes beside its key and its value, roughly. What a write counts for is the same: what it costs to make it
/// again from the log depends more on how many there are than on how long they are.
const ROW_BYTES: usize = 128;

/// While the node has too many recent rows, a tablet may have so many still: writes of fewer rows at once gain little.
const LEAST_BYTES: usize = 64 << 10;

/// The recent rows of all tablets of a node, and how much memory they may take.
pub(crate) struct Budget {
    /// So much may one tablet have that RocksDB does not have yet: each snapshot copies it, and a write may have to spill it.
    owed_bytes_max: usize,
    node_bytes_max: usize,
    node_bytes: AtomicUsize,
    tablets: Mutex<Vec<Weak<RwLock<Recent>>>>,
}

impl Budget {
    pub(crate) fn new(owed_bytes_max: usize, node_bytes_max: usize) -> Budget {
        Budget { owed_bytes_max, node_bytes_max, node_bytes: AtomicUsize::new(0), tablets: Mutex::default() }
    }

    /// No rows yet, of one more tablet.
    pub(crate) fn tablet(self: &Arc<Budget>) -> Arc<RwLock<Recent>> {
        let recent = Arc::new(RwLock::new(Recent::new(Arc::clone(self))));
        let mut tablets = self.tablets.lock();
        tablets.retain(|tablet| tablet.strong_count() > 0);
        tablets.push(Arc::downgrade(&recent));
        recent
    }

    /// Whether a batch can be taken when RocksDB has all rows and no other tablet has any.
    pub(crate) fn may_take(&self, batch: &WriteBatch) -> bool {
        size_of(batch) <= self.owed_bytes_max.min(self.node_bytes_max)
    }

    /// Forgets the rows of the tablet that has the most, of those where RocksDB has them all: idle ones are among them.
    /// Returns whether there was any. The caller has locked none.
    pub(crate) fn make_room(&self) -> bool {
        let tablets: Vec<_> = self.tablets.lock().iter().filter_map(Weak::upgrade).collect();
        let size = |tablet: &Arc<RwLock<Recent>>| {
            tablet.try_read().filter(|recent| recent.owed.is_empty()).map_or(0, |recent| recent.bytes)
        };
        let fullest = tablets.iter().map(|tablet| (size(tablet), tablet)).max_by_key(|(bytes, _)| *bytes);
        let Some((1.., fullest)) = fullest else { return false };
        let mut recent = fullest.write();
        let is_settled = recent.owed.is_empty();
        // Rows go when others may look again: that takes its time.
        let rows = is_settled.then(|| recent.clear());
        drop(recent);
        drop(rows);
        is_settled
    }
}

/// What a batch takes as recent rows.
pub(crate) fn size_of(batch: &WriteBatch) -> usize {
    batch.bytes() + batch.ops().len() * ROW_BYTES
}

/// Rows, and which of them are to be removed.
pub(crate) type Changes = Vec<(Bytes, Option<Bytes>)>;

/// The same in key order.
pub(crate) fn in_order(mut changes: Changes) -> Changes {
    changes.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    changes
}

struct Row {
    /// `None`: there is no such row any more. Its own copy: what was written may be a small part of something large.
    value: Option<Box<[u8]>>,
    /// In which round it was written. What was written in an earlier one than the present is in RocksDB.
    round: u64,
}

impl Row {
    fn value(&self) -> Option<Bytes> {
        self.value.as_deref().map(Bytes::copy_from_slice)
    }
}

/// The rows written last, of one tablet.
pub(crate) struct Recent {
    rows: HashMap<Box<[u8]>, Row>,
    /// Keys of the rows that RocksDB does not have yet, by their first bytes: most scans look at rows of one kind, of
    /// which there are none here.
    owed: BTreeMap<u8, Vec<Bytes>>,
    /// What they take.
    owed_bytes: usize,
    /// What all writes of this round take, also those that others have replaced since.
    written_bytes: usize,
    round: u64,
    /// What all rows take.
    bytes: usize,
    budget: Arc<Budget>,
}

impl Recent {
    fn new(budget: Arc<Budget>) -> Recent {
        let (rows, owed) = (HashMap::new(), BTreeMap::new());
        Recent { rows, owed, owed_bytes: 0, written_bytes: 0, round: 0, bytes: 0, budget }
    }

    /// The row, if it is here: it may be here as one that is no more.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Option<Bytes>> {
        self.rows.get(key).map(Row::value)
    }

    /// Whether a batch can be taken as well.
    pub(crate) fn has_room(&self, batch: &WriteBatch) -> bool {
        let more = size_of(batch);
        let node = self.budget.node_bytes.load(Ordering::Relaxed) + more;
        self.owed_bytes + more <= self.budget.owed_bytes_max
            && (node <= self.budget.node_bytes_max || self.bytes + more <= LEAST_BYTES)
    }

    pub(crate) fn put(&mut self, batch: &WriteBatch) {
        for op in batch.ops() {
            match op {
                WriteOp::Put(key, value) => self.set(key, Some(value)),
                WriteOp::Delete(key) => self.set(key, None),
            }
        }
        self.written_bytes += size_of(batch);
    }

    fn set(&mut self, key: &[u8], value: Option<&Bytes>) {
        let size = |value: Option<&[u8]>| ROW_BYTES + key.len() + value.map_or(0, <[u8]>::len);
        let value = value.map(Bytes::as_ref);
        let after = size(value);
        let (before, owed) = match self.rows.get_mut(key) {
            Some(row) => {
                let before = size(row.value.as_deref());
                match (&mut row.value, value) {
                    (Some(old), Some(new)) if old.len() == new.len() => old.copy_from_slice(new),
                    (old, new) => *old = new.map(Box::from),
                }
                let is_owed = std::mem::replace(&mut row.round, self.round) == self.round;
                (before, if is_owed { before } else { 0 })
            }
            None => {
                self.rows.insert(Box::from(key), Row { value: value.map(Box::from), round: self.round });
                (0, 0)
            }
        };
        self.grown(before, after);
        self.owed_bytes = self.owed_bytes + after - owed;
        if owed == 0 {
            self.owed.entry(key.first().copied().unwrap_or(0)).or_default().push(Bytes::copy_from_slice(key));
        }
    }

    fn grown(&mut self, before: usize, after: usize) {
        self.bytes = self.bytes + after - before;
        self.budget.node_bytes.fetch_add(after, Ordering::Relaxed);
        self.budget.node_bytes.fetch_sub(before, Ordering::Relaxed);
    }

    fn owed_of(&self, start: &[u8], end: &[u8]) -> impl Iterator<Item = &Vec<Bytes>> {
        let first = start.first().copied().unwrap_or(0);
        let last = end.first().copied().unwrap_or(u8::MAX).max(first);
        self.owed.range(first..=last).map(|(_, keys)| keys)
    }

    /// What the rows take that RocksDB does not have yet.
    pub(crate) fn owed_bytes(&self) -> usize {
        self.owed_bytes
    }

    /// How many bytes were written since it had them all.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.written_bytes as u64
    }

    /// What RocksDB does not have yet of `start <= key < end`, where an empty `end` is no bound. Not in order: whoever
    /// writes waits for this, perhaps for a thread that others go before.
    pub(crate) fn owed(&self, start: &[u8], end: &[u8]) -> Changes {
        let is_inside = |key: &&Bytes| key.as_ref() >= start && (end.is_empty() || key.as_ref() < end);
        let keys = self.owed_of(start, end).flatten().filter(is_inside);
        let value = |key: &Bytes| self.rows.get(key.as_ref()).and_then(Row::value);
        keys.map(|key| (key.clone(), value(key))).collect()
    }

    /// RocksDB has all of it now.
    pub(crate) fn settle(&mut self) {
        self.owed.clear();
        (self.owed_bytes, self.written_bytes) = (0, 0);
        self.round += 1;
    }

    /// Forgets all rows, of which RocksDB has all, and leaves them to the caller.
    pub(crate) fn clear(&mut self) -> impl Sized + use<> {
        debug_assert!(self.owed.is_empty(), "rows are forgotten when RocksDB has them");
        self.grown(self.bytes, 0);
        std::mem::take(&mut self.rows)
    }
}

impl Drop for Recent {
    fn drop(&mut self) {
        self.budget.node_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(rows: std::ops::Range<u32>, value: &'static [u8]) -> WriteBatch {
        let mut batch = WriteBatch::new();
        rows.for_each(|row| batch.put(Bytes::from(row.to_be_bytes().to_vec()), Bytes::from_static(value)));
        batch
    }

    /// Takes a batch that there is room for.
    fn put(tablet: &RwLock<Recent>, batch: &WriteBatch) {
        assert!(tablet.read().has_room(batch));
        tablet.write().put(batch);
    }

    #[test]
    fn rows_that_rocksdb_has_make_room_for_those_of_other_tablets() {
        let budget = Arc::new(Budget::new(1 << 20, 800_000));
        let [first, second, third] = [(); 3].map(|()| budget.tablet());
        put(&first, &batch(0..2_000, b"value"));
        put(&second, &batch(0..3_000, b"value"));
        let more = batch(0..1_500, b"value");
        assert!(!third.read().has_room(&more));
        assert!(!budget.make_room(), "RocksDB has none of them");
        assert!(third.read().has_room(&batch(0..300, b"value")), "a few always have room");

        first.write().settle();
        second.write().settle();
        assert!(first.read().get(&7_u32.to_be_bytes()).is_some());
        assert!(budget.make_room());
        assert!(second.read().get(&7_u32.to_be_bytes()).is_none(), "the fullest");
        assert!(first.read().get(&7_u32.to_be_bytes()).is_some());
        put(&third, &more);
        drop(first);
        assert!(!budget.make_room(), "a closed tablet has no rows");
        assert_eq!(budget.node_bytes.load(Ordering::Relaxed), third.read().bytes);
    }

    #[test]
    fn a_row_counts_once_however_often_it_is_written() {
        let budget = Arc::new(Budget::new(100_000, 1 << 20));
        let tablet = budget.tablet();
        for value in [&b"long value"[..], b"short", b"longer than before"].into_iter().cycle().take(99) {
            put(&tablet, &batch(0..100, value));
        }
        let mut gone = WriteBatch::new();
        gone.delete(Bytes::from(5_u32.to_be_bytes().to_vec()));
        put(&tablet, &gone);
        let recent = tablet.read();
        let rows = 100 * (ROW_BYTES + 4) + 99 * b"longer than before".len();
        assert_eq!((recent.bytes, recent.owed_bytes), (rows, rows));
        assert!(recent.written_bytes() > 99 * 100 * ROW_BYTES as u64, "each write is replayed after a crash");
        let owed = recent.owed(&3_u32.to_be_bytes(), &7_u32.to_be_bytes());
        let owed: Vec<_> = in_order(owed).iter().map(|(key, value)| (key[3], value.is_some())).collect();
        assert_eq!(owed, [(3, true), (4, true), (5, false), (6, true)]);
    }

    #[test]
    fn what_was_settled_is_owed_again_when_it_changes() {
        let tablet = Arc::new(Budget::new(100_000, 1 << 20)).tablet();
        put(&tablet, &batch(0..100, b"old"));
        tablet.write().settle();
        assert!(tablet.read().owed(b"", b"").is_empty());
        put(&tablet, &batch(40..42, b"new"));
        let recent = tablet.read();
        let owed: Vec<_> = in_order(recent.owed(b"", b"")).into_iter().map(|(key, value)| (key[3], value)).collect();
        assert_eq!(owed, [40, 41].map(|row| (row, Some(Bytes::from_static(b"new")))));
        assert_eq!(recent.owed_bytes, 2 * (ROW_BYTES + 4 + 3));
        assert_eq!(recent.get(&50_u32.to_be_bytes()), Some(Some(Bytes::from_static(b"old"))), "still found here");
    }
}
