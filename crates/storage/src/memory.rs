//! An engine in memory, for the simulator and for tests.
//!
//! ```text
//!   MemoryTablet (lost by a crash)          Durable (survives it)
//!   +---------------------------+  flush   +-----------------------------+
//!   | items: every write so far | -------> | image: state at last flush  |
//!   | dirty: keys since a flush |  copies  | one per replica; and what   |
//!   +---------------------------+  dirty   | was written since, in order |
//!                                          +-----------------------------+
//! ```
//!
//! A crash is [`Durable::crash`], or simply new [`MemoryTablets`] over the same [`Durable`]: every handle of the former
//! life then fails for ever, so that a task that outlives its node cannot write to the next one's disk, and an opened
//! tablet begins as its image. With [`Durable::crash_keeping`] some of what was not flushed survives, oldest first. A
//! flush copies only the keys written since the last one. Like RocksDB, a tablet also flushes by itself when much is
//! unflushed.
//!
//! Scans and snapshots share the live map; the first write while one is held copies it. So do not hold a snapshot
//! across writes.

mod durable;
mod files;
mod receiver;
mod tablet;

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use strata_types::ReplicaId;

pub use self::durable::Durable;
use self::durable::Life;
use self::receiver::MemoryReceiver;
use self::tablet::MemoryTablet;
use crate::{Engine, Receiver, StorageError, StorageResult, Tablets};

/// A tablet flushes by itself at this many unflushed bytes, as one on RocksDB does when memory is short.
pub const WRITE_BUFFER_BYTES_DEFAULT: u64 = 32 << 20;

/// The tablets of a node, in memory.
pub struct MemoryTablets {
    life: Life,
    write_buffer_bytes: u64,
    open: Mutex<BTreeMap<ReplicaId, Weak<MemoryTablet>>>,
}

impl MemoryTablets {
    /// Tablets over a store of their own, which nothing outlives.
    pub fn new() -> MemoryTablets {
        MemoryTablets::over(Durable::new())
    }

    /// Tablets over a store that survives a crash. Begins a new life of it: all handles of the former one fail.
    pub fn over(durable: Arc<Durable>) -> MemoryTablets {
        MemoryTablets {
            life: durable.begin_life(),
            write_buffer_bytes: WRITE_BUFFER_BYTES_DEFAULT,
            open: Mutex::default(),
        }
    }

    /// Sets the number of unflushed bytes at which a tablet flushes by itself.
    pub fn with_write_buffer_bytes(mut self, bytes: u64) -> MemoryTablets {
        self.write_buffer_bytes = bytes;
        self
    }
}

impl Default for MemoryTablets {
    fn default() -> MemoryTablets {
        MemoryTablets::new()
    }
}

impl Tablets for MemoryTablets {
    fn open(&self, replica: ReplicaId) -> StorageResult<Arc<dyn Engine>> {
        self.life.check()?;
        let mut open = self.open.lock();
        if let Some(tablet) = open.get(&replica).and_then(Weak::upgrade) {
            return Ok(tablet);
        }
        // As with a real one: whoever opens a tablet writes something.
        self.life.check_some_room()?;
        let image = self.life.durable().image(replica);
        let tablet = Arc::new(MemoryTablet::open(self.life.clone(), replica, image, self.write_buffer_bytes)?);
        open.insert(replica, Arc::downgrade(&tablet));
        Ok(tablet)
    }

    fn receive(&self, replica: ReplicaId) -> StorageResult<Box<dyn Receiver>> {
        self.life.check_room()?;
        Ok(Box::new(MemoryReceiver::new(self.life.clone(), replica, self.write_buffer_bytes)))
    }

    fn install(&self, replica: ReplicaId, received: Arc<dyn Engine>) -> StorageResult<()> {
        self.life.check_room()?;
        let received: Arc<dyn std::any::Any + Send + Sync> = received;
        let tablet = received
            .downcast::<MemoryTablet>()
            .ok()
            .filter(|tablet| tablet.replica() == replica && tablet.life().is_same(&self.life))
            .ok_or_else(|| StorageError::Invalid { detail: format!("not a received tablet of {replica}") })?;
        let mut open = self.open.lock();
        self.life.durable().replace(replica, tablet.image());
        open.insert(replica, Arc::downgrade(&tablet));
        Ok(())
    }

    fn remove(&self, replica: ReplicaId) -> StorageResult<()> {
        self.life.check()?;
        let mut open = self.open.lock();
        self.life.durable().remove(replica);
        open.remove(&replica);
        Ok(())
    }

    fn list(&self) -> StorageResult<Vec<ReplicaId>> {
        self.life.check()?;
        Ok(self.life.durable().replicas())
    }
}
