//! RocksDB tablets against the memory engine, as a replica uses both: a log of batches, each with its number; after a
//! restart or a crash the engine says how far it got and the log is replayed from there.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use strata_storage::conformance::{Harness, contents, copy_checkpoint};
use strata_storage::memory::MemoryTablets;
use strata_storage::{Engine, Snapshot, Tablets, WriteBatch};
use strata_types::ReplicaId;

use crate::node::{RocksNode, patiently};

const REPLICA: ReplicaId = ReplicaId(5);
const APPLIED: Bytes = Bytes::from_static(b"\0applied");

type Ops = Vec<(u8, Option<(u8, u16)>)>;

#[derive(Clone, Debug)]
enum Step {
    Write(Ops),
    Flush,
    Restart,
    Crash,
    Replace,
    Scan(u8, u8),
    Snapshot,
}

fn step() -> impl Strategy<Value = Step> {
    let op = (0..40_u8, prop::option::weighted(0.7, (any::<u8>(), 0..3_000_u16)));
    prop_oneof![
        12 => prop::collection::vec(op, 0..12).prop_map(Step::Write),
        3 => Just(Step::Flush),
        1 => Just(Step::Restart),
        2 => Just(Step::Crash),
        1 => Just(Step::Replace),
        4 => (0..42_u8, 0..42_u8).prop_map(|(start, end)| Step::Scan(start, end)),
        2 => Just(Step::Snapshot),
    ]
}

fn key(number: u8) -> Bytes {
    // Keys that are prefixes of each other.
    Bytes::from(vec![b'k'; 1 + usize::from(number % 4)].into_iter().chain([number / 4]).collect::<Vec<u8>>())
}

fn batch(number: usize, ops: &Ops) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for (number, value) in ops {
        match value {
            Some((byte, length)) => batch.put(key(*number), vec![*byte; usize::from(*length)].into()),
            None => batch.delete(key(*number)),
        }
    }
    batch.put(APPLIED, Bytes::copy_from_slice(&(number as u64).to_be_bytes()));
    batch
}

fn applied(value: Option<Bytes>) -> usize {
    value.map_or(0, |bytes| u64::from_be_bytes(bytes[..].try_into().unwrap()) as usize)
}

/// One replica on both engines, and the log of all that was written to them.
struct Pair {
    node: RocksNode,
    rocks: Arc<dyn Engine>,
    memory: Arc<dyn Engine>,
    log: Vec<Ops>,
    flushed: usize,
    /// Snapshots of both.
    snapshots: Vec<(Box<dyn Snapshot>, Box<dyn Snapshot>)>,
}

impl Pair {
    fn new(node: RocksNode) -> Pair {
        let rocks = node.tablets().open(REPLICA).unwrap();
        let memory = MemoryTablets::new().open(REPLICA).unwrap();
        Pair { node, rocks, memory, log: Vec::new(), flushed: 0, snapshots: Vec::new() }
    }

    fn write(&mut self, ops: Ops) {
        self.log.push(ops);
        let (number, ops) = (self.log.len(), self.log.last().unwrap());
        patiently(|| self.rocks.write(batch(number, ops)));
        self.memory.write(batch(number, ops)).unwrap();
    }

    fn flush(&mut self) {
        patiently(|| self.rocks.flush());
        self.flushed = self.log.len();
        assert_eq!(applied(self.rocks.get_persisted(&APPLIED).unwrap()), self.flushed);
    }

    /// Replaces the handle by the one that `restart` leaves, checks that it holds a prefix, and replays the rest.
    fn reopen(&mut self, restart: impl FnOnce(&mut RocksNode)) {
        self.compare_snapshots();
        let persisted = applied(self.rocks.get_persisted(&APPLIED).unwrap());
        // A placeholder, so that no handle of the old life is left.
        self.rocks = Arc::clone(&self.memory);
        restart(&mut self.node);
        self.rocks = self.node.tablets().open(REPLICA).unwrap();
        let reached = applied(self.rocks.get(&APPLIED).unwrap());
        assert!(reached >= persisted && reached >= self.flushed && reached <= self.log.len());
        let prefix = MemoryTablets::new().open(ReplicaId(1)).unwrap();
        for (at, ops) in self.log[..reached].iter().enumerate() {
            prefix.write(batch(at + 1, ops)).unwrap();
        }
        assert_eq!(contents(&*self.rocks).unwrap(), contents(&*prefix).unwrap(), "not a prefix of the log");
        for (at, ops) in self.log.iter().enumerate().skip(reached) {
            patiently(|| self.rocks.write(batch(at + 1, ops)));
        }
    }

    /// Sends the tablet to itself through a checkpoint.
    fn replace(&mut self) {
        let checkpoint = self.rocks.checkpoint().unwrap();
        let mut receiver = self.node.tablets().receive(REPLICA).unwrap();
        copy_checkpoint(&*checkpoint, &mut *receiver).unwrap();
        let received = receiver.finish().unwrap();
        self.node.tablets().install(REPLICA, Arc::clone(&received)).unwrap();
        self.rocks = received;
        self.flushed = self.log.len();
    }

    fn compare_range(&self, start: &[u8], end: &[u8]) {
        let scan = |engine: &dyn Engine| {
            let mut items = BTreeMap::new();
            engine
                .scan(start, end, &mut |key, value| {
                    items.insert(key.to_vec(), value.to_vec());
                    items.len() < 7
                })
                .unwrap();
            items
        };
        assert_eq!(scan(&*self.rocks), scan(&*self.memory), "range {start:?}..{end:?}");
    }

    fn compare_snapshots(&mut self) {
        for (rocks, memory) in self.snapshots.drain(..) {
            let scan = |snapshot: &dyn Snapshot, start: &[u8], end: &[u8]| {
                let mut items = Vec::new();
                let mut take = |key: &[u8], value: &[u8]| {
                    items.push((key.to_vec(), value.to_vec()));
                    true
                };
                snapshot.scan(start, end, &mut take).unwrap();
                items
            };
            for (start, end) in [(&b""[..], &b""[..]), (&key(9), &key(21)), (&key(21), b""), (b"", &key(6))] {
                assert_eq!(scan(&*rocks, start, end), scan(&*memory, start, end), "range {start:?}..{end:?}");
            }
            for key in (0..42).map(key) {
                assert_eq!(rocks.get(&key).unwrap(), memory.get(&key).unwrap());
            }
        }
    }

    fn compare(&mut self) {
        self.compare_snapshots();
        assert_eq!(contents(&*self.rocks).unwrap(), contents(&*self.memory).unwrap());
        let keys: Vec<Bytes> = (0..42).map(key).collect();
        assert_eq!(self.rocks.multi_get(&keys).unwrap(), self.memory.multi_get(&keys).unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(30) })]

    #[test]
    fn rocksdb_equals_memory_over_restarts_and_crashes(
        steps in prop::collection::vec(step(), 0..50),
        // Each write is put in order, some are, none is; there is no room for a few of them, for some, for all.
        bundle_bytes in prop::sample::select(vec![0, 2_000, 1 << 20]),
        memory_bytes in prop::sample::select(vec![128 << 10, 300 << 10, 32 << 20]),
    ) {
        let mut pair = Pair::new(RocksNode::with(bundle_bytes, memory_bytes));
        for step in steps {
            match step {
                Step::Write(ops) => pair.write(ops),
                Step::Flush => pair.flush(),
                Step::Restart => pair.reopen(RocksNode::restart),
                Step::Crash => pair.reopen(RocksNode::crash),
                Step::Replace => pair.replace(),
                Step::Snapshot => pair.snapshots.push((pair.rocks.snapshot(), pair.memory.snapshot())),
                Step::Scan(start, end) => pair.compare_range(&key(start), &key(end)),
            }
        }
        pair.compare();
    }
}
