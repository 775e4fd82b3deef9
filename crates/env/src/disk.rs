//! Files, as little of them as a log and a few small documents need.

use std::io;
use std::path::Path;

use async_trait::async_trait;
use bytes::Bytes;

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Must exist; reads only.
    Read,
    /// Must exist; reads and writes.
    Write,
    /// Must not exist; reads and writes.
    CreateNew,
}

/// A file system as one node sees it.
///
/// Contract:
/// - Data is durable after [`File::sync_data`] returns, and only then. A created, renamed or removed name is durable
///   after [`Disk::sync_dir`] of its directory returns, and only then.
/// - An error of a sync leaves it open what was written. The caller must not write on and must not acknowledge.
/// - Paths are relative to the disk's root.
#[async_trait]
pub trait Disk: Send + Sync {
    /// Opens or creates a file.
    async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn File>>;

    /// Creates a directory and its parents; succeeds if it exists.
    async fn create_dir_all(&self, path: &Path) -> io::Result<()>;

    /// Names in a directory, sorted. `NotFound` if there is no such directory.
    async fn list(&self, path: &Path) -> io::Result<Vec<String>>;

    /// Whether a file or directory exists.
    async fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Renames a file, replacing what has the target name.
    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    async fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    async fn sync_dir(&self, path: &Path) -> io::Result<()>;
}

/// An open file. Writes of one file are made by one caller at a time.
#[async_trait]
pub trait File: Send + Sync {
    /// Reads exactly `length` bytes, or fewer at the end of the file.
    async fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes>;

    /// Writes all bytes, growing the file when needed.
    async fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes written data, and the length needed to read it, durable.
    async fn sync_data(&self) -> io::Result<()>;

    /// Length in bytes.
    async fn length(&self) -> io::Result<u64>;
}

impl dyn Disk {
    /// Reads a whole file.
    pub async fn read(&self, path: &Path) -> io::Result<Bytes> {
        let file = self.open(path, OpenMode::Read).await?;
        let length = usize::try_from(file.length().await?).map_err(io::Error::other)?;
        file.read_at(0, length).await
    }

    /// Replaces a small file as a whole: after a crash it holds either the old or the new content.
    pub async fn replace(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let temporary = path.with_extension("tmp");
        if self.exists(&temporary).await? {
            self.remove_file(&temporary).await?;
        }
        let file = self.open(&temporary, OpenMode::CreateNew).await?;
        file.write_at(0, content).await?;
        file.sync_data().await?;
        drop(file);
        self.rename(&temporary, path).await?;
        self.sync_dir(path.parent().unwrap_or(Path::new(""))).await
    }
}
