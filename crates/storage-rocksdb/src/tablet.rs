//! A tablet as the rest of the node sees it.

use std::sync::Arc;

use bytes::Bytes;
use strata_storage::{Checkpoint, Engine, Snapshot, StorageResult, WriteBatch, scan_over};

use crate::database::Database;
use crate::rocks::visit_range;
use crate::snapshot::RocksSnapshot;
use crate::tiers::{Patience, Tiers};

/// A handle of a tablet.
pub(crate) struct RocksTablet {
    database: Arc<Database>,
}

impl RocksTablet {
    pub(crate) fn new(database: Arc<Database>) -> RocksTablet {
        RocksTablet { database }
    }

    pub(crate) fn database(&self) -> &Arc<Database> {
        &self.database
    }

    fn tiers(&self) -> &Tiers {
        self.database.tiers()
    }
}

impl Engine for RocksTablet {
    fn get(&self, key: &[u8]) -> StorageResult<Option<Bytes>> {
        self.tiers().get(key, |rocks| rocks.get(key))
    }

    fn get_cached(&self, key: &[u8]) -> StorageResult<Option<Bytes>> {
        self.tiers().get(key, |rocks| rocks.get_cached(key))
    }

    fn multi_get(&self, keys: &[Bytes]) -> StorageResult<Vec<Option<Bytes>>> {
        self.tiers().multi_get(keys)
    }

    fn get_persisted(&self, key: &[u8]) -> StorageResult<Option<Bytes>> {
        // All that RocksDB has lies in files.
        self.tiers().rocks().get(key)
    }

    fn scan(&self, start: &[u8], end: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> StorageResult<()> {
        let (rows, items) = self.tiers().range(start, end);
        let Some(items) = items else { return Ok(()) };
        let changes = rows.within(start, end).map(|item| (item.key(), item.value()));
        scan_over(changes, |shown| visit_range(items, start, self.database.path(), shown), visit)
    }

    fn snapshot(&self) -> Box<dyn Snapshot> {
        Box::new(RocksSnapshot::new(Arc::clone(&self.database)))
    }

    fn write(&self, batch: WriteBatch) -> StorageResult<()> {
        self.tiers().write(&batch, Patience::Waits)
    }

    fn write_now(&self, batch: WriteBatch) -> StorageResult<()> {
        self.tiers().write(&batch, Patience::Hurries)
    }

    fn flush(&self) -> StorageResult<()> {
        self.tiers().flush()
    }

    fn checkpoint(&self) -> StorageResult<Arc<dyn Checkpoint>> {
        self.database.checkpoint()
    }

    fn unflushed_bytes(&self) -> u64 {
        self.tiers().unflushed_bytes()
    }

    fn disk_bytes(&self) -> u64 {
        self.tiers().rocks().disk_bytes()
    }
}
