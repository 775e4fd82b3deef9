//! The content of one simulated file.

use std::collections::BTreeMap;
use std::io;

use bytes::{Bytes, BytesMut};

use super::SimRng;

/// What a device writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// A file's durable content and the sectors written since.
#[derive(Debug)]
pub(super) struct Inode {
    pub(super) id: u64,
    durable: Vec<u8>,
    length: u64,
    dirty: BTreeMap<u64, Sector>,
    /// Sectors of a failed sync that are still in the cache, and pass for written: no sync writes them any more.
    ghosts: BTreeMap<u64, Sector>,
    writes: u64,
    /// A sync failed: nothing may be written or synced until the node restarts.
    failed: bool,
}

#[derive(Clone, Debug)]
struct Sector {
    bytes: [u8; SECTOR_BYTES],
    /// Number of the write that last changed it.
    write: u64,
}

/// What was dirty when a sync began: exactly this does it make durable.
pub(super) struct Captured {
    sectors: BTreeMap<u64, Sector>,
    length: u64,
}

impl Inode {
    pub(super) fn new(id: u64) -> Inode {
        let (dirty, ghosts) = (BTreeMap::new(), BTreeMap::new());
        Inode { id, durable: Vec::new(), length: 0, dirty, ghosts, writes: 0, failed: false }
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn read(&self, offset: u64, length: usize) -> Bytes {
        let end = offset.saturating_add(length as u64).min(self.length);
        if offset >= end {
            return Bytes::new();
        }
        let mut buffer = BytesMut::zeroed((end - offset) as usize);
        let durable_end = end.min(self.durable.len() as u64);
        if offset < durable_end {
            let source = &self.durable[offset as usize..durable_end as usize];
            buffer[..source.len()].copy_from_slice(source);
        }
        let sectors = offset / SECTOR_BYTES as u64..=(end - 1) / SECTOR_BYTES as u64;
        for (number, sector) in self.ghosts.range(sectors.clone()).chain(self.dirty.range(sectors)) {
            let sector_start = number * SECTOR_BYTES as u64;
            let from = offset.max(sector_start);
            let to = end.min(sector_start + SECTOR_BYTES as u64);
            let source = &sector.bytes[(from - sector_start) as usize..(to - sector_start) as usize];
            buffer[(from - offset) as usize..(to - offset) as usize].copy_from_slice(source);
        }
        buffer.freeze()
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.check()?;
        self.writes += 1;
        let mut position = offset;
        let mut rest = bytes;
        while !rest.is_empty() {
            let number = position / SECTOR_BYTES as u64;
            let within = (position % SECTOR_BYTES as u64) as usize;
            let (piece, after) = rest.split_at(rest.len().min(SECTOR_BYTES - within));
            let (durable, ghosts, write) = (&self.durable, &mut self.ghosts, self.writes);
            let mut present = || ghosts.remove(&number).map_or_else(|| sector_of(durable, number), |ghost| ghost.bytes);
            let sector = self.dirty.entry(number).or_insert_with(|| Sector { bytes: present(), write });
            sector.write = write;
            sector.bytes[within..within + piece.len()].copy_from_slice(piece);
            position += piece.len() as u64;
            rest = after;
        }
        self.length = self.length.max(position);
        Ok(())
    }

    pub(super) fn begin_sync(&self) -> io::Result<Captured> {
        self.check()?;
        Ok(Captured { sectors: self.dirty.clone(), length: self.length })
    }

    pub(super) fn finish_sync(&mut self, captured: Captured) -> io::Result<()> {
        self.check()?;
        for (number, sector) in captured.sectors {
            self.store(number, &sector.bytes, captured.length);
            if self.dirty.get(&number).is_some_and(|dirty| dirty.write == sector.write) {
                self.dirty.remove(&number);
            }
        }
        if (self.durable.len() as u64) < captured.length {
            self.durable.resize(captured.length as usize, 0);
        }
        Ok(())
    }

    /// The device failed to write back. Some of it arrived, and the rest is gone, also from the cache; or it all stays in the
    /// cache as if it had been written, which is what ext4 and XFS do.
    pub(super) fn fail_sync(&mut self, rng: &SimRng) -> io::Error {
        if rng.coin() {
            self.lose(rng);
        } else {
            self.ghosts.append(&mut self.dirty);
        }
        self.failed = true;
        device_error()
    }

    /// Power loss: keeps a random part of what was not synced (SIM-2), and all that was (ENV-2).
    pub(super) fn crash(&mut self, rng: &SimRng) {
        self.ghosts.clear();
        self.lose(rng);
        self.failed = false;
    }

    /// The handles that saw the failure are gone.
    pub(super) fn forget_failure(&mut self) {
        self.failed = false;
    }

    pub(super) fn flip_bit(&mut self, offset: u64) -> io::Result<()> {
        if offset >= self.length {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "beyond the end of the file"));
        }
        if let Some(byte) = self.durable.get_mut(offset as usize) {
            *byte ^= 1;
        }
        let number = offset / SECTOR_BYTES as u64;
        for sector in [&mut self.dirty, &mut self.ghosts].into_iter().filter_map(|sectors| sectors.get_mut(&number)) {
            sector.bytes[(offset % SECTOR_BYTES as u64) as usize] ^= 1;
        }
        Ok(())
    }

    fn check(&self) -> io::Result<()> {
        if self.failed { Err(device_error()) } else { Ok(()) }
    }

    fn lose(&mut self, rng: &SimRng) {
        let dirty = std::mem::take(&mut self.dirty);
        // All and nothing are the common ends of a power loss, and too rare among independent coins.
        let mode = rng.below(4);
        for (number, sector) in dirty {
            if mode == 0 || (mode > 1 && rng.coin()) {
                self.store(number, &sector.bytes, self.length);
            }
        }
        if (self.durable.len() as u64) < self.length && rng.coin() {
            self.durable.resize(self.length as usize, 0);
        }
        self.length = self.durable.len() as u64;
    }

    fn store(&mut self, number: u64, bytes: &[u8; SECTOR_BYTES], length: u64) {
        let start = number as usize * SECTOR_BYTES;
        let end = (start + SECTOR_BYTES).min(length as usize);
        if self.durable.len() < end {
            self.durable.resize(end, 0);
        }
        self.durable[start..end].copy_from_slice(&bytes[..end - start]);
    }
}

fn sector_of(content: &[u8], number: u64) -> [u8; SECTOR_BYTES] {
    let mut bytes = [0; SECTOR_BYTES];
    let start = (number as usize * SECTOR_BYTES).min(content.len());
    let end = (start + SECTOR_BYTES).min(content.len());
    bytes[..end - start].copy_from_slice(&content[start..end]);
    bytes
}

fn device_error() -> io::Error {
    io::Error::other("input/output error of the simulated device")
}
