//! The few file operations of our own.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use strata_storage::StorageResult;

use crate::error;

/// Makes the entries of a directory durable.
pub(crate) fn sync_directory(path: &Path) -> StorageResult<()> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(|error| error::of_file(&error, path))
}

/// Makes a directory, and its entry in the parent durable. It may exist.
pub(crate) fn make_directory(path: &Path) -> StorageResult<()> {
    fs::create_dir_all(path).map_err(|error| error::of_file(&error, path))?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_directory(parent),
        _ => Ok(()),
    }
}

/// Replaces a file: after a crash it holds the old or the new bytes, never a mix.
pub(crate) fn replace(directory: &Path, name: &str, bytes: &[u8]) -> StorageResult<()> {
    let (target, temporary) = (directory.join(name), directory.join(format!("{name}.tmp")));
    let write = || -> io::Result<()> {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, &target)
    };
    write().map_err(|error| error::of_file(&error, &target))?;
    sync_directory(directory)
}

/// Names of the entries of a directory, in order; none if it does not exist. Names that are not UTF-8 are not ours.
pub(crate) fn entries(directory: &Path) -> StorageResult<Vec<String>> {
    let read = || -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort();
        Ok(names)
    };
    match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        result => result.map_err(|error| error::of_file(&error, directory)),
    }
}

/// Removes a directory and all that is in it. It may be gone already.
pub(crate) fn remove_directory(path: &Path) -> StorageResult<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error::of_file(&error, path)),
        _ => Ok(()),
    }
}

/// Removes a file. It may be gone already.
pub(crate) fn remove_file(path: &Path) -> StorageResult<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error::of_file(&error, path)),
        _ => Ok(()),
    }
}
