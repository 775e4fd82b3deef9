//! Which of a replica's directories is its tablet.
//!
//! The file `CURRENT-tablet` holds one line: the directory's name, a space, the CRC-32C of the name in hexadecimal.

use std::path::Path;
use std::{fs, io};

use strata_storage::{StorageError, StorageResult};

use crate::{error, files};

/// The file's name.
pub(crate) const POINTER: &str = "CURRENT-tablet";

/// The directory that is the tablet of the replica at `home`, if it has one.
pub(crate) fn read(home: &Path) -> StorageResult<Option<String>> {
    let path = home.join(POINTER);
    let line = match fs::read(&path) {
        Ok(line) => line,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error::of_file(&error, &path)),
    };
    let name = parse(&line).ok_or_else(|| StorageError::Corrupt {
        file: path.display().to_string(),
        detail: "not a tablet's name and its checksum".into(),
    })?;
    Ok(Some(name))
}

/// Durably and atomically makes `name` the tablet: it must be whole and durable by now (ROCKS-1).
pub(crate) fn write(home: &Path, name: &str) -> StorageResult<()> {
    files::replace(home, POINTER, line(name).as_bytes())
}

/// Durably removes the pointer: the replica has no tablet any more.
pub(crate) fn remove(home: &Path) -> StorageResult<()> {
    files::remove_file(&home.join(POINTER))?;
    files::sync_directory(home)
}

fn line(name: &str) -> String {
    format!("{name} {:08x}\n", crc32c::crc32c(name.as_bytes()))
}

fn parse(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (name, _) = text.split_once(' ')?;
    (line(name) == text && name.starts_with(crate::directory::TABLET)).then(|| name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_back_and_any_damage_is_seen() {
        let good = line("tablet-12");
        assert_eq!(parse(good.as_bytes()).as_deref(), Some("tablet-12"));
        for at in 0..good.len() {
            let mut bad = good.clone().into_bytes();
            bad[at] ^= 1;
            assert_eq!(parse(&bad), None, "byte {at}");
            assert_eq!(parse(&good.as_bytes()[..at]), None, "cut at {at}");
        }
    }
}
