//! The database of a tablet: RocksDB, the recent rows before it, and their directory.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use rocksdb::DBRawIterator;
use strata_storage::{Checkpoint, StorageError, StorageResult, WriteBatch, WriteOp};
use strata_types::ReplicaId;

use crate::budget::Budget;
use crate::checkpoint::RocksCheckpoint;
use crate::directory::{CHECKPOINT, Directory};
use crate::options::Shared;
use crate::part::{Change, Part, in_order};
use crate::recent::{Recent, size_of};
use crate::rocks::{Patience, Rocks};
use crate::spiller::{Spill, Spiller};

/// An open database. Holders share it; it closes with the last one.
pub(crate) struct Database {
    // Fields drop in this order: RocksDB closes before its directory is let go, and perhaps removed.
    rocks: Arc<Rocks>,
    /// Rows that RocksDB may not have yet: they count before what it says.
    recent: Arc<RwLock<Recent>>,
    budget: Arc<Budget>,
    spiller: Arc<Spiller>,
    directory: Directory,
    replica: ReplicaId,
    /// Held while writing, while a spill begins or is waited for, and while a checkpoint is made (STORE-2).
    writes: Mutex<Writer>,
}

/// What who writes knows.
#[derive(Default)]
struct Writer {
    /// The bundle that is leaving, until somebody needs to know what became of it.
    under_way: Option<Spill>,
}

impl Database {
    pub(crate) fn open(
        shared: &Shared,
        directory: Directory,
        replica: ReplicaId,
        create: bool,
    ) -> StorageResult<Database> {
        let rocks = Arc::new(Rocks::open(shared, directory.path(), create)?);
        let (budget, spiller) = (shared.budget(), shared.spiller());
        Ok(Database {
            rocks,
            recent: budget.tablet(replica),
            budget,
            spiller,
            directory,
            replica,
            writes: Mutex::default(),
        })
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
    pub(crate) fn get(
        &self,
        key: &[u8],
        below: impl FnOnce(&Rocks) -> StorageResult<Option<Bytes>>,
    ) -> StorageResult<Option<Bytes>> {
        if let Some(value) = self.recent.read().get(key) {
            return Ok(value);
        }
        below(&self.rocks)
    }

    pub(crate) fn multi_get(&self, keys: &[Bytes]) -> StorageResult<Vec<Option<Bytes>>> {
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

    /// What of a range RocksDB does not have, and RocksDB as it is at that moment: together one state.
    pub(crate) fn range(&self, start: &[u8], end: &[u8]) -> (Vec<Change>, Option<DBRawIterator<'_>>) {
        let recent = self.recent.read();
        let (changes, items) = (recent.owed_within(start, end), self.rocks.iterator(start, end));
        drop(recent);
        (in_order(changes), items)
    }

    /// The same of all, to be kept.
    pub(crate) fn snapshot(&self) -> (Vec<Arc<Part>>, rocksdb::Snapshot<'_>) {
        let mut recent = self.recent.write();
        (recent.share(), self.rocks.snapshot())
    }

    /// Writes a batch. Who hurries never gives RocksDB anything itself.
    pub(crate) fn write(&self, batch: &WriteBatch, patience: Patience) -> StorageResult<()> {
        let mut writer = match patience {
            Patience::Waits => self.writes.lock(),
            Patience::Hurries => self.writes.try_lock().ok_or(StorageError::WouldBlock)?,
        };
        if self.take(batch) {
            return Ok(());
        }
        if self.budget.may_take(batch) && self.recent.read().is_bundle_full(batch) {
            self.begin_spill(&mut writer, patience)?;
            if self.take(batch) {
                return Ok(());
            }
        }
        match patience {
            Patience::Waits => self.write_through(&mut writer, batch),
            Patience::Hurries => Err(StorageError::WouldBlock),
        }
    }

    /// Gives RocksDB all that it does not have, and the batch too if there is no room for it then.
    fn write_through(&self, writer: &mut Writer, batch: &WriteBatch) -> StorageResult<()> {
        self.spill(writer, Patience::Waits)?;
        if self.take(batch) {
            return Ok(());
        }
        while self.budget.may_take(batch)
            && let Some(forgotten) = self.budget.make_room()
        {
            self.spiller.free(forgotten);
            if self.take(batch) {
                return Ok(());
            }
        }
        let rows = batch.ops().iter().map(|op| match op {
            WriteOp::Put(key, value) => (key.as_ref(), Some(value)),
            WriteOp::Delete(key) => (key.as_ref(), None),
        });
        // Forgotten first: RocksDB has them, and will have newer ones.
        let forgotten = self.recent.write().forget();
        if let Some(forgotten) = forgotten {
            self.spiller.free(forgotten);
        }
        self.rocks.write(rows, size_of(batch), Patience::Waits)
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

    /// Sends the rows of a bundle on their way to RocksDB, so that there is room for those of the next one.
    fn begin_spill(&self, writer: &mut Writer, patience: Patience) -> StorageResult<()> {
        self.end_spill(writer, patience)?;
        let leaving = self.recent.write().leave();
        writer.under_way = leaving.map(|bundle| self.spiller.spill(&self.rocks, bundle));
        Ok(())
    }

    /// Waits for the bundle that is leaving, if there is one. RocksDB has it then, or refused it.
    fn end_spill(&self, writer: &mut Writer, patience: Patience) -> StorageResult<()> {
        let Some(spill) = &writer.under_way else { return Ok(()) };
        let has_it = spill.outcome(patience).ok_or(StorageError::WouldBlock)?;
        writer.under_way = None;
        if has_it {
            let settled = self.recent.write().settle();
            self.spiller.free(settled);
        }
        Ok(())
    }

    /// Gives RocksDB the recent rows that it does not have, as one batch (ROCKS-3).
    fn spill(&self, writer: &mut Writer, patience: Patience) -> StorageResult<()> {
        self.end_spill(writer, patience)?;
        let owed = self.recent.write().share();
        if owed.is_empty() {
            return Ok(());
        }
        self.rocks.write_parts(&owed, patience)?;
        let settled = self.recent.write().settle_all();
        self.spiller.free(settled);
        Ok(())
    }

    pub(crate) fn flush(&self) -> StorageResult<()> {
        self.rocks.check_accepts_writes()?;
        {
            let mut writer = self.writes.lock();
            self.spill(&mut writer, Patience::Waits)?;
        }
        self.rocks.flush()
    }

    pub(crate) fn checkpoint(&self) -> StorageResult<Arc<dyn Checkpoint>> {
        let home = self.path().parent().expect("a tablet lies in its replica's directory");
        let directory = self.directory.directories().hold_new(home, CHECKPOINT)?;
        // All that was written before is flushed while writes go on; RocksDB flushes below what was spilled since.
        self.flush()?;
        let _alone = self.writes.lock();
        self.rocks.checkpoint(directory.path())?;
        Ok(Arc::new(RocksCheckpoint::new(directory)))
    }

    pub(crate) fn unflushed_bytes(&self) -> u64 {
        // Recent rows first: what is spilled between the two looks counts twice, and not never.
        let recent = self.recent.read().written_bytes();
        recent + self.rocks.unflushed_bytes()
    }
}

impl Drop for Database {
    /// RocksDB makes durable what it has when it closes, so that a planned restart replays nothing. It closes here: nothing
    /// is on its way to it any more.
    fn drop(&mut self) {
        let mut writer = std::mem::take(self.writes.get_mut());
        let ended = self.end_spill(&mut writer, Patience::Waits);
        if !self.directory.is_doomed()
            && let Err(error) = ended.and_then(|()| self.spill(&mut writer, Patience::Hurries))
        {
            tracing::warn!(path = %self.path().display(), %error, "recent rows are not kept: the log will be replayed");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::any::Any;

    use strata_storage::{Engine, Tablets};
    use tempfile::TempDir;

    use super::*;
    use crate::tablet::RocksTablet;
    use crate::{RocksOptions, RocksTablets};

    fn batch(rows: std::ops::Range<u32>, value: u32) -> WriteBatch {
        let mut batch = WriteBatch::new();
        let bytes = |number: u32| Bytes::from(number.to_be_bytes().to_vec());
        rows.for_each(|row| batch.put(bytes(row), bytes(value)));
        batch
    }

    fn tablets(directory: &TempDir, recent_bytes: usize) -> RocksTablets {
        let options = RocksOptions { recent_bytes, ..RocksOptions::default() };
        RocksTablets::new(directory.path().join("shards"), options).unwrap()
    }

    fn open(tablets: &RocksTablets) -> RocksTablet {
        let tablet = tablets.open(ReplicaId(1)).unwrap();
        let tablet: &dyn Any = &*tablet;
        RocksTablet::new(Arc::clone(tablet.downcast_ref::<RocksTablet>().unwrap().database()))
    }

    #[test]
    fn a_tablet_closes_when_rocksdb_has_what_is_on_its_way() {
        let directory = tempfile::tempdir().unwrap();
        let tablets = tablets(&directory, 64 << 20);
        let tablet = open(&tablets);
        tablet.write(batch(0..30_000, 1)).unwrap();
        let database = tablet.database();
        database.begin_spill(&mut database.writes.lock(), Patience::Waits).unwrap();
        drop(tablet);
        // It would find the database locked.
        let tablet = open(&tablets);
        assert_eq!([0, 29_999].map(|row: u32| tablet.get(&row.to_be_bytes()).unwrap().unwrap()[3]), [1, 1]);
    }

    /// What a full disk or a held back write does to a bundle, which nobody waits for.
    #[test]
    fn a_round_that_rocksdb_refused_goes_with_the_next_one() {
        let directory = tempfile::tempdir().unwrap();
        let tablets = tablets(&directory, 40_000);
        let tablet = open(&tablets);
        let database = tablet.database();

        tablet.write(batch(0..40, 1)).unwrap();
        assert!(database.recent.write().leave().is_some());
        database.writes.lock().under_way = Some(Spill::refused());
        tablet.write(batch(20..60, 2)).unwrap();
        assert!(database.recent.write().leave().is_none(), "the refused one comes first");
        for round in 0..20 {
            let first = 30 + round * 20;
            tablet.write(batch(first..first + 40, 3)).unwrap();
            let value = |row: u32| 1 + u32::from(row >= 20) + u32::from(row >= 30);
            let mut seen = Vec::new();
            let mut take = |key: &[u8], value: &[u8]| {
                seen.push([key, value].map(|it| u32::from_be_bytes(it.try_into().unwrap())));
                true
            };
            tablet.scan(b"", b"", &mut take).unwrap();
            assert_eq!(seen, (0..first + 40).map(|row| [row, value(row)]).collect::<Vec<_>>());
        }
        tablet.flush().unwrap();
        let persisted = |row: u32| tablet.get_persisted(&row.to_be_bytes()).unwrap().unwrap();
        assert_eq!([10, 25, 35].map(|row| persisted(row)[3]), [1, 2, 3]);
    }
}
