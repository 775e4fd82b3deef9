//! One tablet, its snapshots and checkpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;
use strata_types::ReplicaId;

use super::durable::{Image, Items, Life, apply};
use super::files;
use crate::{Checkpoint, CheckpointFile, Engine, Snapshot, StorageError, StorageResult, WriteBatch, check_file_name};

/// A tablet in memory.
pub(super) struct MemoryTablet {
    life: Life,
    replica: ReplicaId,
    image: Arc<Image>,
    write_buffer_bytes: u64,
    state: RwLock<State>,
}

struct State {
    /// Shared with scans and snapshots, copied on a write while one is held.
    items: Arc<Items>,
    /// Keys that differ from the image, or may.
    dirty: BTreeSet<Bytes>,
    unflushed_bytes: u64,
}

impl MemoryTablet {
    pub(super) fn open(
        life: Life,
        replica: ReplicaId,
        image: Arc<Image>,
        write_buffer_bytes: u64,
    ) -> StorageResult<MemoryTablet> {
        image.check(replica)?;
        // What an earlier handle of this life left unflushed went with it.
        image.crash(|_| 0);
        let items = Arc::new(image.items());
        let state = RwLock::new(State { items, dirty: BTreeSet::new(), unflushed_bytes: 0 });
        Ok(MemoryTablet { life, replica, image, write_buffer_bytes, state })
    }

    pub(super) fn replica(&self) -> ReplicaId {
        self.replica
    }

    pub(super) fn life(&self) -> &Life {
        &self.life
    }

    pub(super) fn image(&self) -> Arc<Image> {
        Arc::clone(&self.image)
    }

    fn check(&self) -> StorageResult<()> {
        self.life.check()?;
        self.image.check(self.replica)
    }

    fn items(&self) -> Arc<Items> {
        Arc::clone(&self.state.read().items)
    }

    fn flush_state(&self, state: &mut State) {
        self.image.take_over(std::mem::take(&mut state.dirty), &state.items);
        state.unflushed_bytes = 0;
    }
}

/// A quarter of the keys are never found in memory once they were flushed, so that simulations meet both cases.
fn is_cold(key: &[u8]) -> bool {
    key.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)) % 4 == 0
}

impl Engine for MemoryTablet {
    fn get(&self, key: &[u8]) -> StorageResult<Option<Bytes>> {
        self.check()?;
        Ok(self.state.read().items.get(key).cloned())
    }

    fn get_cached(&self, key: &[u8]) -> StorageResult<Option<Bytes>> {
        self.check()?;
        let state = self.state.read();
        if !state.dirty.contains(key) && is_cold(key) {
            return Err(StorageError::WouldBlock);
        }
        Ok(state.items.get(key).cloned())
    }

    fn get_persisted(&self, key: &[u8]) -> StorageResult<Option<Bytes>> {
        self.check()?;
        Ok(self.image.get(key))
    }

    fn scan(&self, start: &[u8], end: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> StorageResult<()> {
        self.check()?;
        scan_items(&self.items(), start, end, visit);
        Ok(())
    }

    fn snapshot(&self) -> Box<dyn Snapshot> {
        Box::new(MemorySnapshot {
            life: self.life.clone(),
            replica: self.replica,
            image: self.image(),
            items: self.items(),
        })
    }

    fn write(&self, batch: WriteBatch) -> StorageResult<()> {
        self.check()?;
        self.life.check_room()?;
        let mut state = self.state.write();
        let State { items, dirty, unflushed_bytes } = &mut *state;
        let items = Arc::make_mut(items);
        dirty.extend(batch.ops().iter().map(|op| apply(op, items).clone()));
        *unflushed_bytes += batch.bytes() as u64;
        self.image.note_unflushed(batch);
        if *unflushed_bytes > self.write_buffer_bytes {
            self.flush_state(&mut state);
        }
        Ok(())
    }

    fn flush(&self) -> StorageResult<()> {
        self.check()?;
        self.life.check_room()?;
        self.flush_state(&mut self.state.write());
        Ok(())
    }

    fn checkpoint(&self) -> StorageResult<Arc<dyn Checkpoint>> {
        self.flush()?;
        let mut files = files::encode(&self.items());
        if self.image.is_damaged_unseen() {
            files::flip_a_bit(&mut files);
        }
        Ok(Arc::new(MemoryCheckpoint { life: self.life.clone(), files }))
    }

    fn unflushed_bytes(&self) -> u64 {
        self.state.read().unflushed_bytes
    }

    fn disk_bytes(&self) -> u64 {
        self.image.bytes()
    }
}

struct MemorySnapshot {
    life: Life,
    replica: ReplicaId,
    image: Arc<Image>,
    items: Arc<Items>,
}

impl MemorySnapshot {
    fn check(&self) -> StorageResult<()> {
        self.life.check()?;
        self.image.check(self.replica)
    }
}

impl Snapshot for MemorySnapshot {
    fn get(&self, key: &[u8]) -> StorageResult<Option<Bytes>> {
        self.check()?;
        Ok(self.items.get(key).cloned())
    }

    fn scan(&self, start: &[u8], end: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> StorageResult<()> {
        self.check()?;
        scan_items(&self.items, start, end, visit);
        Ok(())
    }
}

struct MemoryCheckpoint {
    life: Life,
    files: BTreeMap<String, Bytes>,
}

impl Checkpoint for MemoryCheckpoint {
    fn files(&self) -> StorageResult<Vec<CheckpointFile>> {
        self.life.check()?;
        let file = |(name, bytes): (&String, &Bytes)| CheckpointFile { name: name.clone(), length: bytes.len() as u64 };
        Ok(self.files.iter().map(file).collect())
    }

    fn read(&self, name: &str, offset: u64, length: usize) -> StorageResult<Bytes> {
        self.life.check()?;
        check_file_name(name)?;
        let file = self.files.get(name).ok_or_else(|| StorageError::Invalid { detail: format!("no file {name}") })?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(file.len());
        Ok(file.slice(start..start.saturating_add(length).min(file.len())))
    }
}

fn scan_items(items: &Items, start: &[u8], end: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) {
    let upper = match end {
        [] => Bound::Unbounded,
        end if end <= start => return,
        end => Bound::Excluded(end),
    };
    for (key, value) in items.range::<[u8], _>((Bound::Included(start), upper)) {
        if !visit(key, value) {
            return;
        }
    }
}
