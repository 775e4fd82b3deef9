//! Checkpoints, and tablets received from other replicas.

use std::sync::Arc;

use bytes::Bytes;
use strata_types::ReplicaId;

use super::{Harness, REPLICA, all, contents, copy_checkpoint, open, pairs, put, write};
use crate::{Checkpoint, Engine, StorageError, StorageResult, WriteBatch};

const SOURCE: ReplicaId = ReplicaId(1);

/// A checkpoint of some size, and what is in it.
fn source(harness: &dyn Harness) -> (Arc<dyn Checkpoint>, Vec<(Bytes, Bytes)>) {
    let tablet = open(harness, SOURCE);
    for number in 0..60_u32 {
        let mut batch = WriteBatch::new();
        // Values that do not compress, so that files are longer than one piece of a copy.
        let mut state = number.wrapping_mul(0x9e37_79b9) | 1;
        let noise = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as u8
        });
        batch.put(Bytes::from(format!("key{number:04}")), noise.take(20_000).collect::<Vec<u8>>().into());
        tablet.write(batch).expect("a batch is written");
    }
    let expected = contents(&*tablet).expect("a tablet is scanned");
    (tablet.checkpoint().expect("a checkpoint is made"), expected)
}

fn receive(harness: &dyn Harness, checkpoint: &dyn Checkpoint) -> StorageResult<Arc<dyn Engine>> {
    let mut receiver = harness.tablets().receive(REPLICA)?;
    copy_checkpoint(checkpoint, &mut *receiver)?;
    receiver.finish()
}

fn is_invalid<T>(result: StorageResult<T>) -> bool {
    matches!(result, Err(StorageError::Invalid { .. }))
}

/// STORE-2: a checkpoint holds a prefix of the writes, which includes all made before it began.
pub(super) fn a_checkpoint_does_not_change(harness: &mut dyn Harness) {
    let tablet = open(harness, SOURCE);
    write(&*tablet, &[("a", Some("1")), ("b", Some("1"))]);
    tablet.flush().expect("a tablet is flushed");
    put(&*tablet, "unflushed", "1");
    let checkpoint = tablet.checkpoint().expect("a checkpoint is made");
    let files = checkpoint.files().expect("files are listed");
    write(&*tablet, &[("a", Some("2")), ("b", None), ("c", Some("2"))]);
    tablet.flush().expect("a tablet is flushed");
    let newer = tablet.checkpoint().expect("a second checkpoint is made");
    harness.tablets().remove(SOURCE).expect("a tablet is removed");
    drop(tablet);

    assert_eq!(checkpoint.files().expect("files are listed"), files);
    let first = &files[0];
    let whole = checkpoint.read(&first.name, 0, usize::MAX >> 1).expect("a file is read");
    assert_eq!(whole.len() as u64, first.length);
    let beyond = checkpoint.read(&first.name, first.length + 5, 10).expect("reading past the end is no error");
    assert!(beyond.is_empty());
    assert!(is_invalid(checkpoint.read("../CURRENT", 0, 1)), "names that leave the checkpoint are refused");
    assert!(is_invalid(checkpoint.read("no-such-file", 0, 1)));

    let received = receive(harness, &*checkpoint).expect("a checkpoint is received");
    assert_eq!(all(&*received), pairs(&[("a", "1"), ("b", "1"), ("unflushed", "1")]));
    let received = receive(harness, &*newer).expect("a checkpoint is received");
    assert_eq!(all(&*received), pairs(&[("a", "2"), ("c", "2"), ("unflushed", "1")]));
}

/// STORE-3: a received tablet replaces the old one whole, and a crash does not bring the old one back.
pub(super) fn a_received_tablet_is_installed_whole(harness: &mut dyn Harness) {
    let (checkpoint, expected) = source(harness);
    let old = open(harness, REPLICA);
    put(&*old, "old", "1");
    let received = receive(harness, &*checkpoint).expect("a checkpoint is received");
    assert_eq!(contents(&*received).expect("a received tablet is scanned"), expected);
    assert_eq!(all(&*old), pairs(&[("old", "1")]), "a received tablet stands beside the old one");
    harness.tablets().install(REPLICA, Arc::clone(&received)).expect("a received tablet is installed");
    assert_eq!(all(&*old), pairs(&[("old", "1")]), "holders of the old tablet may go on reading");
    drop(old);
    put(&*received, "new", "1");
    let opened = open(harness, REPLICA);
    assert_eq!(contents(&*opened).expect("a tablet is scanned").len(), expected.len() + 1, "open returns the new one");
    drop((opened, received, checkpoint));
    harness.crash();
    let mut found = contents(&*open(harness, REPLICA)).expect("a tablet is scanned");
    found.retain(|(key, _)| key != "new");
    assert_eq!(found, expected);

    // And again over it, by way of a replica that was never opened before.
    let checkpoint = open(harness, REPLICA).checkpoint().expect("a checkpoint is made");
    let replica = ReplicaId(99);
    let mut receiver = harness.tablets().receive(replica).expect("a new replica receives");
    copy_checkpoint(&*checkpoint, &mut *receiver).expect("a checkpoint is copied");
    let received = receiver.finish().expect("a checkpoint is received");
    harness.tablets().install(replica, received).expect("a received tablet is installed");
    assert!(contents(&*open(harness, replica)).expect("a tablet is scanned").len() >= expected.len());
    assert!(harness.tablets().list().expect("tablets are listed").contains(&replica));
}

pub(super) fn a_crash_before_install_keeps_the_old_one(harness: &mut dyn Harness) {
    let (checkpoint, _) = source(harness);
    let old = open(harness, REPLICA);
    put(&*old, "old", "1");
    old.flush().expect("a tablet is flushed");
    let received = receive(harness, &*checkpoint).expect("a checkpoint is received");
    // Neither of them gets to say goodbye.
    harness.crash();
    drop((received, old, checkpoint));
    assert_eq!(all(&*open(harness, REPLICA)), pairs(&[("old", "1")]));
    assert_eq!(harness.tablets().list().expect("tablets are listed"), [SOURCE, REPLICA]);
}

pub(super) fn a_dropped_receiver_leaves_nothing(harness: &mut dyn Harness) {
    let (checkpoint, _) = source(harness);
    let mut receiver = harness.tablets().receive(REPLICA).expect("a new replica receives");
    copy_checkpoint(&*checkpoint, &mut *receiver).expect("a checkpoint is copied");
    drop(receiver);
    let received = receive(harness, &*checkpoint).expect("a checkpoint is received");
    drop(received);
    assert_eq!(harness.tablets().list().expect("tablets are listed"), [SOURCE]);
    assert_eq!(all(&*open(harness, REPLICA)), []);
}

pub(super) fn bad_names_and_holes_are_refused(harness: &mut dyn Harness) {
    let tablets = harness.tablets();
    for bad in ["../escape", "/etc/x", "a/b", "..", ".", "", "a\\b", "a\0b"] {
        let mut receiver = tablets.receive(REPLICA).expect("a new replica receives");
        assert!(is_invalid(receiver.write(bad, 0, b"x")), "{bad:?}");
    }
    let mut receiver = tablets.receive(REPLICA).expect("a new replica receives");
    receiver.write("file", 0, b"abc").expect("a file is begun");
    receiver.write("other", 0, b"").expect("an empty file is made");
    receiver.write("file", 3, b"def").expect("a file goes on after another one");
    for offset in [0, 3, 5, 7, u64::MAX] {
        assert!(is_invalid(receiver.write("file", offset, b"x")), "offset {offset}");
    }
    assert!(is_invalid(receiver.finish()), "these files are no tablet");
    assert!(is_invalid(tablets.receive(REPLICA).expect("a new replica receives").finish()), "nothing is no tablet");
}

/// What becomes of a file on its way: other bytes, or nothing.
type Damage<'a> = dyn Fn(&str, Vec<u8>) -> Option<Vec<u8>> + 'a;

pub(super) fn damaged_transfers_are_refused(harness: &mut dyn Harness) {
    let (checkpoint, _) = source(harness);
    let old = open(harness, REPLICA);
    put(&*old, "old", "1");
    let files = checkpoint.files().expect("files are listed");
    let largest = files.iter().max_by_key(|file| file.length).expect("a checkpoint has files");
    let copy = |damage: &Damage<'_>| {
        let mut receiver = harness.tablets().receive(REPLICA).expect("a replica receives");
        for file in &files {
            let bytes = checkpoint.read(&file.name, 0, file.length as usize).expect("a file is read");
            if let Some(bytes) = damage(&file.name, bytes.to_vec()) {
                receiver.write(&file.name, 0, &bytes).expect("a file is written");
            }
        }
        receiver.finish()
    };
    assert!(copy(&|_, bytes| Some(bytes)).is_ok(), "the undamaged transfer is taken");
    let cut = copy(&|name, bytes| match name == largest.name {
        true => Some(bytes[..bytes.len() / 2].to_vec()),
        false => Some(bytes),
    });
    assert!(is_invalid(cut), "a file that was cut short is refused");
    assert!(is_invalid(copy(&|name, bytes| (name != largest.name).then_some(bytes))), "a missing file is refused");
    let flipped = copy(&|name, mut bytes| {
        if name == largest.name {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x10;
        }
        Some(bytes)
    });
    assert!(is_invalid(flipped), "a flipped bit is refused");
    assert_eq!(all(&*old), pairs(&[("old", "1")]), "the replica's own tablet is untouched");
}

pub(super) fn only_a_received_tablet_is_installed(harness: &mut dyn Harness) {
    let (checkpoint, _) = source(harness);
    let received = receive(harness, &*checkpoint).expect("a checkpoint is received");
    let tablets = harness.tablets();
    assert!(is_invalid(tablets.install(ReplicaId(8), received)), "a tablet received for another replica");
    let own = open(harness, REPLICA);
    put(&*own, "a", "1");
    assert!(is_invalid(tablets.install(REPLICA, open(harness, SOURCE))), "another replica's own tablet");
    assert_eq!(all(&*open(harness, REPLICA)), pairs(&[("a", "1")]));
    drop(own);
}
