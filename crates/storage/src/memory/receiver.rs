//! A tablet that is being received.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::BytesMut;
use strata_types::ReplicaId;

use super::durable::{Image, Life};
use super::files;
use super::tablet::MemoryTablet;
use crate::{Engine, Receiver, StorageError, StorageResult, check_file_name};

/// Collects the files of a checkpoint.
pub(super) struct MemoryReceiver {
    life: Life,
    replica: ReplicaId,
    write_buffer_bytes: u64,
    files: BTreeMap<String, BytesMut>,
}

impl MemoryReceiver {
    pub(super) fn new(life: Life, replica: ReplicaId, write_buffer_bytes: u64) -> MemoryReceiver {
        MemoryReceiver { life, replica, write_buffer_bytes, files: BTreeMap::new() }
    }
}

impl Receiver for MemoryReceiver {
    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> StorageResult<()> {
        self.life.check_room()?;
        check_file_name(name)?;
        let length = self.files.get(name).map_or(0, |file| file.len() as u64);
        if offset != length {
            let detail = format!("file {name} has {length} bytes, got more at {offset}");
            return Err(StorageError::Invalid { detail });
        }
        self.files.entry(name.to_string()).or_default().extend_from_slice(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>) -> StorageResult<Arc<dyn Engine>> {
        self.life.check_room()?;
        let files = self.files.into_iter().map(|(name, bytes)| (name, bytes.freeze())).collect();
        let image = Arc::new(Image::of(files::decode(files)?));
        Ok(Arc::new(MemoryTablet::open(self.life, self.replica, image, self.write_buffer_bytes)?))
    }
}
