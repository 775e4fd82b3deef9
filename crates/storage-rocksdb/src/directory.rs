//! Who holds which directory.
//!
//! A tablet's directory may be removed only when its last holder is gone (ROCKS-2), and opened again only when RocksDB
//! has closed it, which takes the time of a flush. So every directory in use has exactly one [`Directory`], dropped
//! after whatever uses it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Condvar, Mutex};
use strata_storage::StorageResult;

use crate::files;

/// What tablets' directories are called: this and a number.
pub(crate) const TABLET: &str = "tablet-";

/// What checkpoints' directories are called: this and a number.
pub(crate) const CHECKPOINT: &str = "checkpoint-";

/// All directories in use by this process.
#[derive(Default)]
pub(crate) struct Directories {
    held: Mutex<BTreeSet<PathBuf>>,
    released: Condvar,
}

impl Directories {
    /// Holds a directory, after its former holder, if any, has let go of it.
    pub(crate) fn hold(self: &Arc<Directories>, path: PathBuf) -> Directory {
        let mut held = self.held.lock();
        while held.contains(&path) {
            self.released.wait(&mut held);
        }
        held.insert(path.clone());
        Directory { path, doomed: AtomicBool::new(false), directories: Arc::clone(self) }
    }

    /// Holds a new name in `home`, above all that are in use there; the directory is not made. It is doomed until
    /// [`Directory::keep`].
    pub(crate) fn hold_new(self: &Arc<Directories>, home: &Path, prefix: &str) -> StorageResult<Directory> {
        let mut held = self.held.lock();
        let on_disk = files::entries(home)?;
        let in_use =
            held.iter().filter(|path| path.parent() == Some(home)).filter_map(|path| path.file_name()?.to_str());
        let numbers = on_disk.iter().map(String::as_str).chain(in_use).filter_map(|name| number(name, prefix));
        let path = home.join(format!("{prefix}{}", numbers.max().unwrap_or(0) + 1));
        held.insert(path.clone());
        Ok(Directory { path, doomed: AtomicBool::new(true), directories: Arc::clone(self) })
    }

    /// Removes the directories of ours in `home` that nobody holds, except `keep`, and half-written files.
    pub(crate) fn sweep(self: &Arc<Directories>, home: &Path, keep: Option<&str>) -> StorageResult<()> {
        // Held while they are removed: large ones take long, and others want names of their own meanwhile.
        for leftover in self.hold_leftovers(home, keep)? {
            tracing::info!(path = %leftover.path.display(), "removing a leftover directory");
            files::remove_directory(&leftover.path)?;
        }
        files::remove_file(&home.join(format!("{}.tmp", crate::pointer::POINTER)))
    }

    fn hold_leftovers(self: &Arc<Directories>, home: &Path, keep: Option<&str>) -> StorageResult<Vec<Directory>> {
        let mut held = self.held.lock();
        let mut leftovers = Vec::new();
        for name in files::entries(home)? {
            let path = home.join(&name);
            // RocksDB builds a checkpoint under this name first.
            let owner = home.join(name.strip_suffix(".tmp").unwrap_or(&name));
            let is_ours = name.starts_with(TABLET) || name.starts_with(CHECKPOINT);
            if is_ours && Some(name.as_str()) != keep && !held.contains(&owner) && held.insert(path.clone()) {
                leftovers.push(Directory { path, doomed: AtomicBool::new(false), directories: Arc::clone(self) });
            }
        }
        Ok(leftovers)
    }

    #[cfg(test)]
    fn is_held(&self, path: &Path) -> bool {
        self.held.lock().contains(path)
    }
}

fn number(name: &str, prefix: &str) -> Option<u64> {
    let name = name.strip_suffix(".tmp").unwrap_or(name);
    name.strip_prefix(prefix)?.parse().ok()
}

/// One directory in use. Dropped last by whatever uses it.
pub(crate) struct Directory {
    path: PathBuf,
    doomed: AtomicBool,
    directories: Arc<Directories>,
}

impl Directory {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its last component.
    pub(crate) fn name(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).expect("names are made of a prefix and a number")
    }

    pub(crate) fn directories(&self) -> &Arc<Directories> {
        &self.directories
    }

    /// It stays when it is let go.
    pub(crate) fn keep(&self) {
        self.doomed.store(false, Ordering::SeqCst);
    }

    /// It is removed when it is let go.
    pub(crate) fn doom(&self) {
        self.doomed.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_doomed(&self) -> bool {
        self.doomed.load(Ordering::SeqCst)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.is_doomed()
            && let Err(error) = files::remove_directory(&self.path)
        {
            // Not lost: the next sweep tries again.
            tracing::warn!(path = %self.path.display(), %error, "cannot remove a directory that is no longer needed");
        }
        self.directories.held.lock().remove(&self.path);
        self.directories.released.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_directory_goes_when_it_is_doomed_and_let_go() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let directories = Arc::new(Directories::default());
        let first = directories.hold_new(home.path(), TABLET).expect("a new name");
        let second = directories.hold_new(home.path(), TABLET).expect("a new name");
        assert_eq!((first.name(), second.name()), ("tablet-1", "tablet-2"));
        fs::create_dir(first.path()).expect("a directory is made");
        fs::create_dir(second.path()).expect("a directory is made");
        first.keep();
        fs::create_dir(home.path().join("tablet-9")).expect("a directory is made");
        fs::create_dir(home.path().join("checkpoint-1.tmp")).expect("a directory is made");
        fs::create_dir(home.path().join("foreign")).expect("a directory is made");

        directories.sweep(home.path(), None).expect("a sweep");
        let left = files::entries(home.path()).expect("entries");
        assert_eq!(left, ["foreign", "tablet-1", "tablet-2"], "held directories and foreign ones stay");
        let path = first.path().to_path_buf();
        drop((first, second));
        assert!(!directories.is_held(&path));
        assert_eq!(files::entries(home.path()).expect("entries"), ["foreign", "tablet-1"]);
        directories.sweep(home.path(), Some("tablet-1")).expect("a sweep");
        assert_eq!(files::entries(home.path()).expect("entries"), ["foreign", "tablet-1"]);
        directories.sweep(home.path(), None).expect("a sweep");
        assert_eq!(files::entries(home.path()).expect("entries"), ["foreign"]);
    }
}
