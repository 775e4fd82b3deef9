//! RocksDB's and the file system's errors, by what the caller must do.

use std::io;
use std::path::Path;

use rocksdb::ErrorKind;
use strata_storage::StorageError;

/// What RocksDB and the operating system say when there is no room. RocksDB hands errors over as text only.
const FULL: [&str; 3] = ["No space left on device", "Disk quota exceeded", "Space limit reached"];

/// What the operating system says when a file of a database is gone.
const MISSING: &str = "No such file or directory";

/// An error of a database in `directory`.
pub(crate) fn of_rocksdb(error: &rocksdb::Error, directory: &Path) -> StorageError {
    classify(error.kind(), error.as_ref().to_string(), directory)
}

fn classify(kind: ErrorKind, detail: String, directory: &Path) -> StorageError {
    let is_full = FULL.iter().any(|text| detail.contains(text));
    match kind {
        // A full disk can surface as each of these: RocksDB wraps the first error of a background job.
        ErrorKind::IOError | ErrorKind::Corruption | ErrorKind::Incomplete | ErrorKind::Unknown if is_full => {
            StorageError::Full { detail }
        }
        ErrorKind::Corruption => corrupt(detail, directory),
        ErrorKind::IOError if detail.contains(MISSING) => corrupt(detail, directory),
        ErrorKind::IOError
        | ErrorKind::Incomplete
        | ErrorKind::NotFound
        | ErrorKind::NotSupported
        | ErrorKind::InvalidArgument
        | ErrorKind::MergeInProgress
        | ErrorKind::ShutdownInProgress
        | ErrorKind::TimedOut
        | ErrorKind::Aborted
        | ErrorKind::Busy
        | ErrorKind::Expired
        | ErrorKind::TryAgain
        | ErrorKind::CompactionTooLarge
        | ErrorKind::ColumnFamilyDropped
        | ErrorKind::Unknown => StorageError::Io { detail },
    }
}

/// An error of opening the database in `directory`, which exists as far as its pointer says. There, a missing `CURRENT`
/// comes as an invalid argument ("does not exist").
pub(crate) fn of_open(error: &rocksdb::Error, directory: &Path) -> StorageError {
    match (error.kind(), of_rocksdb(error, directory)) {
        (ErrorKind::InvalidArgument | ErrorKind::NotFound, StorageError::Io { detail }) => corrupt(detail, directory),
        (_, mapped) => mapped,
    }
}

/// An error of a file operation of ours.
pub(crate) fn of_file(error: &io::Error, path: &Path) -> StorageError {
    let detail = format!("{}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StorageError::Full { detail },
        _ => StorageError::Io { detail },
    }
}

fn corrupt(detail: String, directory: &Path) -> StorageError {
    let file = match named_file(&detail) {
        Some(name) => directory.join(name),
        None => directory.to_path_buf(),
    };
    StorageError::Corrupt { file: file.display().to_string(), detail }
}

/// The database file that a message names, without its directory. A message about a table may go on to suspect the
/// manifest: the table is the more precise answer.
fn named_file(message: &str) -> Option<&str> {
    let is_separator = |c: char| c.is_whitespace() || matches!(c, '/' | ':' | ',' | ';' | '\'' | '"' | '(' | ')');
    let names = || message.split(is_separator).map(|name| name.trim_end_matches('.'));
    let is_table = |name: &&str| name.ends_with(".sst") || name.ends_with(".blob");
    let is_index = |name: &&str| name.starts_with("MANIFEST-") || *name == "CURRENT";
    names().find(is_table).or_else(|| names().find(is_index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_a_lost_file_and_a_failing_disk_are_told_apart() {
        let of = |kind, detail: &str| classify(kind, detail.to_string(), Path::new("/d"));
        let full = "IO error: No space left on device: While appending to file: /d/000012.sst: No space left on device";
        assert!(matches!(of(ErrorKind::IOError, full), StorageError::Full { .. }));
        let lost = "IO error: No such file or directory: While open a file for random read: /d/000012.sst: gone";
        let expected = StorageError::Corrupt { file: "/d/000012.sst".into(), detail: lost.into() };
        assert_eq!(of(ErrorKind::IOError, lost), expected);
        let failing = "IO error: Input/output error: While fsync: /d/000012.sst: Input/output error";
        assert!(matches!(of(ErrorKind::IOError, failing), StorageError::Io { .. }));
        assert!(matches!(of(ErrorKind::Busy, "Resource busy: "), StorageError::Io { .. }));
        // How RocksDB says that writes are stopped by an error of a background job.
        let stopped = |error: &str| of(ErrorKind::Incomplete, &format!("Result incomplete: {error}"));
        assert!(matches!(stopped(full), StorageError::Full { .. }));
        assert!(matches!(stopped(failing), StorageError::Io { .. }));
    }

    #[test]
    fn the_damaged_file_is_named() {
        let cases = [
            (
                "Corruption: block checksum mismatch: stored = 1, computed = 2, type = 4 in /d/t/000012.sst offset 0 size 9",
                Some("000012.sst"),
            ),
            (
                "Corruption: Can't access /000009.sst: IO error: No such file or directory: while stat a file: /d/000009.sst",
                Some("000009.sst"),
            ),
            (
                "Corruption: Can't access /000009.sst: IO error: gone. The file /d/MANIFEST-000005 may be corrupted.",
                Some("000009.sst"),
            ),
            ("Corruption: checksum mismatch in file /d/MANIFEST-000005", Some("MANIFEST-000005")),
            ("Corruption: CURRENT file does not end with newline", Some("CURRENT")),
            ("Corruption: bad entry in block", None),
        ];
        for (message, expected) in cases {
            assert_eq!(named_file(message), expected, "{message}");
        }
    }
}
