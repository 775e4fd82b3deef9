//! Names of checkpoint files, which come from other nodes.

use crate::{StorageError, StorageResult};

/// Longest file name. RocksDB's are below 20 bytes; every file system takes 255.
pub const FILE_NAME_BYTES_MAX: usize = 64;

/// Accepts ASCII letters, digits, `.`, `_` and `-`, not beginning with a dot: such a name can never leave the directory
/// that it is joined to.
pub fn check_file_name(name: &str) -> StorageResult<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() || name.len() > FILE_NAME_BYTES_MAX || name.starts_with('.') || !name.bytes().all(allowed) {
        // The name may be long or hold control characters: it comes from the wire and goes to a log.
        let shown: String = name.chars().take(FILE_NAME_BYTES_MAX).collect();
        return Err(StorageError::Invalid { detail: format!("bad file name {shown:?}") });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_rocksdb_uses_and_nothing_that_leaves_the_directory() {
        for good in ["CURRENT", "MANIFEST-000005", "000012.sst", "OPTIONS-000007", "items-0001", "a..b"] {
            assert_eq!(check_file_name(good), Ok(()), "{good}");
        }
        let long = "x".repeat(FILE_NAME_BYTES_MAX + 1);
        for bad in ["", ".", "..", "../x", "/x", "a/b", "a\\b", ".hidden", "a\0b", "a b", "ä", &long] {
            assert!(matches!(check_file_name(bad), Err(StorageError::Invalid { .. })), "{bad:?}");
        }
    }
}
