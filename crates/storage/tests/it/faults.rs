//! The faults that the simulator switches on.

use std::sync::Arc;

use bytes::Bytes;
use strata_storage::conformance::copy_checkpoint;
use strata_storage::memory::{Durable, MemoryTablets};
use strata_storage::{Engine, StorageError, Tablets, WriteBatch};
use strata_types::ReplicaId;

const REPLICA: ReplicaId = ReplicaId(3);

fn put(engine: &dyn Engine, value: &'static str) -> Result<(), StorageError> {
    let mut batch = WriteBatch::new();
    batch.put(Bytes::from_static(b"key"), Bytes::from_static(value.as_bytes()));
    engine.write(batch)
}

#[test]
fn handles_of_a_crashed_life_never_work_again() {
    let durable = Durable::new();
    let former = MemoryTablets::over(Arc::clone(&durable));
    let tablet = former.open(REPLICA).unwrap();
    put(&*tablet, "flushed").unwrap();
    tablet.flush().unwrap();
    put(&*tablet, "lost").unwrap();
    let snapshot = tablet.snapshot();
    let checkpoint = former.open(ReplicaId(4)).unwrap().checkpoint().unwrap();
    let receiver = former.receive(REPLICA).unwrap();
    durable.crash();

    let dead = |error: StorageError| matches!(error, StorageError::Io { .. });
    assert!(dead(tablet.get(b"key").unwrap_err()));
    assert!(dead(tablet.get_persisted(b"key").unwrap_err()));
    assert!(dead(put(&*tablet, "late").unwrap_err()));
    assert!(dead(tablet.flush().unwrap_err()));
    assert!(dead(snapshot.get(b"key").unwrap_err()));
    assert!(dead(checkpoint.files().unwrap_err()));
    assert!(dead(receiver.finish().err().unwrap()));
    assert!(dead(former.open(REPLICA).err().unwrap()));
    assert!(dead(former.remove(REPLICA).unwrap_err()));

    let tablets = MemoryTablets::over(durable);
    assert_eq!(tablets.open(REPLICA).unwrap().get(b"key").unwrap(), Some(Bytes::from_static(b"flushed")));
    let installed = tablets.install(REPLICA, tablet).unwrap_err();
    assert!(matches!(installed, StorageError::Invalid { .. }), "a tablet of the former life is not installed");
}

#[test]
fn a_full_disk_refuses_writes_and_recovers() {
    let durable = Durable::new();
    let tablets = MemoryTablets::over(Arc::clone(&durable));
    let tablet = tablets.open(REPLICA).unwrap();
    put(&*tablet, "before").unwrap();
    let mut receiver = tablets.receive(REPLICA).unwrap();
    durable.set_full(true);
    let full = |error: StorageError| matches!(error, StorageError::Full { .. });
    assert!(full(put(&*tablet, "refused").unwrap_err()));
    assert!(full(tablet.flush().unwrap_err()));
    assert!(full(tablet.checkpoint().err().unwrap()));
    assert!(full(receiver.write("file", 0, b"x").unwrap_err()));
    assert_eq!(tablet.get(b"key").unwrap(), Some(Bytes::from_static(b"before")));
    durable.set_full(false);
    put(&*tablet, "after").unwrap();
    tablet.flush().unwrap();
    assert_eq!(tablet.get_persisted(b"key").unwrap(), Some(Bytes::from_static(b"after")));
}

#[test]
fn a_nearly_full_disk_opens_tablets_and_takes_nothing_more() {
    let durable = Durable::new();
    durable.set_nearly_full(true);
    let tablets = MemoryTablets::over(Arc::clone(&durable));
    let tablet = tablets.open(REPLICA).unwrap();
    let full = |error: StorageError| matches!(error, StorageError::Full { .. });
    assert!(full(put(&*tablet, "refused").unwrap_err()));
    assert!(full(tablet.flush().unwrap_err()));
    durable.set_nearly_full(false);
    put(&*tablet, "after").unwrap();
    tablet.flush().unwrap();
}

#[test]
fn a_damaged_tablet_refuses_until_another_is_installed() {
    let durable = Durable::new();
    assert!(!durable.damage(REPLICA), "there is nothing to damage yet");
    let tablets = MemoryTablets::over(Arc::clone(&durable));
    let tablet = tablets.open(REPLICA).unwrap();
    put(&*tablet, "value").unwrap();
    let checkpoint = tablet.checkpoint().unwrap();
    assert!(durable.damage(REPLICA));
    let corrupt = |error: StorageError| matches!(error, StorageError::Corrupt { .. });
    assert!(corrupt(tablet.get(b"key").unwrap_err()));
    drop(tablet);
    assert!(corrupt(tablets.open(REPLICA).err().unwrap()));

    let mut receiver = tablets.receive(REPLICA).unwrap();
    copy_checkpoint(&*checkpoint, &mut *receiver).unwrap();
    tablets.install(REPLICA, receiver.finish().unwrap()).unwrap();
    assert_eq!(tablets.open(REPLICA).unwrap().get(b"key").unwrap(), Some(Bytes::from_static(b"value")));
}

#[test]
fn a_tablet_flushes_by_itself_when_much_is_unflushed() {
    let tablets = MemoryTablets::new().with_write_buffer_bytes(10);
    let tablet = tablets.open(REPLICA).unwrap();
    put(&*tablet, "1").unwrap();
    assert_eq!(tablet.get_persisted(b"key").unwrap(), None);
    put(&*tablet, "2345678").unwrap();
    assert_eq!(tablet.get_persisted(b"key").unwrap(), Some(Bytes::from_static(b"2345678")));
    assert_eq!(tablet.unflushed_bytes(), 0);
}
