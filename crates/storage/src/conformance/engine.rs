//! Reading and writing one tablet.

use bytes::Bytes;
use strata_types::ReplicaId;

use super::{Harness, REPLICA, all, contents, get, open, pairs, put, text, write};
use crate::{StorageError, WriteBatch};

pub(super) fn writes_become_visible_in_order(harness: &mut dyn Harness) {
    let tablet = open(harness, REPLICA);
    assert_eq!(get(&*tablet, "a"), None);
    write(&*tablet, &[("a", Some("1")), ("b", Some("2")), ("a", Some("3")), ("b", None), ("c", None), ("c", Some(""))]);
    assert_eq!(all(&*tablet), pairs(&[("a", "3"), ("c", "")]), "later writes of a batch win");
    tablet.write(WriteBatch::new()).expect("an empty batch is written");
    write(&*tablet, &[("a", None), ("missing", None)]);
    assert_eq!(all(&*tablet), pairs(&[("c", "")]));

    let keys = ["c", "a", "missing", "c"].map(|key| Bytes::from_static(key.as_bytes()));
    let values = tablet.multi_get(&keys).expect("keys are read");
    let empty = Some(Bytes::new());
    assert_eq!(values, [empty.clone(), None, None, empty], "multi_get answers in the order asked");
    assert_eq!(tablet.multi_get(&[]).expect("no keys are read"), []);
}

/// Calls that must not wait do the same as those that may, or nothing.
pub(super) fn calls_that_do_not_wait_do_all_or_nothing(harness: &mut dyn Harness) {
    let engine = open(harness, REPLICA);
    let mut written = Vec::new();
    for number in 0..200 {
        let mut batch = WriteBatch::new();
        let key = format!("k{number:03}");
        batch.put(key.clone().into(), "v".into());
        batch.delete("absent".into());
        match engine.write_now(batch) {
            Ok(()) => written.push((key, "v".to_owned())),
            Err(error) => assert_eq!(error, StorageError::WouldBlock),
        }
    }
    assert_eq!(all(engine.as_ref()), written);
    engine.flush().expect("flushes");
    for number in 0..200 {
        let key = format!("k{number:03}");
        match engine.get_cached(key.as_bytes()) {
            Ok(value) => assert_eq!(value, engine.get(key.as_bytes()).expect("reads")),
            Err(error) => assert_eq!(error, StorageError::WouldBlock),
        }
    }
}

pub(super) fn scans_are_ordered_and_bounded(harness: &mut dyn Harness) {
    let tablet = open(harness, REPLICA);
    let keys: [&[u8]; 6] = [b"\x00", b"a", b"a\x00", b"ab", b"b", b"\xff\xff"];
    let mut batch = WriteBatch::new();
    for key in keys.iter().rev() {
        batch.put(Bytes::from_static(key), Bytes::from_static(b"v"));
    }
    tablet.write(batch).expect("a batch is written");
    // Half of the items in memory, half flushed: a scan merges them.
    tablet.flush().expect("a tablet is flushed");
    tablet
        .write({
            let mut batch = WriteBatch::new();
            batch.put(Bytes::from_static(b"aa"), Bytes::from_static(b"w"));
            batch.delete(Bytes::from_static(b"ab"));
            batch
        })
        .expect("a batch is written");

    let scan = |start: &[u8], end: &[u8], limit: usize| -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        tablet
            .scan(start, end, &mut |key, _| {
                found.push(key.to_vec());
                found.len() < limit
            })
            .expect("a range is scanned");
        found
    };
    let every: [&[u8]; 6] = [b"\x00", b"a", b"a\x00", b"aa", b"b", b"\xff\xff"];
    assert_eq!(scan(b"", b"", 100), every);
    assert_eq!(scan(b"a", b"b", 100), every[1..4], "the start is inside, the end outside");
    assert_eq!(scan(b"a\x00", b"", 100), every[2..], "an empty end is no bound");
    assert_eq!(scan(b"a", b"a\x00", 100), every[1..2]);
    assert_eq!(scan(b"b", b"b", 100), [b""; 0]);
    assert_eq!(scan(b"b", b"a", 100), [b""; 0], "a range that ends before it starts is empty");
    assert_eq!(scan(b"", b"", 1), every[..1], "a scan ends when the visitor says so");
    assert_eq!(scan(b"c", b"d", 100), [b""; 0]);
}

pub(super) fn snapshots_do_not_change(harness: &mut dyn Harness) {
    let tablet = open(harness, REPLICA);
    write(&*tablet, &[("a", Some("1")), ("b", Some("2"))]);
    let snapshot = tablet.snapshot();
    write(&*tablet, &[("a", Some("9")), ("b", None), ("c", Some("3"))]);
    tablet.flush().expect("a tablet is flushed");
    // The snapshot alone keeps the tablet open.
    drop(tablet);
    let mut seen = Vec::new();
    snapshot
        .scan(b"", b"", &mut |key, value| {
            seen.push((text(Bytes::copy_from_slice(key)), text(Bytes::copy_from_slice(value))));
            true
        })
        .expect("a snapshot is scanned");
    assert_eq!(seen, pairs(&[("a", "1"), ("b", "2")]));
    assert_eq!(snapshot.get(b"a").expect("a snapshot is read").map(text).as_deref(), Some("1"));
    assert_eq!(snapshot.get(b"c").expect("a snapshot is read"), None);
    drop(snapshot);
    assert_eq!(all(&*open(harness, REPLICA)), pairs(&[("a", "9"), ("c", "3")]));
}

pub(super) fn keys_and_values_of_all_sizes(harness: &mut dyn Harness) {
    let tablet = open(harness, REPLICA);
    let items: Vec<(Bytes, Bytes)> = [(1, 0), (1, 1), (300, 70_000), (8 << 10, 3), (9, 4 << 20)]
        .into_iter()
        .enumerate()
        .map(|(at, (key, value))| (vec![at as u8; key].into(), vec![0xa5; value].into()))
        .collect();
    for (key, value) in &items {
        let mut batch = WriteBatch::new();
        batch.put(key.clone(), value.clone());
        tablet.write(batch).expect("a batch is written");
    }
    assert_eq!(contents(&*tablet).expect("a tablet is scanned"), items);
    tablet.flush().expect("a tablet is flushed");
    assert_eq!(contents(&*tablet).expect("a tablet is scanned"), items);
    for (key, value) in &items {
        assert_eq!(tablet.get(key).expect("a key is read").as_ref(), Some(value));
    }
    assert!(tablet.disk_bytes() > 0, "flushed items take room");
}

pub(super) fn an_open_tablet_is_shared(harness: &mut dyn Harness) {
    let first = open(harness, REPLICA);
    let second = open(harness, REPLICA);
    let other = open(harness, ReplicaId(8));
    put(&*first, "a", "1");
    assert_eq!(get(&*second, "a").as_deref(), Some("1"), "two holders share a replica's tablet");
    assert_eq!(get(&*other, "a"), None, "two replicas share nothing");
    first.flush().expect("a tablet is flushed");
    drop((first, second));
    assert_eq!(get(&*open(harness, REPLICA), "a").as_deref(), Some("1"), "a tablet can be opened again");
}

pub(super) fn unflushed_bytes_rise_and_fall(harness: &mut dyn Harness) {
    let tablet = open(harness, REPLICA);
    assert_eq!(tablet.unflushed_bytes(), 0);
    put(&*tablet, "a", &"x".repeat(10_000));
    assert!((10_000..100_000).contains(&tablet.unflushed_bytes()), "{}", tablet.unflushed_bytes());
    tablet.flush().expect("a tablet is flushed");
    assert_eq!(tablet.unflushed_bytes(), 0);
}

pub(super) fn removed_tablets_are_gone(harness: &mut dyn Harness) {
    let tablets = harness.tablets();
    assert_eq!(tablets.list().expect("tablets are listed"), []);
    for replica in [30, 4, 200] {
        put(&*open(harness, ReplicaId(replica)), "a", "1");
    }
    assert_eq!(tablets.list().expect("tablets are listed"), [ReplicaId(4), ReplicaId(30), ReplicaId(200)]);
    let held = open(harness, ReplicaId(30));
    let before = get(&*held, "a");
    tablets.remove(ReplicaId(30)).expect("a held tablet is removed");
    tablets.remove(ReplicaId(4)).expect("a tablet is removed");
    tablets.remove(ReplicaId(4)).expect("removing nothing is no error");
    assert_eq!(tablets.list().expect("tablets are listed"), [ReplicaId(200)]);
    assert_eq!(get(&*held, "a"), before, "holders of a removed tablet may go on reading");
    drop(held);
    assert_eq!(all(&*open(harness, ReplicaId(30))), [], "nothing is left of a removed tablet");
}
