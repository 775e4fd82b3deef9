//! RocksDB as a tablet uses it: one open database, without a log of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use rocksdb::{
    DB, DBRawIterator, DEFAULT_COLUMN_FAMILY_NAME, FlushOptions, ReadOptions, ReadTier, WriteOptions, properties,
};
use strata_storage::{StorageError, StorageResult};

use crate::error;
use crate::options::Shared;
use crate::part::{Part, rows_of};

/// Read ahead this much when all of a received tablet is read once.
const VERIFY_READAHEAD_BYTES: usize = 2 << 20;

/// An open RocksDB.
pub(crate) struct Rocks {
    db: DB,
    path: PathBuf,
    write_options: WriteOptions,
    hasty_write_options: WriteOptions,
    flush_options: FlushOptions,
    read_options: ReadOptions,
    cached_read_options: ReadOptions,
    persisted_read_options: ReadOptions,
    /// Bytes written since it was opened, and how many of them a flush of ours has covered.
    written_bytes: AtomicU64,
    flushed_bytes: AtomicU64,
}

/// Whether a write may be held back until RocksDB has room for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// It waits.
    Waits,
    /// It fails with [`StorageError::WouldBlock`] instead.
    Hurries,
}

impl Rocks {
    pub(crate) fn open(shared: &Shared, path: &Path, create: bool) -> StorageResult<Rocks> {
        let db = shared.open(path, create)?;
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
        Ok(Rocks {
            db,
            path: path.to_path_buf(),
            write_options,
            hasty_write_options,
            flush_options,
            read_options: ReadOptions::default(),
            cached_read_options,
            persisted_read_options,
            written_bytes: AtomicU64::new(0),
            flushed_bytes: AtomicU64::new(0),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads every block once, so that damage shows now and not when a client asks. Opening alone looks at names and
    /// lengths only.
    pub(crate) fn verify(&self) -> StorageResult<()> {
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        options.set_readahead_size(VERIFY_READAHEAD_BYTES);
        visit_range(self.db.raw_iterator_opt(options), b"", self.path(), &mut |_, _| true)
    }

    pub(crate) fn get(&self, key: &[u8]) -> StorageResult<Option<Bytes>> {
        self.read(key, &self.read_options)
    }

    /// Fails with [`StorageError::WouldBlock`] where the disk would have to be read.
    pub(crate) fn get_cached(&self, key: &[u8]) -> StorageResult<Option<Bytes>> {
        self.read(key, &self.cached_read_options)
    }

    pub(crate) fn get_persisted(&self, key: &[u8]) -> StorageResult<Option<Bytes>> {
        self.read(key, &self.persisted_read_options)
    }

    fn read(&self, key: &[u8], options: &ReadOptions) -> StorageResult<Option<Bytes>> {
        let value = self.map(self.db.get_pinned_opt(key, options))?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    pub(crate) fn multi_get(&self, keys: &[&Bytes]) -> StorageResult<Vec<Option<Bytes>>> {
        let family = self.db.cf_handle(DEFAULT_COLUMN_FAMILY_NAME).ok_or_else(|| StorageError::Io {
            detail: format!("{}: opened without its column family", self.path().display()),
        })?;
        let values = self.db.batched_multi_get_cf_opt(family, keys.iter().copied(), false, &self.read_options);
        let copy = |value: Result<Option<rocksdb::DBPinnableSlice<'_>>, rocksdb::Error>| {
            Ok(self.map(value)?.map(|value| Bytes::copy_from_slice(&value)))
        };
        values.into_iter().map(copy).collect()
    }

    /// An iterator over a range of one state, or `None` if the range is empty.
    pub(crate) fn iterator(&self, start: &[u8], end: &[u8]) -> Option<DBRawIterator<'_>> {
        Some(self.db.raw_iterator_opt(range_options(start, end)?))
    }

    pub(crate) fn snapshot(&self) -> rocksdb::Snapshot<'_> {
        self.db.snapshot()
    }

    /// Writes all rows of some parts, the newest first, as one batch.
    pub(crate) fn write_parts(&self, parts: &[Arc<Part>], patience: Patience) -> StorageResult<()> {
        let rows = rows_of(parts);
        let bytes = parts.iter().map(|part| part.bytes).sum();
        self.write(rows.iter().map(|(key, value)| (key.as_ref(), value.as_ref())), bytes, patience)
    }

    /// Writes some rows, which take so many bytes, as one batch; those without a value are removed.
    pub(crate) fn write<'a>(
        &self,
        rows: impl Iterator<Item = (&'a [u8], Option<&'a Bytes>)>,
        bytes: usize,
        patience: Patience,
    ) -> StorageResult<()> {
        // More than enough for the framing of each row, so that the buffer is allocated once.
        let mut batch = rocksdb::WriteBatch::with_capacity_bytes(bytes);
        for (key, value) in rows {
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            }
        }
        let options = match patience {
            Patience::Waits => &self.write_options,
            Patience::Hurries => &self.hasty_write_options,
        };
        self.map(self.db.write_opt(batch, options))?;
        self.written_bytes.fetch_add(bytes as u64, Ordering::SeqCst);
        Ok(())
    }

    /// Fails with the error that stopped background work, if one did. After a full disk RocksDB looks for room every few
    /// seconds and resumes by itself, but only in a moment without background work: a caller that tried to flush again
    /// and again would keep it from ever resuming. So who wants to flush asks here first, by writing nothing.
    pub(crate) fn check_accepts_writes(&self) -> StorageResult<()> {
        self.map(self.db.write_opt(rocksdb::WriteBatch::default(), &self.write_options))
    }

    pub(crate) fn flush(&self) -> StorageResult<()> {
        // Read first: what is written meanwhile may be covered, but need not be.
        let written = self.written_bytes.load(Ordering::SeqCst);
        self.map(self.db.flush_opt(&self.flush_options))?;
        self.flushed_bytes.fetch_max(written, Ordering::SeqCst);
        Ok(())
    }

    /// Makes a directory of links to all files; what is in memory is flushed first.
    pub(crate) fn checkpoint(&self, directory: &Path) -> StorageResult<()> {
        let checkpoint = self.map(rocksdb::checkpoint::Checkpoint::new(&self.db))?;
        self.map(checkpoint.create_checkpoint(directory))
    }

    pub(crate) fn unflushed_bytes(&self) -> u64 {
        // Flushed first: it never passes what was written before it was read.
        let flushed = self.flushed_bytes.load(Ordering::SeqCst);
        let unflushed = self.written_bytes.load(Ordering::SeqCst).saturating_sub(flushed);
        // RocksDB flushes by itself too; the memtables then are the smaller number. They are never quite empty.
        unflushed.min(self.property(properties::CUR_SIZE_ALL_MEM_TABLES))
    }

    pub(crate) fn disk_bytes(&self) -> u64 {
        self.property(properties::TOTAL_SST_FILES_SIZE)
    }

    fn property(&self, name: &properties::PropName) -> u64 {
        // It fails only for unknown names.
        self.db.property_int_value(name).ok().flatten().unwrap_or(0)
    }

    fn map<T>(&self, result: Result<T, rocksdb::Error>) -> StorageResult<T> {
        result.map_err(|error| error::of_rocksdb(&error, self.path()))
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
