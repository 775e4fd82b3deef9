//! One process per data directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

/// A data directory that this process owns. Dropping it gives it up; so does the end of the process, however it ends:
/// the lock is the kernel's, the file `LOCK` only says whose it is.
#[derive(Debug)]
pub struct DataDirectory {
    path: PathBuf,
    lock: File,
}

/// The data directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataDirectoryError {
    /// Another process has it.
    #[error("data directory {} is in use by {holder}", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
        /// Who has it, as far as the `LOCK` file tells.
        holder: String,
    },
    /// It cannot be created or written.
    #[error("data directory {} cannot be {verb}: {source}", path.display())]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// What was tried.
        verb: &'static str,
        /// What the system says.
        source: std::io::Error,
    },
}

impl DataDirectoryError {
    /// The next step.
    pub fn hint(&self) -> String {
        match self {
            DataDirectoryError::InUse { .. } => {
                "stop that process, or give this node a directory of its own with --data DIR".to_owned()
            }
            DataDirectoryError::Unusable { .. } => {
                "check its permissions and the room on its disk, or choose another one with --data DIR".to_owned()
            }
        }
    }
}

impl DataDirectory {
    /// Creates the directory if there is none, and takes its lock. Nothing in it is read before that but, by who does not
    /// get it, the name of who has it (SERVER-1).
    pub fn open(path: &Path) -> Result<DataDirectory, DataDirectoryError> {
        let failed = |verb| move |source| DataDirectoryError::Unusable { path: path.to_owned(), verb, source };
        std::fs::create_dir_all(path).map_err(failed("created"))?;
        let name = path.join("LOCK");
        let mut options = OpenOptions::new();
        // Not truncated: until the lock is taken, its content belongs to the holder.
        options.read(true).write(true).create(true).truncate(false);
        let lock = options.open(name).map_err(failed("opened"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(DataDirectoryError::InUse { path: path.to_owned(), holder: holder(lock) });
            }
            Err(TryLockError::Error(source)) => return Err(failed("locked")(source)),
        }
        let mut directory = DataDirectory { path: path.to_owned(), lock };
        let line = format!("process {}", std::process::id());
        directory.write_holder(&line).map_err(failed("written"))?;
        Ok(directory)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn write_holder(&mut self, line: &str) -> std::io::Result<()> {
        self.lock.set_len(0)?;
        self.lock.rewind()?;
        writeln!(self.lock, "{line}")
    }
}

fn holder(mut lock: File) -> String {
    let mut text = String::new();
    match lock.read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => text.trim().to_owned(),
        _ => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SERVER-1
    #[test]
    fn the_second_one_is_told_who_has_it() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let path = place.path().join("deep/inside");
        let first = DataDirectory::open(&path).expect("nobody has it");
        let error = DataDirectory::open(&path).expect_err("it is taken");
        let expected = format!("data directory {} is in use by process {}", path.display(), std::process::id());
        assert_eq!(error.to_string(), expected);
        drop(first);
        DataDirectory::open(&path).expect("it was given up");
    }

    #[test]
    fn a_file_is_no_directory() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let path = place.path().join("file");
        std::fs::write(&path, "x").expect("writable");
        let error = DataDirectory::open(&path).expect_err("it is a file");
        assert!(matches!(error, DataDirectoryError::Unusable { verb: "created", .. }), "{error}");
    }
}
