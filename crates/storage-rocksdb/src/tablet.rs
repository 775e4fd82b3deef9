//! One tablet: RocksDB, the recent rows before it, and their directory.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use strata_storage::{Checkpoint, Engine, Snapshot, StorageError, StorageResult, WriteBatch, WriteOp, scan_over};
use strata_types::ReplicaId;

use crate::checkpoint::RocksCheckpoint;
use crate::directory::{CHECKPOINT, Directory};
use crate::options::Shared;
use crate::recent::{Budget, Changes, Recent, in_order, size_of};
use crate::rocks::{Patience, Rocks, visit_range};
use crate::snapshot::RocksSnapshot;

/// An open database. Holders share it; it closes with the last one.
pub(crate) struct Database {
    // Fields drop in this order: RocksDB closes before its directory is let go, and perhaps removed.
    rocks: Rocks,
    /// Rows that RocksDB may not have yet: they count before what it says.
    recent: Arc<RwLock<Recent>>,
    budget: Arc<Budget>,
    directory: Directory,
    replica: ReplicaId,
    /// Held while writing, while recent rows are spilled, and while a checkpoint is made (STORE-2).
    writes: Mutex<()>,
}

impl Database {
    pub(crate) fn open(
        shared: &Shared,
        directory: Directory,
        replica: ReplicaId,
        create: bool,
    ) -> StorageResult<Database> {
        let rocks = Rocks::open(shared, directory.path(), create)?;
        let budget = shared.budget();
        Ok(Database { rocks, recent: budget.tablet(), budget, directory, replica, writes: Mutex::new(()) })
    }

    pub(crate) fn rocks(&self) -> &Rocks {
        &self.rocks
    }

    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    pub(crate) fn replica(&self) -> ReplicaId {
        self.replica
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// What is written and spilled between the two looks is found, or not: the caller cannot tell.
    fn get(
        &self,
        key: &[u8],
        below: impl FnOnce(&Rocks) -> StorageResult<Option<Bytes>>,
    ) -> StorageResult<Option<Bytes>> {
        if let Some(value) = self.recent.read().get(key) {
            return Ok(value);
        }
        below(&self.rocks)
    }

    fn multi_get(&self, keys: &[Bytes]) -> StorageResult<Vec<Option<Bytes>>> {
        let mut values: Vec<Option<Option<Bytes>>> = {
            let recent = self.recent.read();
            keys.iter().map(|key| recent.get(key)).collect()
        };
        let missing: Vec<&Bytes> = values.iter().zip(keys).filter(|(it, _)| it.is_none()).map(|(_, key)| key).collect();
        if !missing.is_empty() {
            let found = self.rocks.multi_get(&missing)?;
            for (value, found) in values.iter_mut().filter(|value| value.is_none()).zip(found) {
                *value = Some(found);
            }
        }
        Ok(values.into_iter().map(Option::flatten).collect())
    }

    /// What of a range RocksDB does not have, and RocksDB as it is at that moment, as `take` sees it: together one state.
    pub(crate) fn state_of<'a, T>(
        &'a self,
        start: &[u8],
        end: &[u8],
        take: impl FnOnce(&'a Rocks) -> T,
    ) -> (Changes, T) {
        let recent = self.recent.read();
        let (changes, state) = (recent.owed(start, end), take(&self.rocks));
        drop(recent);
        (in_order(changes), state)
    }

    /// Writes a batch, by somebody who holds `writes`.
    fn write(&self, batch: &WriteBatch, patience: Patience) -> StorageResult<()> {
        if self.take(batch) {
            return Ok(());
        }
        self.spill(patience)?;
        if self.take(batch) {
            return Ok(());
        }
        while self.budget.may_take(batch) && self.budget.make_room() {
            if self.take(batch) {
                return Ok(());
            }
        }
        let rows = batch.ops().iter().map(|op| match op {
            WriteOp::Put(key, value) => (key.as_ref(), Some(value)),
            WriteOp::Delete(key) => (key.as_ref(), None),
        });
        // Forgotten first: RocksDB has them, and will have newer ones.
        let forgotten = self.recent.write().clear();
        drop(forgotten);
        self.rocks.write(rows, size_of(batch), patience)
    }

    /// Adds a batch to the recent rows, if there is room.
    fn take(&self, batch: &WriteBatch) -> bool {
        let mut recent = self.recent.write();
        let has_room = recent.has_room(batch);
        if has_room {
            recent.put(batch);
        }
        has_room
    }

    /// Gives RocksDB the recent rows that it does not have, as one batch (ROCKS-3), by somebody who holds `writes`.
    fn spill(&self, patience: Patience) -> StorageResult<()> {
        let recent = self.recent.read();
        let (changes, bytes) = (recent.owed(b"", b""), recent.owed_bytes());
        drop(recent);
        if changes.is_empty() {
            return Ok(());
        }
        let changes = in_order(changes);
        let rows = changes.iter().map(|(key, value)| (key.as_ref(), value.as_ref()));
        self.rocks.write(rows, bytes, patience)?;
        self.recent.write().settle();
        Ok(())
    }

    fn flush(&self) -> StorageResult<()> {
        self.rocks.check_accepts_writes()?;
        {
            let _alone = self.writes.lock();
            self.spill(Patience::Waits)?;
        }
        self.rocks.flush()
    }
}

impl Drop for Database {
    /// RocksDB makes durable what it has when it closes, so that a planned restart replays nothing.
    fn drop(&mut self) {
        if !self.directory.is_doomed()
            && let Err(error) = self.spill(Patience::Hurries)
        {
            tracing::warn!(path = %self.path().display(), %error, "recent rows are not kept: the log will be replayed");
        }
    }
}

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
}

impl Engine for RocksTablet {
    fn get(&self, key: &[u8]) -> StorageResult<Option<Bytes>> {
        self.database.get(key, |rocks| rocks.get(key))
    }

    fn get_cached(&self, key: &[u8]) -> StorageResult<Option<Bytes>> {
        self.database.get(key, |rocks| rocks.get_cached(key))
    }

    fn multi_get(&self, keys: &[Bytes]) -> StorageResult<Vec<Option<Bytes>>> {
        self.database.multi_get(keys)
    }

    fn get_persisted(&self, key: &[u8]) -> StorageResult<Option<Bytes>> {
        self.database.rocks.get_persisted(key)
    }

    fn scan(&self, start: &[u8], end: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> StorageResult<()> {
        let (changes, items) = self.database.state_of(start, end, |rocks| rocks.iterator(start, end));
        let Some(items) = items else { return Ok(()) };
        let changes = changes.iter().map(|(key, value)| (key.as_ref(), value.as_ref()));
        scan_over(changes, |shown| visit_range(items, start, self.database.path(), shown), visit)
    }

    fn snapshot(&self) -> Box<dyn Snapshot> {
        Box::new(RocksSnapshot::new(Arc::clone(&self.database)))
    }

    fn write(&self, batch: WriteBatch) -> StorageResult<()> {
        let _alone = self.database.writes.lock();
        self.database.write(&batch, Patience::Waits)
    }

    fn write_now(&self, batch: WriteBatch) -> StorageResult<()> {
        let _alone = self.database.writes.try_lock().ok_or(StorageError::WouldBlock)?;
        self.database.write(&batch, Patience::Hurries)
    }

    fn flush(&self) -> StorageResult<()> {
        self.database.flush()
    }

    fn checkpoint(&self) -> StorageResult<Arc<dyn Checkpoint>> {
        let database = &self.database;
        let home = database.path().parent().expect("a tablet lies in its replica's directory");
        let directory = database.directory.directories().hold_new(home, CHECKPOINT)?;
        // All that was written before is flushed while writes go on; RocksDB flushes below what was spilled since.
        database.flush()?;
        let _alone = database.writes.lock();
        database.rocks.checkpoint(directory.path())?;
        Ok(Arc::new(RocksCheckpoint::new(directory)))
    }

    fn unflushed_bytes(&self) -> u64 {
        self.database.rocks.unflushed_bytes() + self.database.recent.read().written_bytes()
    }

    fn disk_bytes(&self) -> u64 {
        self.database.rocks.disk_bytes()
    }
}
