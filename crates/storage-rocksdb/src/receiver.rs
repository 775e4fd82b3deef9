//! A tablet that is being received.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use strata_storage::{Engine, Receiver, StorageError, StorageResult, check_file_name};
use strata_types::ReplicaId;

use crate::database::Database;
use crate::directory::Directory;
use crate::options::Shared;
use crate::tablet::RocksTablet;
use crate::{error, files};

/// Writes the files of a checkpoint into a directory, which goes if they never become a tablet.
pub(crate) struct RocksReceiver {
    shared: Arc<Shared>,
    replica: ReplicaId,
    directory: Directory,
    lengths: BTreeMap<String, u64>,
    /// The file written last, still open.
    open: Option<(String, File)>,
}

impl RocksReceiver {
    pub(crate) fn new(shared: Arc<Shared>, replica: ReplicaId, directory: Directory) -> StorageResult<RocksReceiver> {
        fs::create_dir(directory.path()).map_err(|error| error::of_file(&error, directory.path()))?;
        Ok(RocksReceiver { shared, replica, directory, lengths: BTreeMap::new(), open: None })
    }

    fn append(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.open.as_ref().is_none_or(|(open, _)| open != name) {
            self.close().map_err(|error| io::Error::other(format!("sync failed: {error}")))?;
            let path = self.directory.path().join(name);
            let file = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
            self.open = Some((name.to_string(), file));
        }
        match &self.open {
            // At its place, so that it can be repeated when a full disk took only a part of it.
            Some((_, file)) => file.write_all_at(bytes, offset),
            None => Ok(()),
        }
    }

    /// Makes the file written last durable. What a failed sync left cannot be told: it is not tried again, also not
    /// when there was no room for it.
    fn close(&mut self) -> io::Result<()> {
        match self.open.take() {
            Some((_, file)) => file.sync_all(),
            None => Ok(()),
        }
    }
}

impl Receiver for RocksReceiver {
    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> StorageResult<()> {
        check_file_name(name)?;
        let length = self.lengths.get(name).copied().unwrap_or(0);
        if offset != length {
            let detail = format!("file {name} has {length} bytes, got more at {offset}");
            return Err(StorageError::Invalid { detail });
        }
        self.append(name, offset, bytes).map_err(|error| error::of_file(&error, &self.directory.path().join(name)))?;
        self.lengths.insert(name.to_string(), length + bytes.len() as u64);
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> StorageResult<Arc<dyn Engine>> {
        if let Some((name, file)) = self.open.take() {
            file.sync_all().map_err(|error| error::of_file(&error, &self.directory.path().join(name)))?;
        }
        files::sync_directory(self.directory.path())?;
        let RocksReceiver { shared, replica, directory, .. } = *self;
        let open = || {
            let database = Database::open(&shared, directory, replica, false)?;
            database.tiers().rocks().verify()?;
            Ok(database)
        };
        let database = open().map_err(|error| match error {
            // The peer's files are damaged, not this replica's.
            StorageError::Corrupt { file, detail } => {
                StorageError::Invalid { detail: format!("received tablet is damaged: {file}: {detail}") }
            }
            other => other,
        })?;
        Ok(Arc::new(RocksTablet::new(Arc::new(database))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RocksOptions;
    use crate::directory::{Directories, TABLET};

    #[test]
    fn a_piece_that_a_full_disk_took_in_part_is_written_again_whole() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let directory = Arc::new(Directories::default()).hold_new(home.path(), TABLET).expect("a new name");
        let path = directory.path().to_path_buf();
        let shared = Arc::new(Shared::new(&RocksOptions::default()).expect("options"));
        let mut receiver = RocksReceiver::new(shared, ReplicaId(1), directory).expect("a directory");
        receiver.write("a", 0, b"abc").expect("room");
        receiver.append("a", 3, b"de").expect("room for a part");
        assert!(matches!(receiver.write("a", 5, b"f"), Err(StorageError::Invalid { .. })), "it counts for nothing");
        receiver.write("a", 3, b"defg").expect("room");
        receiver.append("b", 0, b"").expect("a file is made");
        receiver.write("b", 0, b"hi").expect("room");
        assert_eq!(fs::read(path.join("a")).expect("a file"), b"abcdefg");
        assert_eq!(fs::read(path.join("b")).expect("a file"), b"hi");
        drop(receiver);
        assert!(!path.exists(), "it never became a tablet");
    }
}
