//! An immutable copy of a tablet: hard links to its files.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;

use bytes::{Bytes, BytesMut};
use strata_storage::{Checkpoint, CheckpointFile, StorageError, StorageResult, check_file_name};

use crate::directory::Directory;
use crate::{error, files};

/// A checkpoint. Its directory goes with its last holder.
pub(crate) struct RocksCheckpoint {
    directory: Directory,
}

impl RocksCheckpoint {
    pub(crate) fn new(directory: Directory) -> RocksCheckpoint {
        RocksCheckpoint { directory }
    }
}

impl Checkpoint for RocksCheckpoint {
    fn files(&self) -> StorageResult<Vec<CheckpointFile>> {
        let file = |name: String| {
            let path = self.directory.path().join(&name);
            let length = fs::metadata(&path).map_err(|error| error::of_file(&error, &path))?.len();
            Ok(CheckpointFile { name, length })
        };
        files::entries(self.directory.path())?.into_iter().map(file).collect()
    }

    fn read(&self, name: &str, offset: u64, length: usize) -> StorageResult<Bytes> {
        check_file_name(name)?;
        let path = self.directory.path().join(name);
        let read = || -> io::Result<Bytes> {
            let file = File::open(&path)?;
            let rest = file.metadata()?.len().saturating_sub(offset);
            let mut bytes = BytesMut::zeroed(length.min(usize::try_from(rest).unwrap_or(usize::MAX)));
            file.read_exact_at(&mut bytes, offset)?;
            Ok(bytes.freeze())
        };
        read().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StorageError::Invalid { detail: format!("no file {name} in this checkpoint") },
            _ => error::of_file(&error, &path),
        })
    }
}
