//! One tablet: a database and its directory.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use rocksdb::{
    DB, DBRawIterator, DEFAULT_COLUMN_FAMILY_NAME, FlushOptions, ReadOptions, ReadTier, WriteOptions, properties,
};
use strata_storage::{Checkpoint, Engine, Snapshot, StorageError, StorageResult, WriteBatch, WriteOp};
use strata_types::ReplicaId;

use crate::checkpoint::RocksCheckpoint;
use crate::directory::{CHECKPOINT, Directory};
use crate::error;
use crate::options::Shared;
use crate::snapshot::RocksSnapshot;

/// Read ahead this much when all of a received tablet is read once.
const VERIFY_READAHEAD_BYTES: usize = 2 << 20;

/// An open database. Holders share it; it closes with the last one.
pub(crate) struct Database {
    // Fields drop in this order: the database closes before its directory is let go, and perhaps removed.
    db: DB,
    directory: Directory,
    replica: ReplicaId,
    write_options: WriteOptions,
    hasty_write_options: WriteOptions,
    flush_options: FlushOptions,
    read_options: ReadOptions,
    cached_read_options: ReadOptions,
    persisted_read_options: ReadOptions,
    /// Held while writing, and while a checkpoint is made so that it has exactly the writes before it (STORE-2).
    writes: Mutex<()>,
    /// Bytes written since the database was opened, and how many of them a flush of ours has covered.
    written_bytes: AtomicU64,
    flushed_bytes: AtomicU64,
}

impl Database {
    pub(crate) fn open(
        shared: &Shared,
        directory: Directory,
        replica: ReplicaId,
        create: bool,
    ) -> StorageResult<Database> {
        let db = shared.open(directory.path(), create)?;
        let mut write_options = WriteOptions::default();
        write_options.disable_wal(true);
        let mut hasty_write_options = WriteOptions::default();
        hasty_write_options.disable_wal(true);
        hasty_write_options.set_no_slowdown(true);
        let mut cached_read_options = ReadOptions::default();
        cached_read_options.set_read_tier(ReadTier::BlockCache);
        let mut persisted_read_options = ReadOptions::default();
        persisted_read_options.set_read_tier(ReadTier::Persisted);
        let mut flush_options = FlushOptions::default();
        flush_options.set_wait(true);
        Ok(Database {
            db,
            directory,
            replica,
            write_options,
            hasty_write_options,
            flush_options,
            read_options: ReadOptions::default(),
            cached_read_options,
            persisted_read_options,
            writes: Mutex::new(()),
            written_bytes: AtomicU64::new(0),
            flushed_bytes: AtomicU64::new(0),
        })
    }

    pub(crate) fn db(&self) -> &DB {
        &self.db
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

    /// Reads every block once, so that damage shows now and not when a client asks. Opening alone looks at names and
    /// lengths only.
    pub(crate) fn verify(&self) -> StorageResult<()> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        options.set_readahead_size(VERIFY_READAHEAD_BYTES);
        visit_range(self.db.raw_iterator_opt(options), b"", self.path(), &mut |_, _| true)
    }

    /// Fails with the error that stopped background work, if one did. After a full disk RocksDB looks for room every few
    /// seconds and resumes by itself, but only in a moment without background work: a caller that tried to flush again
    /// and again would keep it from ever resuming. So a flush asks here first, by writing nothing.
    fn check_accepts_writes(&self) -> StorageResult<()> {
        self.map(self.db.write_opt(rocksdb::WriteBatch::default(), &self.write_options))
    }

    fn get(&self, key: &[u8], options: &ReadOptions) -> StorageResult<Option<Bytes>> {
        let value = self.map(self.db.get_pinned_opt(key, options))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    /// Writes a batch, by somebody who holds `writes`.
    fn write(&self, batch: &WriteBatch, options: &WriteOptions) -> StorageResult<()> {
        // Room for the framing of each write, so that the buffer is allocated once.
        let mut writes = rocksdb::WriteBatch::with_capacity_bytes(batch.bytes() + 16 * batch.ops().len() + 16);
        for op in batch.ops() {
            match op {
                WriteOp::Put(key, value) => writes.put(key, value),
                WriteOp::Delete(key) => writes.delete(key),
            }
        }
        self.map(self.db.write_opt(writes, options))?;
        self.written_bytes.fetch_add(batch.bytes() as u64, Ordering::SeqCst);
        Ok(())
    }

    fn map<T>(&self, result: Result<T, rocksdb::Error>) -> StorageResult<T> {
        result.map_err(|error| error::of_rocksdb(&error, self.path()))
    }

    fn property(&self, name: &properties::PropName) -> u64 {
        // It fails only for unknown names.
        self.db.property_int_value(name).ok().flatten().unwrap_or(0)
    }

    fn flush(&self) -> StorageResult<()> {
        self.check_accepts_writes()?;
        // Read first: what is written meanwhile may be covered, but need not be.
        let written = self.written_bytes.load(Ordering::SeqCst);
        self.map(self.db.flush_opt(&self.flush_options))?;
        self.flushed_bytes.fetch_max(written, Ordering::SeqCst);
        Ok(())
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
        self.database.get(key, &self.database.read_options)
    }

    fn get_cached(&self, key: &[u8]) -> StorageResult<Option<Bytes>> {
        self.database.get(key, &self.database.cached_read_options)
    }

    fn multi_get(&self, keys: &[Bytes]) -> StorageResult<Vec<Option<Bytes>>> {
        let database = &self.database;
        let family = database.db.cf_handle(DEFAULT_COLUMN_FAMILY_NAME).ok_or_else(|| StorageError::Io {
            detail: format!("{}: opened without its column family", database.path().display()),
        })?;
        let values = database.db.batched_multi_get_cf_opt(family, keys, false, &database.read_options);
        let copy = |value: Result<Option<rocksdb::DBPinnableSlice<'_>>, rocksdb::Error>| {
            Ok(database.map(value)?.map(|value| Bytes::copy_from_slice(&value)))
        };
        values.into_iter().map(copy).collect()
    }

    fn get_persisted(&self, key: &[u8]) -> StorageResult<Option<Bytes>> {
        self.database.get(key, &self.database.persisted_read_options)
    }

    fn scan(&self, start: &[u8], end: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> StorageResult<()> {
        match range_options(start, end) {
            Some(options) => {
                visit_range(self.database.db.raw_iterator_opt(options), start, self.database.path(), visit)
            }
            None => Ok(()),
        }
    }

    fn snapshot(&self) -> Box<dyn Snapshot> {
        Box::new(RocksSnapshot::new(Arc::clone(&self.database)))
    }

    fn write(&self, batch: WriteBatch) -> StorageResult<()> {
        let _alone = self.database.writes.lock();
        self.database.write(&batch, &self.database.write_options)
    }

    fn write_now(&self, batch: WriteBatch) -> StorageResult<()> {
        let _alone = self.database.writes.try_lock().ok_or(StorageError::WouldBlock)?;
        self.database.write(&batch, &self.database.hasty_write_options)
    }

    fn flush(&self) -> StorageResult<()> {
        self.database.flush()
    }

    fn checkpoint(&self) -> StorageResult<Arc<dyn Checkpoint>> {
        let database = &self.database;
        let home = database.path().parent().expect("a tablet lies in its replica's directory");
        let directory = database.directory.directories().hold_new(home, CHECKPOINT)?;
        // Most of the flushing happens while writes go on; RocksDB flushes the rest below.
        database.flush()?;
        let _alone = database.writes.lock();
        let checkpoint = database.map(rocksdb::checkpoint::Checkpoint::new(&database.db))?;
        database.map(checkpoint.create_checkpoint(directory.path()))?;
        Ok(Arc::new(RocksCheckpoint::new(directory)))
    }

    fn unflushed_bytes(&self) -> u64 {
        let database = &self.database;
        // Flushed first: it never passes what was written before it was read.
        let flushed = database.flushed_bytes.load(Ordering::SeqCst);
        let unflushed = database.written_bytes.load(Ordering::SeqCst).saturating_sub(flushed);
        // RocksDB flushes by itself too; the memtables then are the smaller number. They are never quite empty.
        unflushed.min(database.property(properties::CUR_SIZE_ALL_MEM_TABLES))
    }

    fn disk_bytes(&self) -> u64 {
        self.database.property(properties::TOTAL_SST_FILES_SIZE)
    }
}

/// Read options that end at `end`, or `None` if the range is empty.
pub(crate) fn range_options(start: &[u8], end: &[u8]) -> Option<ReadOptions> {
    let mut options = ReadOptions::default();
    match end {
        [] => {}
        end if end <= start => return None,
        end => options.set_iterate_upper_bound(end),
    }
    Some(options)
}

/// Visits items from `start` to the end of the iterator, until `visit` returns `false`.
pub(crate) fn visit_range(
    mut items: DBRawIterator<'_>,
    start: &[u8],
    directory: &Path,
    visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
) -> StorageResult<()> {
    items.seek(start);
    while let Some((key, value)) = items.item() {
        if !visit(key, value) {
            return Ok(());
        }
        items.next();
    }
    items.status().map_err(|error| error::of_rocksdb(&error, directory))
}
