//! The tablets of a machine, with somebody who looks on.

use std::sync::{Arc, Weak};

use strata_storage::memory::MemoryTablets;
use strata_storage::{Engine, Receiver, StorageError, StorageResult, Tablets};
use strata_types::ReplicaId;

use crate::cluster::Cluster;

/// What an engine says that finds damaged files.
pub(crate) fn damage(replica: ReplicaId) -> StorageError {
    StorageError::Corrupt { file: format!("files of {replica}"), detail: "damaged by the simulation".into() }
}

/// Finds what is damaged, and tells the invariants which replicas are opened and deleted on a disk.
pub(crate) struct WatchedTablets {
    pub(crate) inner: MemoryTablets,
    pub(crate) disk: u64,
    pub(crate) cluster: Weak<Cluster>,
}

impl Tablets for WatchedTablets {
    fn open(&self, replica: ReplicaId) -> StorageResult<Arc<dyn Engine>> {
        let cluster = self.cluster.upgrade();
        if cluster.is_some_and(|cluster| cluster.invariants.lock().files.is_damaged(replica)) {
            return Err(damage(replica));
        }
        let opened = self.inner.open(replica)?;
        if let Some(cluster) = self.cluster.upgrade() {
            cluster.invariants.lock().files.opened(self.disk, replica);
        }
        Ok(opened)
    }

    fn receive(&self, replica: ReplicaId) -> StorageResult<Box<dyn Receiver>> {
        self.inner.receive(replica)
    }

    fn install(&self, replica: ReplicaId, received: Arc<dyn Engine>) -> StorageResult<()> {
        self.inner.install(replica, received)
    }

    fn remove(&self, replica: ReplicaId) -> StorageResult<()> {
        self.inner.remove(replica)?;
        if let Some(cluster) = self.cluster.upgrade() {
            cluster.invariants.lock().files.deleted(self.disk, replica);
        }
        Ok(())
    }

    fn list(&self) -> StorageResult<Vec<ReplicaId>> {
        self.inner.list()
    }
}
