//! A tablet that is being received.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::sync::Arc;

use strata_storage::{Engine, Receiver, StorageError, StorageResult, check_file_name};
use strata_types::ReplicaId;

use crate::directory::Directory;
use crate::options::Shared;
use crate::tablet::{Database, RocksTablet};
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

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        if self.open.as_ref().is_none_or(|(open, _)| open != name) {
            if let Some((_, file)) = self.open.take() {
                file.sync_all()?;
            }
            let is_new = !self.lengths.contains_key(name);
            let path = self.directory.path().join(name);
            let file = OpenOptions::new().append(true).create_new(is_new).open(path)?;
            self.open = Some((name.to_string(), file));
        }
        match &mut self.open {
            Some((_, file)) => file.write_all(bytes),
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
        self.append(name, bytes).map_err(|error| error::of_file(&error, &self.directory.path().join(name)))?;
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
            database.verify()?;
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
