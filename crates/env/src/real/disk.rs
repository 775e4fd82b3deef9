//! Files of the operating system.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};

use crate::{Disk, File, OpenMode};

/// A directory of the operating system's file system. Every call blocks: poll it on a dedicated thread.
pub struct RealDisk {
    root: PathBuf,
}

impl RealDisk {
    /// The disk below `root`, which must exist.
    #[allow(clippy::new_ret_no_self, reason = "callers hold every disk as the trait")]
    pub fn new(root: PathBuf) -> Arc<dyn Disk> {
        Arc::new(RealDisk { root })
    }
}

#[async_trait]
impl Disk for RealDisk {
    async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => {}
            OpenMode::Write => {
                options.write(true);
            }
            OpenMode::CreateNew => {
                options.write(true).create_new(true);
            }
        }
        Ok(Box::new(RealFile(options.open(self.root.join(path))?)))
    }

    async fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(self.root.join(path))
    }

    async fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.root.join(path))? {
            // A name that is not UTF-8 is not one of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    async fn exists(&self, path: &Path) -> io::Result<bool> {
        self.root.join(path).try_exists()
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(self.root.join(from), self.root.join(to))
    }

    async fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(self.root.join(path))
    }

    async fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(self.root.join(path))?.sync_all()
    }
}

struct RealFile(fs::File);

#[async_trait]
impl File for RealFile {
    async fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        let mut buffer = BytesMut::zeroed(length);
        let mut filled = 0;
        while filled < length {
            match self.0.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        buffer.truncate(filled);
        Ok(buffer.freeze())
    }

    async fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    async fn sync_data(&self) -> io::Result<()> {
        // fdatasync; on macOS the standard library calls F_FULLFSYNC, without which the drive's cache is not flushed
        // (ENV-2).
        self.0.sync_data()
    }

    async fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}
