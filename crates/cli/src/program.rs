//! What this very program is called by whoever wants to run it again.

use std::ffi::OsStr;
use std::path::Path;

const NAME: &str = "strata";

/// The word for a command line: the name, if a shell finds this program by it, and otherwise the path.
pub fn name() -> String {
    let directories = std::env::var_os("PATH").unwrap_or_default();
    let own = std::env::current_exe().and_then(|path| path.canonicalize());
    if own.is_ok_and(|own| is_found(&directories, &own)) { NAME.to_owned() } else { quoted(path()) }
}

/// Where it is.
pub fn path() -> String {
    std::env::current_exe().map_or_else(|_| NAME.to_owned(), |path| path.display().to_string())
}

/// Whether the first program of that name is `own`, a path without links.
fn is_found(directories: &OsStr, own: &Path) -> bool {
    let found = std::env::split_paths(directories).map(|directory| directory.join(NAME)).find(|path| path.is_file());
    found.is_some_and(|found| found.canonicalize().is_ok_and(|found| found == own))
}

/// As a Unix shell wants it.
pub fn quoted(word: String) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) { word } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_enough_where_a_shell_finds_it() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let directories = [place.path().join("nothing"), place.path().to_owned()];
        let directories = std::env::join_paths(directories).expect("two paths");
        assert!(!is_found(&directories, place.path()));
        let program = place.path().join(NAME);
        std::fs::write(&program, "").expect("writable");
        assert!(is_found(&directories, &program.canonicalize().expect("it is there")));
        assert!(!is_found(&directories, &place.path().join("another")), "an earlier installation");
    }

    #[test]
    fn words_are_quoted_when_they_must_be() {
        assert_eq!(quoted("/tmp/demo-1/n1".to_owned()), "/tmp/demo-1/n1");
        assert_eq!(quoted("my demo's".to_owned()), r"'my demo'\''s'");
    }
}
