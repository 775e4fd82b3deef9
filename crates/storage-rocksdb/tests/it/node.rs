//! A node's tablets in a temporary directory, which can be killed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use strata_storage::conformance::Harness;
use strata_storage::{StorageError, StorageResult, Tablets};
use strata_storage_rocksdb::{RocksOptions, RocksTablets};
use tempfile::TempDir;

pub(crate) struct RocksNode {
    // Dropped before the directory that it lives in.
    tablets: Arc<dyn Tablets>,
    root: TempDir,
    /// Bytes of a bundle, and of memory.
    sizes: (usize, usize),
}

impl RocksNode {
    pub(crate) fn new() -> RocksNode {
        RocksNode::with(RocksOptions::default().bundle_bytes, 32 << 20)
    }

    /// With so many bytes of recent rows of a tablet in no order, and with so much memory.
    pub(crate) fn with(bundle_bytes: usize, memory_bytes: usize) -> RocksNode {
        let (root, sizes) = (tempfile::tempdir().unwrap(), (bundle_bytes, memory_bytes));
        RocksNode { tablets: start(root.path(), sizes), root, sizes }
    }

    /// What [`RocksTablets`] was given.
    pub(crate) fn shards(&self) -> PathBuf {
        self.root.path().join("shards")
    }

    /// The directory of a replica's only tablet.
    pub(crate) fn tablet_directory(&self, replica: u64) -> PathBuf {
        let home = self.shards().join(replica.to_string());
        let mut names = listing(&home).into_keys().filter(|path| path.to_string_lossy().starts_with("tablet-"));
        let first = names.find_map(|path| Some(path.components().next()?.as_os_str().to_owned())).unwrap();
        home.join(first)
    }

    /// Stops without a crash. All handles must be gone.
    pub(crate) fn restart(&mut self) {
        self.tablets = start(self.root.path(), self.sizes);
    }
}

impl Harness for RocksNode {
    fn tablets(&self) -> Arc<dyn Tablets> {
        Arc::clone(&self.tablets)
    }

    /// A killed process leaves the files as they are at that moment. Here, as well: they are copied while the databases
    /// are open, and the node goes on with the copy; whatever the old handles do later, they do to the old files.
    fn crash(&mut self) {
        let copy = tempfile::tempdir().unwrap();
        loop {
            let before = listing(self.root.path());
            let target = copy.path().join("shards");
            if target.exists() {
                fs::remove_dir_all(&target).unwrap();
            }
            // A background job may add or remove files meanwhile: then once more.
            if copy_tree(&self.shards(), &target).is_ok() && listing(self.root.path()) == before {
                break;
            }
        }
        self.tablets = start(copy.path(), self.sizes);
        self.root = copy;
    }
}

fn start(root: &Path, (bundle_bytes, memory_bytes): (usize, usize)) -> Arc<dyn Tablets> {
    let options = RocksOptions { memory_bytes, bundle_bytes, ..RocksOptions::default() };
    Arc::new(RocksTablets::new(root.join("shards"), options).unwrap())
}

/// Does something that may have to wait until RocksDB has merged what it was given before.
pub(crate) fn patiently(call: impl Fn() -> StorageResult<()>) {
    while let Err(error) = call() {
        assert!(matches!(error, StorageError::Behind { .. }), "{error}");
        thread::yield_now();
    }
}

/// All files below a directory, with their lengths.
pub(crate) fn listing(directory: &Path) -> BTreeMap<PathBuf, u64> {
    let mut files = BTreeMap::new();
    let mut rest = vec![directory.to_path_buf()];
    while let Some(next) = rest.pop() {
        for entry in fs::read_dir(next).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                rest.push(entry.path());
            } else {
                files.insert(entry.path().strip_prefix(directory).unwrap().to_path_buf(), metadata.len());
            }
        }
    }
    files
}

fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
