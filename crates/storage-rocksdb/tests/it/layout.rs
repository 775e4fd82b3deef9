//! What lies on the disk, and when it goes.

use std::fs;
use std::sync::Arc;

use bytes::Bytes;
use strata_storage::conformance::{Harness, copy_checkpoint};
use strata_storage::{Checkpoint, Engine, Receiver, WriteBatch};
use strata_types::ReplicaId;

use crate::node::RocksNode;

const REPLICA: ReplicaId = ReplicaId(2);

fn put(tablet: &dyn Engine, value: &'static str) {
    let mut batch = WriteBatch::new();
    batch.put(Bytes::from_static(b"key"), Bytes::from_static(value.as_bytes()));
    tablet.write(batch).unwrap();
}

fn home(node: &RocksNode) -> Vec<String> {
    let entries = fs::read_dir(node.shards().join("2")).into_iter().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// ROCKS-2.
#[test]
fn directories_go_with_their_last_holder() {
    let node = RocksNode::new();
    let tablets = node.tablets();
    let tablet = tablets.open(REPLICA).unwrap();
    put(&*tablet, "old");
    assert_eq!(home(&node), ["CURRENT-tablet", "tablet-1"]);
    let checkpoint = tablet.checkpoint().unwrap();
    assert_eq!(home(&node), ["CURRENT-tablet", "checkpoint-1", "tablet-1"]);

    let mut receiver = tablets.receive(REPLICA).unwrap();
    copy_checkpoint(&*checkpoint, &mut *receiver).unwrap();
    drop(checkpoint);
    assert_eq!(home(&node), ["CURRENT-tablet", "tablet-1", "tablet-2"]);
    let received = receiver.finish().unwrap();
    tablets.install(REPLICA, Arc::clone(&received)).unwrap();
    assert_eq!(home(&node), ["CURRENT-tablet", "tablet-1", "tablet-2"], "the old one is still held");
    let snapshot = tablet.snapshot();
    drop(tablet);
    assert!(snapshot.get(b"key").unwrap().is_some());
    drop(snapshot);
    assert_eq!(home(&node), ["CURRENT-tablet", "tablet-2"]);

    tablets.remove(REPLICA).unwrap();
    assert_eq!(home(&node), ["tablet-2"], "a removed one is held, too");
    drop(received);
    assert_eq!(home(&node), [""; 0]);
}

/// A checkpoint, and all of it received.
fn sent(node: &RocksNode, tablet: &dyn Engine) -> (Arc<dyn Checkpoint>, Box<dyn Receiver>) {
    let checkpoint = tablet.checkpoint().unwrap();
    let mut receiver = node.tablets().receive(REPLICA).unwrap();
    copy_checkpoint(&*checkpoint, &mut *receiver).unwrap();
    (checkpoint, receiver)
}

/// ROCKS-1: what was not named when the node crashed is not a tablet.
#[test]
fn leftovers_of_a_crash_are_removed() {
    let mut node = RocksNode::new();
    let tablet = node.tablets().open(REPLICA).unwrap();
    put(&*tablet, "kept");
    let (checkpoint, receiver) = sent(&node, &*tablet);
    let first_receiver = node.tablets().receive(ReplicaId(3)).unwrap();
    node.crash();
    assert_eq!(home(&node), ["CURRENT-tablet", "checkpoint-1", "tablet-1", "tablet-2"], "the crash left them");
    assert!(!node.shards().join("3").exists(), "a replica without a tablet is swept at the start");
    let opened = node.tablets().open(REPLICA).unwrap();
    assert_eq!(opened.get(b"key").unwrap(), Some(Bytes::from_static(b"kept")));
    assert_eq!(home(&node), ["CURRENT-tablet", "tablet-1"]);
    drop((tablet, checkpoint, receiver, first_receiver));
}

/// STORE-3: the pointer may name the new tablet even if writing it failed, so that one must not go.
#[test]
fn a_received_tablet_stays_when_its_installation_fails() {
    let mut node = RocksNode::new();
    let tablet = node.tablets().open(REPLICA).unwrap();
    put(&*tablet, "sent");
    let (checkpoint, receiver) = sent(&node, &*tablet);
    let received = receiver.finish().unwrap();
    let obstacle = node.shards().join(REPLICA.0.to_string()).join("CURRENT-tablet.tmp");
    fs::create_dir(&obstacle).unwrap();
    assert!(node.tablets().install(REPLICA, received).is_err());
    drop((tablet, checkpoint));
    fs::remove_dir(&obstacle).unwrap();
    assert_eq!(home(&node), ["CURRENT-tablet", "tablet-1", "tablet-2"]);
    node.restart();
    assert!(node.tablets().open(REPLICA).is_ok());
    assert_eq!(home(&node), ["CURRENT-tablet", "tablet-1"], "nobody named it");
}

#[test]
fn closing_flushes_so_that_a_planned_restart_replays_nothing() {
    let mut node = RocksNode::new();
    let tablet = node.tablets().open(REPLICA).unwrap();
    put(&*tablet, "unflushed");
    drop(tablet);
    node.restart();
    let opened = node.tablets().open(REPLICA).unwrap();
    assert_eq!(opened.get_persisted(b"key").unwrap(), Some(Bytes::from_static(b"unflushed")));
}

#[test]
fn many_idle_tablets_are_cheap() {
    let mut node = RocksNode::new();
    let tablets = node.tablets();
    let open: Vec<_> = (0..64).map(|number| tablets.open(ReplicaId(number)).unwrap()).collect();
    for tablet in &open {
        put(&**tablet, "one");
        assert!(tablet.unflushed_bytes() < 1_000);
    }
    drop(open);
    let disk: u64 = crate::node::listing(&node.shards()).values().sum();
    assert!(disk < 64 * 100_000, "an idle tablet takes little room: disk=`{disk}`");
    drop(tablets);
    node.restart();
    assert_eq!(node.tablets().list().unwrap().len(), 64);
}
