//! The files of the repository.

use std::fs;
use std::path::{Path, PathBuf};

/// Its root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests crate lies in the repository").to_path_buf()
}

/// A file with its path from the root, with `/`.
pub(crate) struct SourceFile {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl SourceFile {
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether it is test code as a whole; unit tests inside a file do not make it so.
    pub(crate) fn is_test(&self) -> bool {
        self.path.split('/').any(|part| part == "tests" || part == "tests.rs" || part.ends_with("_test.rs"))
    }
}

/// All text files below the root, except build outputs and what git keeps.
pub(crate) fn all() -> Vec<SourceFile> {
    let mut files = Vec::new();
    collect(&root(), "", &mut files);
    files.sort_by(|left, right| left.path.cmp(&right.path));
    files
}

fn collect(directory: &Path, prefix: &str, files: &mut Vec<SourceFile>) {
    for entry in fs::read_dir(directory).expect("a directory of the repository") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("names are UTF-8");
        if matches!(name.as_str(), ".git" | "target" | "node_modules") {
            continue;
        }
        let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        let kind = entry.file_type().expect("a type");
        if kind.is_dir() {
            collect(&entry.path(), &path, files);
        } else if kind.is_file() {
            // What is not UTF-8 (an image, a captured frame) has no lines to check.
            files.extend(fs::read_to_string(entry.path()).ok().map(|text| SourceFile { path, text }));
        }
    }
}

/// One file, which must exist.
pub(crate) fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
