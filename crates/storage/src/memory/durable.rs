//! What survives a crash of the node, and the faults of its disk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use strata_types::ReplicaId;

use crate::{StorageError, StorageResult, WriteBatch, WriteOp};

pub(super) type Items = BTreeMap<Bytes, Bytes>;

/// The disk below [`MemoryTablets`](super::MemoryTablets): it outlives a simulated crash.
#[derive(Default)]
pub struct Durable {
    life: AtomicU64,
    full: AtomicBool,
    nearly_full: AtomicBool,
    images: Mutex<BTreeMap<ReplicaId, Arc<Image>>>,
}

impl Durable {
    /// An empty disk.
    pub fn new() -> Arc<Durable> {
        Arc::new(Durable::default())
    }

    /// The node crashes: unflushed writes are lost and every handle fails for ever.
    pub fn crash(&self) {
        self.crash_keeping(|_| 0);
    }

    /// The same, but of each tablet's unflushed batches the first ones survive (STORE-1): `keep` is told how many there
    /// are, and says how many.
    pub fn crash_keeping(&self, mut keep: impl FnMut(usize) -> usize) {
        self.life.fetch_add(1, Ordering::SeqCst);
        for image in self.images.lock().values() {
            image.crash(&mut keep);
        }
    }

    /// While the disk is full, everything that needs room fails with [`StorageError::Full`]; reads go on.
    pub fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::SeqCst);
    }

    /// While the disk is nearly full, tablets are opened, and everything else that needs room fails.
    pub fn set_nearly_full(&self, nearly_full: bool) {
        self.nearly_full.store(nearly_full, Ordering::SeqCst);
    }

    /// Damages a replica's stored tablet: from now on opening and reading it fails with [`StorageError::Corrupt`], until
    /// another one is installed or it is removed. `false` if there is none.
    pub fn damage(&self, replica: ReplicaId) -> bool {
        let images = self.images.lock();
        let image = images.get(&replica);
        if let Some(image) = image {
            image.damaged.store(true, Ordering::SeqCst);
        }
        image.is_some()
    }

    /// Damages a replica's files and nothing that is read of them in memory: only checkpoints show it, until another tablet
    /// is installed or it is removed. `false` if there is none.
    pub fn damage_unseen(&self, replica: ReplicaId) -> bool {
        let images = self.images.lock();
        let image = images.get(&replica);
        if let Some(image) = image {
            image.damaged_unseen.store(true, Ordering::SeqCst);
        }
        image.is_some()
    }

    pub(super) fn begin_life(self: Arc<Durable>) -> Life {
        self.crash();
        let number = self.life.fetch_add(1, Ordering::SeqCst) + 1;
        Life { durable: self, number }
    }

    pub(super) fn image(&self, replica: ReplicaId) -> Arc<Image> {
        Arc::clone(self.images.lock().entry(replica).or_default())
    }

    pub(super) fn replace(&self, replica: ReplicaId, image: Arc<Image>) {
        self.images.lock().insert(replica, image);
    }

    pub(super) fn remove(&self, replica: ReplicaId) {
        self.images.lock().remove(&replica);
    }

    pub(super) fn replicas(&self) -> Vec<ReplicaId> {
        self.images.lock().keys().copied().collect()
    }
}

/// A tablet as of its last flush.
#[derive(Default)]
pub(super) struct Image {
    items: Mutex<Items>,
    /// What was written since, in order.
    unflushed: Mutex<Vec<WriteBatch>>,
    bytes: AtomicU64,
    damaged: AtomicBool,
    damaged_unseen: AtomicBool,
}

impl Image {
    pub(super) fn of(items: Items) -> Image {
        let bytes = items.iter().map(|(key, value)| item_bytes(key, value)).sum();
        Image { items: Mutex::new(items), bytes: AtomicU64::new(bytes), ..Image::default() }
    }

    pub(super) fn check(&self, replica: ReplicaId) -> StorageResult<()> {
        match self.damaged.load(Ordering::SeqCst) {
            true => {
                Err(StorageError::Corrupt { file: format!("{replica}/image"), detail: "damaged on purpose".into() })
            }
            false => Ok(()),
        }
    }

    pub(super) fn is_damaged_unseen(&self) -> bool {
        self.damaged_unseen.load(Ordering::SeqCst)
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.items.lock().get(key).cloned()
    }

    pub(super) fn items(&self) -> Items {
        self.items.lock().clone()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::SeqCst)
    }

    /// A batch was written that no flush has taken over yet.
    pub(super) fn note_unflushed(&self, batch: WriteBatch) {
        self.unflushed.lock().push(batch);
    }

    /// Nobody has the tablet open any more. Of the unflushed batches it keeps the first ones, as many as `keep` says.
    pub(super) fn crash(&self, keep: impl FnOnce(usize) -> usize) {
        let unflushed = std::mem::take(&mut *self.unflushed.lock());
        if unflushed.is_empty() {
            return;
        }
        let kept = keep(unflushed.len()).min(unflushed.len());
        let mut live = self.items();
        let ops = unflushed[..kept].iter().flat_map(WriteBatch::ops);
        let keys: Vec<Bytes> = ops.map(|op| apply(op, &mut live).clone()).collect();
        self.take_over(keys, &live);
    }

    /// Takes over the present values of `keys`, all at once.
    pub(super) fn take_over(&self, keys: impl IntoIterator<Item = Bytes>, live: &Items) {
        self.unflushed.lock().clear();
        let mut items = self.items.lock();
        let mut bytes = self.bytes();
        for key in keys {
            let new = live.get(&key);
            bytes += new.map_or(0, |value| item_bytes(&key, value));
            let old = match new {
                Some(value) => items.insert(key.clone(), value.clone()),
                None => items.remove(&key),
            };
            bytes -= old.map_or(0, |value| item_bytes(&key, &value));
        }
        self.bytes.store(bytes, Ordering::SeqCst);
    }
}

/// Makes one write. Returns its key.
pub(super) fn apply<'a>(op: &'a WriteOp, items: &mut Items) -> &'a Bytes {
    match op {
        WriteOp::Put(key, value) => {
            items.insert(key.clone(), value.clone());
            key
        }
        WriteOp::Delete(key) => {
            items.remove(key);
            key
        }
    }
}

fn item_bytes(key: &[u8], value: &[u8]) -> u64 {
    (key.len() + value.len()) as u64
}

/// One life of a node, between two crashes. All handles of it carry it and fail when it is over.
#[derive(Clone)]
pub(super) struct Life {
    durable: Arc<Durable>,
    number: u64,
}

impl Life {
    pub(super) fn durable(&self) -> &Durable {
        &self.durable
    }

    pub(super) fn is_same(&self, other: &Life) -> bool {
        self.number == other.number && Arc::ptr_eq(&self.durable, &other.durable)
    }

    /// Fails when the life is over.
    pub(super) fn check(&self) -> StorageResult<()> {
        match self.durable.life.load(Ordering::SeqCst) == self.number {
            true => Ok(()),
            false => Err(StorageError::Io { detail: "the node of this handle has crashed".into() }),
        }
    }

    /// Fails when the life is over or the disk is full.
    pub(super) fn check_room(&self) -> StorageResult<()> {
        self.check_some_room()?;
        full_if(&self.durable.nearly_full)
    }

    /// The same for the little that opening a tablet takes.
    pub(super) fn check_some_room(&self) -> StorageResult<()> {
        self.check()?;
        full_if(&self.durable.full)
    }
}

fn full_if(full: &AtomicBool) -> StorageResult<()> {
    match full.load(Ordering::SeqCst) {
        true => Err(StorageError::Full { detail: "no space left on simulated device".into() }),
        false => Ok(()),
    }
}
