//! Names and files of one simulated disk.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::SimRng;
use super::inode::Inode;
use crate::OpenMode;

pub(super) type InodeRef = Arc<Mutex<Inode>>;

/// The names as the running node sees them, as they are on the device, and the changes in between.
#[derive(Default)]
pub(super) struct Files {
    live: Names,
    durable: Names,
    pending: Vec<NameChange>,
    next_inode: u64,
    capacity: Option<u64>,
}

#[derive(Clone, Default)]
struct Names {
    files: BTreeMap<PathBuf, InodeRef>,
    directories: BTreeSet<PathBuf>,
}

/// A change of names that no [`Files::sync_dir`] has made durable yet.
enum NameChange {
    MakeDirectory(PathBuf),
    Link(PathBuf, InodeRef),
    Unlink(PathBuf),
    Rename { from: PathBuf, to: PathBuf, inode: InodeRef },
}

impl NameChange {
    fn touches(&self, directory: &Path) -> bool {
        match self {
            NameChange::MakeDirectory(path) | NameChange::Link(path, _) | NameChange::Unlink(path) => {
                parent(path) == directory
            }
            NameChange::Rename { from, to, .. } => parent(from) == directory || parent(to) == directory,
        }
    }
}

impl Names {
    fn has_directory(&self, path: &Path) -> bool {
        path.as_os_str().is_empty() || self.directories.contains(path)
    }

    fn apply(&mut self, change: &NameChange) {
        match change {
            NameChange::MakeDirectory(path) => {
                self.directories.insert(path.clone());
            }
            NameChange::Link(path, inode) => {
                self.files.insert(path.clone(), inode.clone());
            }
            NameChange::Unlink(path) => {
                self.files.remove(path);
            }
            NameChange::Rename { from, to, inode } => {
                if self.files.get(from).is_some_and(|found| Arc::ptr_eq(found, inode)) {
                    self.files.remove(from);
                }
                self.files.insert(to.clone(), inode.clone());
            }
        }
    }

    /// Drops what hangs below a directory that does not exist.
    fn prune(&mut self) {
        let all = std::mem::take(&mut self.directories);
        for path in all {
            // In path order parents come first.
            if self.has_directory(parent(&path)) {
                self.directories.insert(path);
            }
        }
        let files = std::mem::take(&mut self.files);
        self.files = files.into_iter().filter(|(path, _)| self.has_directory(parent(path))).collect();
    }
}

impl Files {
    pub(super) fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<InodeRef> {
        let path = normal(path);
        let found = self.live.files.get(&path).cloned();
        match (mode, found) {
            (OpenMode::CreateNew, Some(_)) => Err(io::ErrorKind::AlreadyExists.into()),
            (OpenMode::CreateNew, None) => {
                if !self.live.has_directory(parent(&path)) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                self.reserve(1)?;
                self.next_inode += 1;
                let inode = Arc::new(Mutex::new(Inode::new(self.next_inode)));
                self.change(NameChange::Link(path, inode.clone()));
                Ok(inode)
            }
            (_, Some(inode)) => Ok(inode),
            (_, None) => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn create_dir_all(&mut self, path: &Path) -> io::Result<()> {
        let path = normal(path);
        let mut ancestors: Vec<&Path> = path.ancestors().filter(|path| !path.as_os_str().is_empty()).collect();
        ancestors.reverse();
        for directory in ancestors {
            if self.live.files.contains_key(directory) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            if !self.live.has_directory(directory) {
                self.change(NameChange::MakeDirectory(directory.to_path_buf()));
            }
        }
        Ok(())
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let path = normal(path);
        if !self.live.has_directory(&path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let all = self.live.files.keys().chain(self.live.directories.iter());
        let mut names: Vec<String> = all
            .filter(|name| parent(name) == path)
            .filter_map(|name| name.file_name())
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        names.sort();
        Ok(names)
    }

    pub(super) fn exists(&self, path: &Path) -> bool {
        let path = normal(path);
        self.live.has_directory(&path) || self.live.files.contains_key(&path)
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (normal(from), normal(to));
        let inode = self.live.files.get(&from).cloned().ok_or(io::ErrorKind::NotFound)?;
        if !self.live.has_directory(parent(&to)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if from != to {
            self.change(NameChange::Rename { from, to, inode });
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        let path = normal(path);
        if !self.live.files.contains_key(&path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.change(NameChange::Unlink(path));
        Ok(())
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let path = normal(path);
        if !self.live.has_directory(&path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        for change in std::mem::take(&mut self.pending) {
            if change.touches(&path) {
                self.durable.apply(&change);
            } else {
                self.pending.push(change);
            }
        }
        Ok(())
    }

    pub(super) fn write(&mut self, inode: &InodeRef, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let growth = (offset + bytes.len() as u64).saturating_sub(inode.lock().length());
        self.reserve(growth)?;
        inode.lock().write(offset, bytes)
    }

    pub(super) fn flip_bit(&mut self, path: &Path, offset: u64) -> io::Result<()> {
        let inode = self.live.files.get(&normal(path)).ok_or(io::ErrorKind::NotFound)?;
        inode.lock().flip_bit(offset)
    }

    pub(super) fn set_capacity(&mut self, capacity: Option<u64>) {
        self.capacity = capacity;
    }

    pub(super) fn all(&self) -> Vec<(PathBuf, u64)> {
        self.live.files.iter().map(|(path, inode)| (path.clone(), inode.lock().length())).collect()
    }

    /// Power loss: of the pending name changes some happened, of the dirty sectors some were written (SIM-2).
    pub(super) fn crash(&mut self, rng: &SimRng) {
        let mode = rng.below(4);
        for change in std::mem::take(&mut self.pending) {
            if mode == 0 || (mode > 1 && rng.coin()) {
                self.durable.apply(&change);
            }
        }
        self.durable.prune();
        self.live = self.durable.clone();
        for inode in self.live_inodes().into_values() {
            inode.lock().crash(rng);
        }
    }

    pub(super) fn end_generation(&mut self) {
        for inode in self.live_inodes().into_values() {
            inode.lock().forget_failure();
        }
    }

    fn live_inodes(&self) -> BTreeMap<u64, InodeRef> {
        self.live.files.values().map(|inode| (inode.lock().id, inode.clone())).collect()
    }

    fn change(&mut self, change: NameChange) {
        self.live.apply(&change);
        self.pending.push(change);
    }

    fn reserve(&self, growth: u64) -> io::Result<()> {
        let Some(capacity) = self.capacity else { return Ok(()) };
        let used: u64 = self.live.files.values().map(|inode| inode.lock().length()).sum();
        if growth > 0 && used + growth > capacity { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

fn normal(path: &Path) -> PathBuf {
    path.components().filter(|part| matches!(part, std::path::Component::Normal(_))).collect()
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}
