//! Damaged files: each is found, and named.

use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use strata_storage::conformance::{Harness, contents};
use strata_storage::{Engine, StorageError, WriteBatch};
use strata_types::ReplicaId;

use crate::node::{RocksNode, listing};

const REPLICA: ReplicaId = ReplicaId(11);

/// A node with one flushed tablet that is closed again.
fn node() -> RocksNode {
    let mut node = RocksNode::new();
    let tablet = node.tablets().open(REPLICA).unwrap();
    for number in 0..200_u32 {
        let mut batch = WriteBatch::new();
        batch.put(Bytes::from(number.to_be_bytes().to_vec()), Bytes::from(vec![number as u8; 1_000]));
        tablet.write(batch).unwrap();
    }
    tablet.flush().unwrap();
    drop(tablet);
    node.restart();
    node
}

fn file_with(directory: &Path, part: &str) -> PathBuf {
    let mut names = listing(directory).into_keys();
    directory.join(names.rfind(|name| name.to_string_lossy().contains(part)).unwrap())
}

fn flip(path: &Path, offset: u64) {
    let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 4], offset).unwrap();
}

fn corrupt_file(error: StorageError) -> String {
    match error {
        StorageError::Corrupt { file, .. } => file,
        other => panic!("not reported as damage: {other}"),
    }
}

fn open(node: &RocksNode) -> Result<Arc<dyn Engine>, StorageError> {
    node.tablets().open(REPLICA)
}

#[test]
fn what_is_not_in_memory_is_not_read_by_a_thread_that_must_not_wait() {
    let node = node();
    let tablet = open(&node).unwrap();
    let key = 7_u32.to_be_bytes();
    assert_eq!(tablet.get_cached(&key), Err(StorageError::WouldBlock), "nothing was read since the start");
    let value = tablet.get(&key).unwrap();
    assert_eq!(value.as_ref().map(Bytes::len), Some(1_000));
    assert_eq!(tablet.get_cached(&key), Ok(value), "now its block is in memory");
}

#[test]
fn a_flipped_bit_in_a_block_is_found_when_it_is_read() {
    let node = node();
    let sst = file_with(&node.tablet_directory(11), ".sst");
    flip(&sst, 100);
    let tablet = open(&node).unwrap();
    let file = corrupt_file(contents(&*tablet).unwrap_err());
    assert_eq!(Path::new(&file), sst, "the report names the file");
    corrupt_file(tablet.get(&0_u32.to_be_bytes()).unwrap_err());
}

#[test]
fn missing_cut_and_garbled_files_are_found_on_opening() {
    type Damage = fn(&Path);
    let cases: [(&str, &str, Damage); 5] = [
        (".sst", ".sst", |path| fs::remove_file(path).unwrap()),
        (".sst", ".sst", |path| fs::OpenOptions::new().write(true).open(path).unwrap().set_len(50).unwrap()),
        ("MANIFEST", "MANIFEST", |path| flip(path, 20)),
        ("CURRENT", "CURRENT", |path| fs::write(path, "nothing").unwrap()),
        ("CURRENT", "tablet", |path| fs::remove_file(path).unwrap()),
    ];
    for (part, named, damage) in cases {
        let node = node();
        damage(&file_with(&node.tablet_directory(11), part));
        let file = corrupt_file(open(&node).err().unwrap());
        assert!(file.contains(named), "{part}: {file}");
    }
}

#[test]
fn a_damaged_pointer_is_reported_and_nothing_is_removed() {
    let node = node();
    let pointer = node.shards().join("11").join("CURRENT-tablet");
    let good = fs::read(&pointer).unwrap();
    fs::write(&pointer, "tablet-1 00000000\n").unwrap();
    assert_eq!(Path::new(&corrupt_file(open(&node).err().unwrap())), pointer);
    fs::write(&pointer, good).unwrap();
    assert_eq!(contents(&*open(&node).unwrap()).unwrap().len(), 200);
}

#[test]
fn a_named_tablet_that_is_gone_is_not_made_anew() {
    let node = node();
    let tablet = node.tablet_directory(11);
    fs::remove_dir_all(tablet).unwrap();
    corrupt_file(open(&node).err().unwrap());
    corrupt_file(open(&node).err().unwrap());
}

/// RocksDB takes a file's name away when it could not make durable that it has it, and may have written it down all the same.
#[test]
fn a_file_that_a_failed_sync_left_without_its_name_gets_it_back_and_no_other_file_does() {
    let node = node();
    let directory = node.tablet_directory(11);
    let sst = file_with(&directory, ".sst");
    fs::rename(&sst, directory.join("rows.new")).unwrap();
    let tablet = open(&node).unwrap();
    assert_eq!(contents(&*tablet).unwrap().len(), 200);
    assert!(sst.exists() && !directory.join("rows.new").exists());
    drop(tablet);

    fs::write(directory.join("rows.new"), "another one").unwrap();
    fs::remove_file(&sst).unwrap();
    corrupt_file(open(&node).err().unwrap());
}
