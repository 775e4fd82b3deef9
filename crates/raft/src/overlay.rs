//! What a machine sees while it applies: the tablet under the writes of the apply so far.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use strata_machine::{View, ViewMut};
use strata_storage::{Engine, StorageError, WriteBatch, scan_over};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// What rows hold, and that they are not there.
pub(crate) type Rows = BTreeMap<Bytes, Option<Bytes>>;

/// Bytes of what single reads have found that are kept: values are of any size.
const FOUND_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Pending writes over an engine. A failed read is remembered and spoils the whole apply, so the machine itself never
/// has to deal with a disk.
pub(crate) struct Overlay<'a> {
    engine: &'a dyn Engine,
    waiting: Waiting,
    pending: Rows,
    /// What single reads have found: commands ask for the same rows again and again.
    found: RefCell<Rows>,
    found_bytes: Cell<usize>,
    pending_bytes: usize,
    chain: u64,
    error: RefCell<Option<StorageError>>,
}

/// Whether the thread may wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// It is one of those meant for it.
    Allowed,
    /// Many others run on it. What is not in memory fails with [`StorageError::WouldBlock`].
    Forbidden,
}

impl<'a> Overlay<'a> {
    /// An overlay that continues a hash chain, where some rows of the engine are `known`.
    pub(crate) fn new(engine: &'a dyn Engine, chain: u64, waiting: Waiting, known: Rows) -> Overlay<'a> {
        Overlay {
            engine,
            waiting,
            pending: BTreeMap::new(),
            found: RefCell::new(known),
            found_bytes: Cell::new(0),
            pending_bytes: 0,
            chain,
            error: RefCell::new(None),
        }
    }

    /// Hash over every write since the tablet was empty, in order. Equal on all replicas at equal index, however the
    /// entries were grouped into applies.
    pub(crate) fn chain(&self) -> u64 {
        self.chain
    }

    fn fail(&self, error: StorageError) {
        self.error.borrow_mut().get_or_insert(error);
    }

    /// Of some rows, those that the engine holds once the writes are in it, as far as they were read or written.
    pub(crate) fn known(&self, rows: &[&[u8]]) -> Rows {
        let found = self.found.borrow();
        let held = |row: &&[u8]| self.pending.get_key_value(*row).or_else(|| found.get_key_value(*row));
        rows.iter().filter_map(held).map(|(row, value)| (row.clone(), value.clone())).collect()
    }

    /// What it holds in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        self.found_bytes.get() + self.pending_bytes
    }

    /// Whether a read failed: then nothing that the machine did since is worth anything.
    pub(crate) fn has_failed(&self) -> bool {
        self.error.borrow().is_some()
    }

    /// The writes as one batch, or the first read that failed.
    pub(crate) fn finish(self) -> Result<WriteBatch, StorageError> {
        if let Some(error) = self.error.into_inner() {
            return Err(error);
        }
        let mut batch = WriteBatch::new();
        for (key, value) in self.pending {
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            }
        }
        Ok(batch)
    }
}

impl View for Overlay<'_> {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        if let Some(value) = self.pending.get(key) {
            return value.clone();
        }
        if let Some(value) = self.found.borrow().get(key) {
            return value.clone();
        }
        let found = match self.waiting {
            Waiting::Allowed => self.engine.get(key),
            Waiting::Forbidden => self.engine.get_cached(key),
        };
        let value = found.unwrap_or_else(|error| {
            self.fail(error);
            None
        });
        let bytes = self.found_bytes.get() + key.len() + value.as_ref().map_or(0, Bytes::len);
        if bytes <= FOUND_BYTES_MAX {
            self.found_bytes.set(bytes);
            self.found.borrow_mut().insert(Bytes::copy_from_slice(key), value.clone());
        }
        value
    }

    fn scan(&self, start: &[u8], end: &[u8], visit: &mut dyn FnMut(&[u8], &Bytes) -> bool) {
        if self.waiting == Waiting::Forbidden {
            return self.fail(StorageError::WouldBlock);
        }
        let upper = if end.is_empty() { Bound::Unbounded } else { Bound::Excluded(end) };
        let pending = self.pending.range::<[u8], _>((Bound::Included(start), upper));
        let scanned = scan_over(
            pending.map(|(key, change)| (key.as_ref(), change.as_deref())),
            |shown| self.engine.scan(start, end, shown),
            &mut |key, value| visit(key, &Bytes::copy_from_slice(value)),
        );
        if let Err(error) = scanned {
            self.fail(error);
        }
    }
}

impl ViewMut for Overlay<'_> {
    fn put(&mut self, key: Bytes, value: Bytes) {
        self.chain = xxh3_64_with_seed(&value, xxh3_64_with_seed(&key, self.chain));
        self.pending_bytes += key.len() + value.len();
        self.pending.insert(key, Some(value));
    }

    fn delete(&mut self, key: Bytes) {
        self.chain = xxh3_64_with_seed(&key, !self.chain);
        self.pending_bytes += key.len();
        self.pending.insert(key, None);
    }
}

#[cfg(test)]
mod tests {
    use strata_storage::Tablets as _;
    use strata_storage::memory::MemoryTablets;
    use strata_types::ReplicaId;

    use super::*;

    fn bytes(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn reads_see_the_writes_of_the_apply_over_the_tablet() {
        let engine = MemoryTablets::new().open(ReplicaId(1)).expect("opens");
        let mut base = WriteBatch::new();
        for key in ["b", "d", "f"] {
            base.put(bytes(key), bytes("old"));
        }
        engine.write(base).expect("writes");

        let mut overlay = Overlay::new(engine.as_ref(), 0, Waiting::Allowed, Rows::new());
        for key in ["a", "d", "g"] {
            overlay.put(bytes(key), bytes("new"));
        }
        overlay.delete(bytes("b"));

        assert_eq!(overlay.get(b"b"), None);
        assert_eq!(overlay.get(b"d"), Some(bytes("new")));
        assert_eq!(overlay.get(b"f"), Some(bytes("old")));
        let seen = |start: &str, end: &str, limit: usize| {
            let mut keys = Vec::new();
            overlay.scan(start.as_bytes(), end.as_bytes(), &mut |key, _| {
                keys.push(String::from_utf8_lossy(key).into_owned());
                keys.len() < limit
            });
            keys.join("")
        };
        assert_eq!(seen("", "", 9), "adfg");
        assert_eq!(seen("b", "g", 9), "df");
        assert_eq!(seen("", "", 1), "a");
        assert_eq!(seen("", "", 2), "ad");
    }

    #[test]
    fn what_is_not_in_memory_spoils_an_apply_that_must_not_wait() {
        let engine = MemoryTablets::new().open(ReplicaId(1)).expect("opens");
        let (warm, cold) = (bytes("a"), bytes("d"));
        let mut base = WriteBatch::new();
        [&warm, &cold].into_iter().for_each(|key| base.put(key.clone(), bytes("old")));
        engine.write(base).expect("writes");
        engine.flush().expect("flushes");
        let read = |key: &Bytes, waiting| {
            let mut overlay = Overlay::new(engine.as_ref(), 0, waiting, Rows::new());
            let value = overlay.get(key);
            overlay.put(key.clone(), bytes("new"));
            overlay.finish().map(|batch| (value, batch.ops().len()))
        };
        assert_eq!(read(&warm, Waiting::Forbidden), Ok((Some(bytes("old")), 1)));
        assert_eq!(read(&cold, Waiting::Forbidden), Err(StorageError::WouldBlock));
        assert_eq!(read(&cold, Waiting::Allowed), Ok((Some(bytes("old")), 1)));
    }

    #[test]
    fn what_is_known_of_rows_is_what_the_engine_will_hold() {
        let engine = MemoryTablets::new().open(ReplicaId(1)).expect("opens");
        let mut base = WriteBatch::new();
        ["a", "b", "c"].into_iter().for_each(|key| base.put(bytes(key), bytes("old")));
        engine.write(base).expect("writes");
        let rows: &[&[u8]] = &[b"a", b"b", b"c", b"d"];

        let mut overlay = Overlay::new(engine.as_ref(), 0, Waiting::Allowed, Rows::new());
        assert_eq!((overlay.get(b"a"), overlay.get(b"d")), (Some(bytes("old")), None));
        overlay.put(bytes("a"), bytes("new"));
        overlay.delete(bytes("b"));
        let known = overlay.known(rows);
        let expected = [("a", Some("new")), ("b", None), ("d", None)];
        assert_eq!(known, expected.map(|(row, value)| (bytes(row), value.map(bytes))).into(), "nobody asked for c");

        let mut next = Overlay::new(engine.as_ref(), 0, Waiting::Allowed, known);
        assert_eq!((next.get(b"a"), next.get(b"b")), (Some(bytes("new")), None), "the engine is not asked");
        next.put(bytes("d"), bytes("new"));
        assert_eq!(next.known(&[b"a", b"d"]).into_values().collect::<Vec<_>>(), vec![Some(bytes("new")); 2]);
    }

    #[test]
    fn the_chain_depends_on_every_write_and_on_nothing_else() {
        let engine = MemoryTablets::new().open(ReplicaId(1)).expect("opens");
        let chain = |values: &[(&'static str, Option<&'static str>)]| {
            let mut at = 0;
            for (key, value) in values {
                let mut overlay = Overlay::new(engine.as_ref(), at, Waiting::Allowed, Rows::new());
                match value {
                    Some(value) => overlay.put(bytes(key), bytes(value)),
                    None => overlay.delete(bytes(key)),
                }
                at = overlay.chain();
            }
            at
        };
        assert_eq!(chain(&[("a", Some("1")), ("b", None)]), chain(&[("a", Some("1")), ("b", None)]));
        assert_ne!(chain(&[("a", Some("1")), ("b", None)]), chain(&[("b", None), ("a", Some("1"))]));
        assert_ne!(chain(&[("a", Some("1"))]), chain(&[("a", None)]));
    }
}
