//! Rows that RocksDB does not have yet.

use std::sync::Arc;

use bytes::Bytes;
use strata_storage::conformance::{Harness, contents};
use strata_storage::{Engine, StorageError, WriteBatch};
use strata_types::ReplicaId;

use crate::node::{RocksNode, patiently};

const REPLICA: ReplicaId = ReplicaId(3);

fn open(node: &RocksNode) -> Arc<dyn Engine> {
    node.tablets().open(REPLICA).unwrap()
}

fn key(number: u32) -> Bytes {
    Bytes::from(format!("k{number:05}"))
}

fn batch(numbers: impl Iterator<Item = u32>, value: Option<&'static str>) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for number in numbers {
        match value {
            Some(value) => batch.put(key(number), Bytes::from_static(value.as_bytes())),
            None => batch.delete(key(number)),
        }
    }
    batch
}

#[test]
fn recent_rows_are_scanned_as_if_they_were_in_rocksdb() {
    let node = RocksNode::new();
    let tablet = open(&node);
    // A hundred at once: the last of them are not in RocksDB when they are looked at.
    let write = |wanted: fn(u32) -> bool, value| {
        for first in (0..3_000).step_by(100) {
            tablet.write(batch((first..first + 100).filter(|number| wanted(*number)), value)).unwrap();
        }
    };
    write(|_| true, Some("old"));
    tablet.flush().unwrap();
    write(|number| number % 3 == 0, None);
    write(|number| number % 3 == 1, Some("new"));
    let snapshot = tablet.snapshot();
    write(|_| true, Some("newest"));

    let expected = |number: u32| match number % 3 {
        0 => None,
        1 => Some(Bytes::from_static(b"new")),
        _ => Some(Bytes::from_static(b"old")),
    };
    let mut seen = Vec::new();
    let mut take = |key: &[u8], value: &[u8]| {
        seen.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
        true
    };
    snapshot.scan(b"", b"", &mut take).unwrap();
    let all: Vec<_> = (0..3_000).filter_map(|number| Some((key(number), expected(number)?))).collect();
    assert_eq!(seen, all);
    assert!((0..3_000).all(|number| snapshot.get(&key(number)).unwrap() == expected(number)));
    let now = contents(&*tablet).unwrap();
    assert!(now.len() == 3_000 && now.iter().all(|(_, value)| value == "newest"));
}

/// ROCKS-3: rows are flushed when there is no room for more, all or none of them.
#[test]
fn what_a_crash_leaves_is_what_was_there_after_a_write() {
    let mut node = RocksNode::with(4_000, 128 << 10);
    let mut tablet = open(&node);
    for round in 0..30 {
        // The same counter at both ends of the key space, and other rows between them.
        for step in 0..20_u32 {
            let mut both = batch((1..40).map(|number| 1_000 + round * 10 + number * (step + 1)), Some("between"));
            let count = Bytes::from((round * 20 + step + 1).to_be_bytes().to_vec());
            both.put(key(0), count.clone());
            both.put(key(99_999), count);
            patiently(|| tablet.write(both.clone()));
        }
        let persisted = tablet.get_persisted(&key(0)).unwrap();
        let reached = tablet.get(&key(0)).unwrap();
        if round % 3 == 0 {
            patiently(|| tablet.flush());
            assert_eq!(tablet.get_persisted(&key(0)).unwrap(), reached);
        }
        assert_eq!(tablet.get(&key(99_999)).unwrap(), reached);
        let old = tablet;
        node.crash();
        tablet = open(&node);
        drop(old);
        let left = tablet.get(&key(0)).unwrap();
        assert_eq!(tablet.get(&key(99_999)).unwrap(), left, "half of a write");
        assert!(left >= persisted && left <= reached);
    }
}

/// Writes as who must not wait: when it would have to, it hears so, and nothing is written; others may wait. Returns
/// whether it had to.
fn write_now(tablet: &dyn Engine, batch: &WriteBatch) -> bool {
    let before = contents(tablet).unwrap();
    match tablet.write_now(batch.clone()) {
        Err(StorageError::WouldBlock) => {
            assert_eq!(contents(tablet).unwrap(), before);
            patiently(|| tablet.write(batch.clone()));
            true
        }
        written => {
            written.unwrap();
            false
        }
    }
}

#[test]
fn who_must_not_wait_writes_more_than_there_is_room_for() {
    // Room for some eight hundred rows.
    let node = RocksNode::with(20_000, 512 << 10);
    let tablet = open(&node);
    assert!(!write_now(&*tablet, &batch(0..60, Some("first"))));
    assert!(!write_now(&*tablet, &batch(60..120, Some("first"))), "the bundle before is put in order meanwhile");
    for round in 0..40 {
        write_now(&*tablet, &batch(round * 50..round * 50 + 60, Some("first")));
    }
    // More than would ever fit, over rows that are here.
    assert!(write_now(&*tablet, &batch(300..2_300, Some("second"))));
    let value = |number: u32| match number {
        310..320 => None,
        300.. => Some(Bytes::from_static(b"second")),
        _ => Some(Bytes::from_static(b"first")),
    };
    write_now(&*tablet, &batch(310..320, None));
    assert!((300..2_300).all(|number| tablet.get(&key(number)).unwrap() == value(number)));
    let all: Vec<_> = (0..2_300).filter_map(|number| Some((key(number), value(number)?))).collect();
    assert_eq!(contents(&*tablet).unwrap(), all);
}
