//! All tablets of a node.

use std::any::Any;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use strata_storage::{Engine, Receiver, StorageError, StorageResult, Tablets};
use strata_types::ReplicaId;

use crate::database::Database;
use crate::directory::{Directories, TABLET};
use crate::options::{RocksOptions, Shared};
use crate::receiver::RocksReceiver;
use crate::tablet::RocksTablet;
use crate::{error, files, pointer};

/// Tablets in the directories below one root.
pub struct RocksTablets {
    root: PathBuf,
    shared: Arc<Shared>,
    directories: Arc<Directories>,
    slots: Mutex<BTreeMap<ReplicaId, Arc<Slot>>>,
}

/// The present tablet of one replica, as long as somebody holds it. Locked while it is opened or replaced, so that
/// different replicas open in parallel.
type Slot = Mutex<Weak<Database>>;

impl RocksTablets {
    /// Tablets below `root` (a node's `shards` directory), which is made if it does not exist.
    pub fn new(root: impl Into<PathBuf>, options: RocksOptions) -> StorageResult<RocksTablets> {
        let root = root.into();
        files::make_directory(&root)?;
        let tablets = RocksTablets {
            shared: Arc::new(Shared::new(&options)?),
            directories: Arc::default(),
            slots: Mutex::default(),
            root,
        };
        tablets.sweep_unnamed()?;
        Ok(tablets)
    }

    /// Removes what is left of replicas that were removed, or never finished their first receive, before a crash.
    fn sweep_unnamed(&self) -> StorageResult<()> {
        for (_, home) in self.homes()? {
            if pointer::read(&home).is_ok_and(|name| name.is_none()) {
                self.directories.sweep(&home, None)?;
                remove_if_empty(&home);
            }
        }
        Ok(())
    }

    fn homes(&self) -> StorageResult<Vec<(ReplicaId, PathBuf)>> {
        let home = |name: String| Some((ReplicaId(name.parse().ok()?), self.root.join(name)));
        let mut homes: Vec<_> = files::entries(&self.root)?.into_iter().filter_map(home).collect();
        homes.sort();
        Ok(homes)
    }

    fn home(&self, replica: ReplicaId) -> PathBuf {
        self.root.join(replica.0.to_string())
    }

    fn slot(&self, replica: ReplicaId) -> Arc<Slot> {
        Arc::clone(self.slots.lock().entry(replica).or_default())
    }

    fn open_named(&self, replica: ReplicaId, home: &Path, name: &str) -> StorageResult<Database> {
        let directory = self.directories.hold(home.join(name));
        Database::open(&self.shared, directory, replica, false)
    }

    /// Makes an empty tablet. Named only when it is whole (ROCKS-1).
    fn create(&self, replica: ReplicaId, home: &Path) -> StorageResult<Database> {
        files::make_directory(home)?;
        let directory = self.directories.hold_new(home, TABLET)?;
        let database = Database::open(&self.shared, directory, replica, true)?;
        files::sync_directory(home)?;
        // First: the pointer may name it even when writing it fails, and what nobody names is swept up anyway.
        database.directory().keep();
        pointer::write(home, database.directory().name())?;
        Ok(database)
    }
}

impl Tablets for RocksTablets {
    fn open(&self, replica: ReplicaId) -> StorageResult<Arc<dyn Engine>> {
        let slot = self.slot(replica);
        let mut present = slot.lock();
        if let Some(database) = present.upgrade() {
            return Ok(Arc::new(RocksTablet::new(database)));
        }
        let home = self.home(replica);
        let name = pointer::read(&home)?;
        if name.is_some() {
            // A former process may have died before the pointer was durable. What it no longer names must not go before it is.
            files::sync_directory(&home)?;
        }
        self.directories.sweep(&home, name.as_deref())?;
        let database = Arc::new(match &name {
            Some(name) => self.open_named(replica, &home, name)?,
            None => self.create(replica, &home)?,
        });
        *present = Arc::downgrade(&database);
        Ok(Arc::new(RocksTablet::new(database)))
    }

    fn receive(&self, replica: ReplicaId) -> StorageResult<Box<dyn Receiver>> {
        let home = self.home(replica);
        files::make_directory(&home)?;
        let directory = self.directories.hold_new(&home, TABLET)?;
        Ok(Box::new(RocksReceiver::new(Arc::clone(&self.shared), replica, directory)?))
    }

    fn install(&self, replica: ReplicaId, received: Arc<dyn Engine>) -> StorageResult<()> {
        let received: &dyn Any = &*received;
        let database = received
            .downcast_ref::<RocksTablet>()
            .map(RocksTablet::database)
            .filter(|it| it.replica() == replica && Arc::ptr_eq(it.directory().directories(), &self.directories))
            .ok_or_else(|| StorageError::Invalid { detail: format!("not a received tablet of {replica}") })?;
        let slot = self.slot(replica);
        let mut present = slot.lock();
        let former = present.upgrade();
        if former.as_ref().is_some_and(|former| Arc::ptr_eq(former, database)) {
            return Ok(());
        }
        let home = self.home(replica);
        files::sync_directory(&home)?;
        // First, as when one is made.
        database.directory().keep();
        pointer::write(&home, database.directory().name())?;
        // From here on the new one is the tablet, whatever happens to the rest.
        *present = Arc::downgrade(database);
        if let Some(former) = former {
            former.directory().doom();
        }
        self.directories.sweep(&home, Some(database.directory().name()))
    }

    fn remove(&self, replica: ReplicaId) -> StorageResult<()> {
        let slot = self.slot(replica);
        let mut present = slot.lock();
        let home = self.home(replica);
        if !home.exists() {
            return Ok(());
        }
        pointer::remove(&home)?;
        if let Some(database) = std::mem::take(&mut *present).upgrade() {
            database.directory().doom();
        }
        self.directories.sweep(&home, None)?;
        remove_if_empty(&home);
        files::sync_directory(&self.root)
    }

    fn list(&self) -> StorageResult<Vec<ReplicaId>> {
        let homes = self.homes()?.into_iter();
        Ok(homes.filter(|(_, home)| home.join(pointer::POINTER).exists()).map(|(replica, _)| replica).collect())
    }
}

/// A replica's directory stays while a holder's tablet or checkpoint is in it; the next start removes it then.
fn remove_if_empty(home: &Path) {
    if let Err(error) = fs::remove_dir(home)
        && error.kind() != std::io::ErrorKind::DirectoryNotEmpty
    {
        tracing::warn!(error = %error::of_file(&error, home), "cannot remove a replica's directory");
    }
}
