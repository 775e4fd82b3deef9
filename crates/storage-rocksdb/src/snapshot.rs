//! An unchanging view of a tablet, which owns what it looks at.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use strata_storage::{Snapshot, StorageResult, scan_over};

use crate::database::Database;
use crate::error;
use crate::part::{Change, Part, rows_of};
use crate::rocks::{range_options, visit_range};

/// A RocksDB snapshot, what RocksDB did not have then, and the database that it is of.
pub(crate) struct RocksSnapshot {
    owed: Vec<Arc<Part>>,
    /// The same in order: made by who looks first, because who makes a snapshot may have no time.
    changes: OnceLock<Vec<Change>>,
    // Fields drop in this order: the snapshot is released before the database may close.
    snapshot: rocksdb::Snapshot<'static>,
    database: Arc<Database>,
}

impl RocksSnapshot {
    #[allow(unsafe_code, reason = "RocksDB's snapshot borrows the database; the trait's owns it")]
    pub(crate) fn new(database: Arc<Database>) -> RocksSnapshot {
        let (owed, snapshot) = database.snapshot();
        // SAFETY: the reference inside points into the allocation of the database's `Arc<Rocks>`. That is never replaced and
        // lives as long as `self.database`, and that field is dropped after this one. The snapshot is never handed out.
        let snapshot = unsafe { std::mem::transmute::<rocksdb::Snapshot<'_>, rocksdb::Snapshot<'static>>(snapshot) };
        RocksSnapshot { owed, changes: OnceLock::new(), snapshot, database }
    }

    fn changes(&self) -> &[Change] {
        self.changes.get_or_init(|| rows_of(&self.owed).into_iter().cloned().collect())
    }
}

impl Snapshot for RocksSnapshot {
    fn get(&self, key: &[u8]) -> StorageResult<Option<Bytes>> {
        let changes = self.changes();
        if let Ok(at) = changes.binary_search_by(|(changed, _)| changed.as_ref().cmp(key)) {
            return Ok(changes[at].1.clone());
        }
        let value = self.snapshot.get_pinned(key);
        let value = value.map_err(|error| error::of_rocksdb(&error, self.database.path()))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(&self, start: &[u8], end: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> StorageResult<()> {
        let Some(options) = range_options(start, end) else { return Ok(()) };
        let changes = self.changes();
        let from = changes.partition_point(|(key, _)| key.as_ref() < start);
        let changes = changes[from..].iter().map(|(key, value)| (key.as_ref(), value.as_ref()));
        let changes = changes.take_while(|(key, _)| end.is_empty() || *key < end);
        let items = self.snapshot.raw_iterator_opt(options);
        scan_over(changes, |shown| visit_range(items, start, self.database.path(), shown), visit)
    }
}
