//! The smallest and the largest that a tablet takes.

use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use strata_storage::conformance::{Harness, contents};
use strata_storage::{Engine, WriteBatch};
use strata_types::ReplicaId;
use strata_types::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

use crate::node::{RocksNode, patiently};
use crate::numbered::{self, Items, RANGES};

const MIB: usize = 1 << 20;

fn open(node: &RocksNode, replica: u64) -> Arc<dyn Engine> {
    node.tablets().open(ReplicaId(replica)).unwrap()
}

/// Bytes that do not compress.
fn noise(length: usize) -> Bytes {
    let mut state = 0x9e37_79b9_u32;
    let next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = std::iter::repeat_with(next).take(length / 4 + 1).flatten().collect();
    bytes.truncate(length);
    Bytes::from(bytes)
}

fn check(tablet: &dyn Engine, items: &[(Bytes, Bytes)]) {
    // Not `assert_eq`, which would print them.
    assert!(contents(tablet).unwrap() == items);
    assert!(items.iter().all(|(key, value)| tablet.get(key).unwrap().as_ref() == Some(value)));
    let keys: Vec<Bytes> = items.iter().map(|(key, _)| key.clone()).collect();
    assert!(tablet.multi_get(&keys).unwrap().into_iter().flatten().eq(items.iter().map(|(_, value)| value.clone())));
}

#[test]
fn the_smallest_and_the_largest_rows_survive_a_flush_and_a_restart() {
    // One large value is more than there is room for.
    let mut node = RocksNode::with(4_000, 16 * MIB);
    let tablet = open(&node, 1);
    // Layers above add some bytes to keys and values. They write no empty keys, which a tablet takes all the same.
    let (key_bytes, large) = (KEY_BYTES_MAX + 100, noise(VALUE_BYTES_MAX + 100));
    let mut items: Items = vec![
        (Bytes::new(), Bytes::from_static(b"of the empty key")),
        (Bytes::from_static(b"\0"), Bytes::new()),
        (Bytes::from_static(b"\0\0"), large.clone()),
        (Bytes::from(vec![b'k'; key_bytes]), Bytes::new()),
        (Bytes::from_static(b"l"), Bytes::from(vec![0_u8; large.len()])),
        (Bytes::from(vec![u8::MAX; key_bytes]), Bytes::from_static(b"of the largest key")),
    ];
    for (key, value) in &items {
        let mut batch = WriteBatch::new();
        batch.put(key.clone(), value.clone());
        tablet.write(batch).unwrap();
    }
    let snapshot = tablet.snapshot();
    check(&*tablet, &items);
    tablet.flush().unwrap();
    check(&*tablet, &items);

    // What was large becomes empty, what was empty large, and the empty key goes.
    let mut batch = WriteBatch::new();
    let (empty_key, _) = items.remove(0);
    batch.delete(empty_key.clone());
    for (key, value) in &mut items {
        *value = if value.is_empty() { large.clone() } else { Bytes::new() };
        batch.put(key.clone(), value.clone());
    }
    tablet.write(batch).unwrap();
    check(&*tablet, &items);
    assert_eq!(snapshot.get(b"").unwrap(), Some(Bytes::from_static(b"of the empty key")));
    assert!(snapshot.get(b"\0\0").unwrap() == Some(large));
    drop((snapshot, tablet));
    node.restart();
    let tablet = open(&node, 1);
    check(&*tablet, &items);
    assert_eq!(tablet.get(&empty_key).unwrap(), None);
}

fn large_row(number: u8) -> Bytes {
    Bytes::from(vec![b'r', number])
}

fn large_value(round: u8) -> Bytes {
    Bytes::from(vec![round; MIB])
}

/// Writes all rows, and takes one back.
fn large_batch(round: u8) -> WriteBatch {
    let mut batch = WriteBatch::new();
    batch.put(large_row(0), Bytes::from_static(b"replaced at once"));
    (0..24).for_each(|row| batch.put(large_row(row), large_value(round)));
    batch.delete(large_row(round));
    batch
}

#[test]
fn a_batch_beyond_all_room_and_small_ones_of_another_tablet_land_each_in_its_order() {
    // Room for a third of it.
    let mut node = RocksNode::with(4_000, 16 * MIB);
    let (large, small) = (open(&node, 1), open(&node, 2));
    thread::scope(|scope| {
        scope.spawn(|| (1..=3).for_each(|round| patiently(|| large.write(large_batch(round)))));
        scope.spawn(|| (1..=500).for_each(|number| patiently(|| small.write(numbered::batch(number)))));
    });
    let rows: Items = (0..24).filter(|row| *row != 3).map(|row| (large_row(row), large_value(3))).collect();
    check(&*large, &rows);
    assert_eq!(numbered::last_of(&contents(&*small).unwrap(), RANGES[0]), 500);
    drop((large, small));
    node.restart();
    check(&*open(&node, 1), &rows);
    assert_eq!(numbered::last_of(&contents(&*open(&node, 2)).unwrap(), RANGES[0]), 500);
}
