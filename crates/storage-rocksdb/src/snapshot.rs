//! An unchanging view of a tablet, which owns what it looks at.

use std::sync::Arc;

use bytes::Bytes;
use strata_storage::{Snapshot, StorageResult};

use crate::error;
use crate::tablet::{Database, range_options, visit_range};

/// A RocksDB snapshot and the database that it is of.
pub(crate) struct RocksSnapshot {
    // Fields drop in this order: the snapshot is released before the database may close.
    snapshot: rocksdb::Snapshot<'static>,
    database: Arc<Database>,
}

impl RocksSnapshot {
    #[allow(unsafe_code, reason = "RocksDB's snapshot borrows the database; the trait's owns it")]
    pub(crate) fn new(database: Arc<Database>) -> RocksSnapshot {
        let snapshot = database.db().snapshot();
        // SAFETY: the reference inside points into the `Arc`'s allocation, which does not move and lives at least as
        // long as `self.database`, and that field is dropped after this one. The snapshot is never handed out.
        let snapshot = unsafe { std::mem::transmute::<rocksdb::Snapshot<'_>, rocksdb::Snapshot<'static>>(snapshot) };
        RocksSnapshot { snapshot, database }
    }
}

impl Snapshot for RocksSnapshot {
    fn get(&self, key: &[u8]) -> StorageResult<Option<Bytes>> {
        let value = self.snapshot.get_pinned(key);
        let value = value.map_err(|error| error::of_rocksdb(&error, self.database.path()))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn scan(&self, start: &[u8], end: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> StorageResult<()> {
        match range_options(start, end) {
            Some(options) => visit_range(self.snapshot.raw_iterator_opt(options), start, self.database.path(), visit),
            None => Ok(()),
        }
    }
}
