//! An unchanging view of a tablet, which owns what it looks at.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use strata_storage::{Snapshot, StorageResult, scan_over};

use crate::database::Database;
use crate::error;
use crate::rocks::{range_options, visit_range};
use crate::run::{Owed, Rows};

/// A RocksDB snapshot, what RocksDB did not have then, and the database that it is of.
pub(crate) struct RocksSnapshot {
    owed: Owed,
    /// The same in order: made by who looks first, because who makes a snapshot may have no time.
    rows: OnceLock<Rows>,
    // Fields drop in this order: the snapshot is released before the database may close.
    snapshot: rocksdb::Snapshot<'static>,
    database: Arc<Database>,
}

impl RocksSnapshot {
    #[allow(unsafe_code, reason = "RocksDB's snapshot borrows the database; the trait's owns it")]
    pub(crate) fn new(database: Arc<Database>) -> RocksSnapshot {
        let (owed, snapshot) = database.tiers().snapshot();
        // SAFETY: the reference inside points into the allocation of the database's `Arc<Tiers>`. It is never replaced and
        // lives as long as `self.database`, and that field is dropped after this one. The snapshot is never handed out.
        let snapshot = unsafe { std::mem::transmute::<rocksdb::Snapshot<'_>, rocksdb::Snapshot<'static>>(snapshot) };
        RocksSnapshot { owed, rows: OnceLock::new(), snapshot, database }
    }

    fn rows(&self) -> &Rows {
        self.rows.get_or_init(|| self.owed.in_order())
    }
}

impl Snapshot for RocksSnapshot {
    fn get(&self, key: &[u8]) -> StorageResult<Option<Bytes>> {
        if let Some(item) = self.rows().get(key) {
            return Ok(item.to_value());
        }
        let value = self.snapshot.get_pinned(key);
        let value = value.map_err(|error| error::of_rocksdb(&error, self.database.path()))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(&self, start: &[u8], end: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> StorageResult<()> {
        let Some(options) = range_options(start, end) else { return Ok(()) };
        let changes = self.rows().within(start, end).map(|item| (item.key(), item.value()));
        let items = self.snapshot.raw_iterator_opt(options);
        scan_over(changes, |shown| visit_range(items, start, self.database.path(), shown), visit)
    }
}
