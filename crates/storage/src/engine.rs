//! The traits.

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use strata_types::ReplicaId;

use crate::{StorageResult, WriteBatch};

/// One tablet. Calls may block on disk: they run on threads meant for that. [`Any`] lets [`Tablets::install`] know its
/// own engine again.
pub trait Engine: Any + Send + Sync {
    /// The newest value of a key.
    fn get(&self, key: &[u8]) -> StorageResult<Option<Bytes>>;

    /// As [`Engine::get`], for threads that must not wait: [`StorageError::WouldBlock`](crate::StorageError::WouldBlock)
    /// when the answer is not in memory.
    fn get_cached(&self, key: &[u8]) -> StorageResult<Option<Bytes>> {
        self.get(key)
    }

    /// The values of several keys, in the order asked for.
    fn multi_get(&self, keys: &[Bytes]) -> StorageResult<Vec<Option<Bytes>>> {
        keys.iter().map(|key| self.get(key)).collect()
    }

    /// The value of a key as it would be after a crash right now. Always a value that the key had, and never older
    /// than what a completed [`Engine::flush`] covered.
    fn get_persisted(&self, key: &[u8]) -> StorageResult<Option<Bytes>>;

    /// Calls `visit` for each item with `start <= key < end` in key order, on one consistent state, until it returns
    /// `false`. An empty `end` means no upper bound.
    fn scan(&self, start: &[u8], end: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> StorageResult<()>;

    /// An unchanging view of the present state. Making it reads no disk, so any thread may; one that others go before
    /// should not, because readers and writers wait for it.
    fn snapshot(&self) -> Box<dyn Snapshot>;

    /// Makes all writes of the batch visible at once. Not durable. Called by one thread at a time.
    fn write(&self, batch: WriteBatch) -> StorageResult<()>;

    /// As [`Engine::write`], for threads that must not wait:
    /// [`StorageError::WouldBlock`](crate::StorageError::WouldBlock), with nothing written, when writes are held back.
    fn write_now(&self, batch: WriteBatch) -> StorageResult<()> {
        self.write(batch)
    }

    /// Returns when everything written before the call survives a crash.
    fn flush(&self) -> StorageResult<()>;

    /// An immutable copy of the present state. Its files are removed when the last holder drops it.
    fn checkpoint(&self) -> StorageResult<Arc<dyn Checkpoint>>;

    /// Approximate bytes that a crash would lose.
    fn unflushed_bytes(&self) -> u64;

    /// Approximate bytes on disk.
    fn disk_bytes(&self) -> u64;
}

/// An unchanging view of a tablet.
pub trait Snapshot: Send + Sync {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> StorageResult<Option<Bytes>>;

    /// As [`Engine::scan`].
    fn scan(&self, start: &[u8], end: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> StorageResult<()>;
}

/// A file of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointFile {
    /// Its name: no separators, no `..`.
    pub name: String,
    /// Its length.
    pub length: u64,
}

/// An immutable copy of a tablet, readable file by file.
pub trait Checkpoint: Send + Sync {
    /// The files.
    fn files(&self) -> StorageResult<Vec<CheckpointFile>>;

    /// Reads up to `length` bytes of a file.
    fn read(&self, name: &str, offset: u64, length: usize) -> StorageResult<Bytes>;
}

/// A tablet that is being received from another replica. Dropping it discards what came.
pub trait Receiver: Send {
    /// Appends bytes to a file, creating it first (an empty file needs one call without bytes). A name that
    /// [`check_file_name`](crate::check_file_name) rejects and an offset that is not the file's present length are
    /// [`StorageError::Invalid`](crate::StorageError::Invalid).
    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> StorageResult<()>;

    /// Makes the files durable, opens and reads them to see that they are an undamaged tablet
    /// ([`StorageError::Invalid`](crate::StorageError::Invalid) otherwise), and returns it. It is not yet the
    /// replica's tablet: that needs [`Tablets::install`]. Its files go with its last holder if that never comes.
    fn finish(self: Box<Self>) -> StorageResult<Arc<dyn Engine>>;
}

/// All tablets of one node.
pub trait Tablets: Send + Sync + 'static {
    /// Opens the tablet of a replica, creating an empty one if there is none. While somebody holds it, every call
    /// returns that same tablet.
    fn open(&self, replica: ReplicaId) -> StorageResult<Arc<dyn Engine>>;

    /// Begins to receive a tablet for a replica beside the one that it has.
    fn receive(&self, replica: ReplicaId) -> StorageResult<Box<dyn Receiver>>;

    /// Atomically makes a finished received tablet the one that [`Tablets::open`] opens, also after a crash. Files of
    /// the old one go when its last holder drops it. [`StorageError::Invalid`](crate::StorageError::Invalid) for an
    /// engine that [`Receiver::finish`] did not return for this replica here.
    fn install(&self, replica: ReplicaId, received: Arc<dyn Engine>) -> StorageResult<()>;

    /// Removes a replica's tablet, if it has one. Holders of it may go on reading.
    fn remove(&self, replica: ReplicaId) -> StorageResult<()>;

    /// Replicas that have a tablet here, in order.
    fn list(&self) -> StorageResult<Vec<ReplicaId>>;
}
