//! Where the data of a demo lies, and what becomes of it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use strata_server::{DataDirectory, DataDirectoryError};

use crate::args::DemoArgs;
use crate::demo::Layout;
use crate::failure::Failure;

const NODES_DEFAULT: u32 = 3;
const PORT_DEFAULT: u16 = 7400;
const SHARDS_DEFAULT: u32 = 4;

/// The directory of a demo. A temporary one is removed when this is dropped.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    is_temporary: bool,
}

impl Directory {
    /// Chooses the directory and the layout in it: that of the kept demo, or a new one.
    pub fn open(args: &DemoArgs) -> Result<(Directory, Layout), Failure> {
        let directory = match &args.keep {
            Some(path) => Directory { path: absolute(path)?, is_temporary: false },
            None => Directory::temporary()?,
        };
        let kept = Layout::load(&directory.path).map_err(Failure::new)?;
        let layout = match kept {
            Some(kept) => agree(args, kept)?,
            None => {
                directory.check_fresh()?;
                Layout {
                    directory: directory.path.clone(),
                    nodes: args.nodes.unwrap_or(NODES_DEFAULT),
                    port: args.port.unwrap_or(PORT_DEFAULT),
                    shards: args.shards.unwrap_or(SHARDS_DEFAULT),
                    tls: args.tls,
                }
            }
        };
        Ok((directory, layout))
    }

    /// Whether the data goes away with the demo.
    pub fn is_temporary(&self) -> bool {
        self.is_temporary
    }

    /// Removes a temporary one before its end, and says how that went. The error is a sentence.
    pub fn remove(mut self) -> Result<(), String> {
        self.is_temporary = false;
        if let Some(reason) = in_use(&self.path) {
            return Err(format!("the data of this demo stays in {}: {reason}", self.path.display()));
        }
        match std::fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(format!("the data of this demo stays in {}: it cannot be removed: {error}", self.path.display()))
            }
            _ => Ok(()),
        }
    }

    fn temporary() -> Result<Directory, Failure> {
        let name = format!("strata-demo-{}", std::process::id());
        let mut path = std::env::temp_dir().join(&name);
        let mut number = 0_u32;
        loop {
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(Directory { path, is_temporary: true }),
                // One that was killed has left it behind: in a container each demo has the same process id.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    number += 1;
                    path.set_file_name(format!("{name}-{number}"));
                }
                Err(error) => return Err(Failure::new(format!("{} cannot be created: {error}", path.display()))),
            }
        }
    }

    /// Somebody else's files must not be mixed with ours.
    fn check_fresh(&self) -> Result<(), Failure> {
        match std::fs::read_dir(&self.path).map(|mut entries| entries.next().is_none()) {
            Ok(false) => {
                Err(Failure::new(format!("{} is neither empty nor the directory of a demo", self.path.display()))
                    .hint("give --keep a new directory; a node's own data directory belongs to `strata start --data`"))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.is_temporary && in_use(&self.path).is_none() {
            // Nobody is left to tell.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// Why the data must stay, if a node has it that was killed, and started again by hand.
fn in_use(path: &Path) -> Option<String> {
    let nodes = std::fs::read_dir(path).ok()?.flatten().map(|entry| entry.path());
    let locked = nodes.filter(|node| node.join("LOCK").exists()).map(|node| DataDirectory::open(&node));
    locked
        .filter_map(Result::err)
        .find(|error| matches!(error, DataDirectoryError::InUse { .. }))
        .map(|it| it.to_string())
}

/// The flags must not contradict what the cluster in the directory already is.
fn agree(args: &DemoArgs, kept: Layout) -> Result<Layout, Failure> {
    let asked = [
        ("--nodes", args.nodes, kept.nodes),
        ("--port", args.port.map(u32::from), u32::from(kept.port)),
        ("--shards", args.shards, kept.shards),
    ];
    match asked.into_iter().find(|(_, asked, is)| asked.is_some_and(|asked| asked != *is)) {
        Some((flag, _, is)) => {
            Err(Failure::new(format!("the demo in {} was made with {flag} {is}", kept.directory.display()))
                .hint(format!("leave out {flag}, or give --keep another directory")))
        }
        None => Ok(Layout { tls: kept.tls || args.tls, ..kept }),
    }
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    Ok(std::path::absolute(path)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(keep: Option<&Path>, nodes: Option<u32>) -> DemoArgs {
        DemoArgs { nodes, port: None, shards: None, keep: keep.map(Path::to_owned), tls: false, no_shell: true }
    }

    #[test]
    fn a_kept_directory_decides() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let keep = place.path().join("kept");
        let (_, layout) = Directory::open(&args(Some(&keep), Some(5))).expect("new");
        layout.store().expect("writable");
        let (_, again) = Directory::open(&args(Some(&keep), None)).expect("kept");
        assert_eq!(again, layout);
        let failure = Directory::open(&args(Some(&keep), Some(3))).expect_err("a contradiction");
        assert!(failure.message.contains("--nodes 5"), "{failure}");
    }

    #[test]
    fn foreign_directories_are_left_alone() {
        let place = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(place.path().join("thesis.doc"), "x").expect("writable");
        assert!(Directory::open(&args(Some(place.path()), None)).is_err());
    }

    #[test]
    fn a_temporary_directory_goes_away() {
        let (directory, layout) = Directory::open(&args(None, None)).expect("a temporary directory");
        layout.store().expect("writable");
        assert!(layout.directory.exists());
        drop(directory);
        assert!(!layout.directory.exists());
    }

    #[test]
    fn what_another_demo_left_behind_is_in_nobodys_way() {
        let (first, first_layout) = Directory::open(&args(None, None)).expect("a temporary directory");
        let (second, second_layout) = Directory::open(&args(None, None)).expect("another one of the same process");
        assert_ne!(first_layout.directory, second_layout.directory);
        assert_eq!((first.remove(), second.remove()), (Ok(()), Ok(())));
        assert!(!first_layout.directory.exists() && !second_layout.directory.exists());
    }

    #[test]
    fn a_directory_that_stays_is_named_and_one_that_is_gone_is_gone() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let of = |path: &Path| Directory { path: path.to_owned(), is_temporary: true };
        // No directory, so it cannot be removed as one.
        let file = place.path().join("file");
        std::fs::write(&file, "x").expect("writable");
        let sentence = of(&file).remove().expect_err("it stays");
        assert!(sentence.contains(&file.display().to_string()), "{sentence}");
        assert_eq!(of(&place.path().join("nothing")).remove(), Ok(()));
    }

    #[test]
    fn what_a_node_still_has_stays() {
        let (directory, layout) = Directory::open(&args(None, None)).expect("a temporary directory");
        let node = DataDirectory::open(&layout.data(2)).expect("nobody has it");
        let again = Directory { path: directory.path.clone(), is_temporary: true };
        let sentence = again.remove().expect_err("it is in use");
        assert!(sentence.contains(&format!("process {}", std::process::id())), "{sentence}");
        drop(node);
        assert_eq!(directory.remove(), Ok(()));
        assert!(!layout.directory.exists());
    }
}
