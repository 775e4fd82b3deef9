//! The disk of a simulated node: the files, seen through its faults.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::files::{Files, InodeRef};
use super::node::NodeInner;
use crate::{Disk, File, OpenMode};

/// The disk, for one generation of its node.
pub(super) struct SimDisk {
    pub(super) node: Arc<NodeInner>,
    pub(super) generation: u64,
}

impl SimDisk {
    /// Runs an operation that changes nothing.
    async fn look<T>(&self, operation: impl FnOnce(&mut Files) -> io::Result<T> + Send) -> io::Result<T> {
        self.admit().await?;
        operation(&mut self.node.files.lock())
    }

    /// Runs an operation that changes something, and crashes in it if that was asked for.
    async fn change<T>(&self, operation: impl FnOnce(&mut Files) -> io::Result<T> + Send) -> io::Result<T> {
        self.admit().await?;
        let crash = self.count();
        let outcome = operation(&mut self.node.files.lock());
        if crash {
            self.node.crash();
            return Err(down());
        }
        outcome
    }

    /// Waits its turn; fails when the generation has ended.
    async fn admit(&self) -> io::Result<()> {
        // Other tasks run between any two operations, as they would between two system calls.
        tokio::task::yield_now().await;
        loop {
            let unstuck = self.node.unstuck.notified();
            if !self.node.is_alive(self.generation) {
                return Err(down());
            }
            if !self.node.state.lock().faults.stuck {
                return Ok(());
            }
            unstuck.await;
        }
    }

    /// Counts an operation; true if the node is to crash in it.
    fn count(&self) -> bool {
        let faults = &mut self.node.state.lock().faults;
        faults.operations += 1;
        faults.crash_at == Some(faults.operations)
    }

    async fn wait_for_device(&self) -> io::Result<()> {
        let (shortest, longest) = {
            let state = self.node.state.lock();
            (*state.faults.sync_latency.start(), *state.faults.sync_latency.end())
        };
        if longest > Duration::ZERO {
            let spread = u64::try_from(longest.saturating_sub(shortest).as_nanos()).unwrap_or(u64::MAX - 1);
            let latency = shortest + Duration::from_nanos(self.node.rng.below(spread + 1));
            tokio::time::sleep(latency).await;
            self.admit().await?;
        }
        Ok(())
    }
}

fn down() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the simulated node is down")
}

#[async_trait]
impl Disk for SimDisk {
    async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn File>> {
        let inode = match mode {
            OpenMode::CreateNew => self.change(|files| files.open(path, mode)).await?,
            OpenMode::Read | OpenMode::Write => self.look(|files| files.open(path, mode)).await?,
        };
        let disk = SimDisk { node: self.node.clone(), generation: self.generation };
        Ok(Box::new(SimFile { disk, inode, writable: mode != OpenMode::Read }))
    }

    async fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.change(|files| files.create_dir_all(path)).await
    }

    async fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.look(|files| files.list(path)).await
    }

    async fn exists(&self, path: &Path) -> io::Result<bool> {
        self.look(|files| Ok(files.exists(path))).await
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(|files| files.rename(from, to)).await
    }

    async fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.change(|files| files.remove(path)).await
    }

    async fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.admit().await?;
        self.wait_for_device().await?;
        let crash = self.count();
        if crash && self.node.rng.coin() {
            self.node.crash();
            return Err(down());
        }
        let outcome = self.node.files.lock().sync_dir(path);
        if crash {
            self.node.crash();
            return Err(down());
        }
        outcome
    }
}

struct SimFile {
    disk: SimDisk,
    inode: InodeRef,
    writable: bool,
}

#[async_trait]
impl File for SimFile {
    async fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        self.disk.look(|_| Ok(self.inode.lock().read(offset, length))).await
    }

    async fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.disk.change(|files| files.write(&self.inode, offset, bytes)).await
    }

    async fn sync_data(&self) -> io::Result<()> {
        self.disk.admit().await?;
        let captured = self.inode.lock().begin_sync()?;
        self.disk.wait_for_device().await?;
        let node = &self.disk.node;
        let crash = self.disk.count();
        if std::mem::take(&mut node.state.lock().faults.fail_next_sync) {
            return Err(self.inode.lock().fail_sync(&node.rng));
        }
        // A power loss during a sync may come before or after the device was done.
        if crash && node.rng.coin() {
            node.crash();
            return Err(down());
        }
        let outcome = self.inode.lock().finish_sync(captured);
        if crash {
            node.crash();
            return Err(down());
        }
        outcome
    }

    async fn length(&self) -> io::Result<u64> {
        self.disk.look(|_| Ok(self.inode.lock().length())).await
    }
}
