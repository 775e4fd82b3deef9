//! RocksDB as a tablet uses it: one open database, which gets its rows as files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use rocksdb::{
    DB, DBRawIterator, DEFAULT_COLUMN_FAMILY_NAME, ErrorKind, IngestExternalFileOptions, Options, ReadOptions,
    ReadTier, SstFileWriter, WriteOptions, properties,
};
use strata_storage::{StorageError, StorageResult};

use crate::item::Item;
use crate::options::Shared;
use crate::{error, files};

/// Read ahead this much when all of a received tablet is read once.
const VERIFY_READAHEAD_BYTES: usize = 2 << 20;

/// What a file is called until it is part of the database. RocksDB does not know the name, and leaves it alone.
pub(crate) const NEW_FILE: &str = "rows.new";

/// A read may have to look into each file that was added and not merged yet. RocksDB begins to merge at four.
pub(crate) const NEW_FILES_MAX: u64 = 20;

/// An open RocksDB.
pub(crate) struct Rocks {
    db: DB,
    path: PathBuf,
    /// Whether there were as many files as there may be when somebody looked last.
    is_held_up: AtomicBool,
    file_options: Options,
    write_options: WriteOptions,
    read_options: ReadOptions,
    cached_read_options: ReadOptions,
}

impl Rocks {
    pub(crate) fn open(shared: &Shared, path: &Path, create: bool) -> StorageResult<Rocks> {
        let db = match shared.open(path, create) {
            Err(StorageError::Corrupt { file, .. }) if is_lost_name(path, Path::new(&file)) => {
                fs::hard_link(path.join(NEW_FILE), &file).map_err(|error| error::of_file(&error, path))?;
                files::sync_directory(path)?;
                shared.open(path, create)?
            }
            opened => opened?,
        };
        files::remove_file(&path.join(NEW_FILE))?;
        let mut write_options = WriteOptions::default();
        write_options.disable_wal(true);
        let mut cached_read_options = ReadOptions::default();
        cached_read_options.set_read_tier(ReadTier::BlockCache);
        Ok(Rocks {
            db,
            path: path.to_path_buf(),
            is_held_up: AtomicBool::new(false),
            file_options: shared.file_options(),
            write_options,
            read_options: ReadOptions::default(),
            cached_read_options,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    #[cfg(test)]
    pub(crate) fn db(&self) -> &DB {
        &self.db
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
        self.map(self.read(key, &self.read_options))
    }

    /// Fails with [`StorageError::WouldBlock`] where the disk would have to be read.
    pub(crate) fn get_cached(&self, key: &[u8]) -> StorageResult<Option<Bytes>> {
        self.read(key, &self.cached_read_options).map_err(|error| match error.kind() {
            // Elsewhere it means another thing: only this was asked not to wait.
            ErrorKind::Incomplete => StorageError::WouldBlock,
            _ => error::of_rocksdb(&error, self.path()),
        })
    }

    fn read(&self, key: &[u8], options: &ReadOptions) -> Result<Option<Bytes>, rocksdb::Error> {
        let value = self.db.get_pinned_opt(key, options)?;
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

    /// Makes a file of rows, which come in key order and are not none, and adds it: afterwards they survive a crash, all of
    /// them, and before none.
    pub(crate) fn add_file<'a>(&self, rows: impl Iterator<Item = &'a Item>) -> StorageResult<()> {
        let path = self.path.join(NEW_FILE);
        // Never written over: after a crash it may be a second name of a file that is part of the database by now.
        files::remove_file(&path)?;
        if let Err(error) = self.write_file(&path, rows) {
            // It would take the room that others need.
            let _ = files::remove_file(&path);
            return self.map(Err(error));
        }
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        // While there is a snapshot, RocksDB gives a file a number of its own. The first one would get 0, as would
        // snapshots after it, and who merges takes such a snapshot for none: what only it shows is dropped. Not for later
        // files: they start a merge, which would see the snapshot and keep what they replace.
        let _numbered = (self.db.latest_sequence_number() == 0).then(|| self.db.snapshot());
        // If this fails, the file keeps this name: RocksDB may have written down that it has it before it took it away.
        self.map(self.db.ingest_external_file_opts(&options, vec![&path]))
    }

    fn write_file<'a>(&self, path: &Path, rows: impl Iterator<Item = &'a Item>) -> Result<(), rocksdb::Error> {
        let mut file = SstFileWriter::create(&self.file_options);
        file.open(path)?;
        for row in rows {
            match row.value() {
                Some(value) => file.put(row.key(), value)?,
                None => file.delete(row.key())?,
            }
        }
        // It makes the file durable.
        file.finish()
    }

    /// Fails where so many files were added and not merged yet.
    pub(crate) fn check_merged(&self, files_max: u64) -> StorageResult<()> {
        let files = self.new_files();
        self.is_held_up.store(files >= NEW_FILES_MAX, Ordering::SeqCst);
        match files < files_max {
            true => Ok(()),
            false => {
                let detail = format!("{}: RocksDB has {files} files to merge first", self.path.display());
                Err(StorageError::Behind { detail })
            }
        }
    }

    /// Whether somebody met [`NEW_FILES_MAX`] files, and there are as many still.
    pub(crate) fn is_held_up(&self) -> bool {
        self.is_held_up.load(Ordering::SeqCst) && self.check_merged(NEW_FILES_MAX).is_err()
    }

    /// How many files were added and not merged yet.
    pub(crate) fn new_files(&self) -> u64 {
        self.property(&properties::num_files_at_level(0))
    }

    /// Fails with the error that stopped background work, if one did. After a full disk RocksDB looks for room every few
    /// seconds and resumes by itself: until then no file has to be made that it would not take. It is asked by writing
    /// nothing.
    pub(crate) fn check_accepts_files(&self) -> StorageResult<()> {
        self.map(self.db.write_opt(rocksdb::WriteBatch::default(), &self.write_options))
    }

    /// Makes a directory of links to all files.
    pub(crate) fn checkpoint(&self, directory: &Path) -> StorageResult<()> {
        let checkpoint = self.map(rocksdb::checkpoint::Checkpoint::new(&self.db))?;
        self.map(checkpoint.create_checkpoint(directory))
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

/// Whether a file that a database misses may be the one that has its first name only. RocksDB takes a file's name away when it
/// could not make durable that it has it, and may have written it down all the same. It knows a wrong file by its size.
fn is_lost_name(directory: &Path, file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "sst") && !file.exists() && directory.join(NEW_FILE).exists()
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
