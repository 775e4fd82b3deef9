//! Tablets that are written while others read, flush and copy them: whatever comes first, nothing is lost, torn or
//! brought back.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bytes::Bytes;
use strata_storage::conformance::{Harness, contents, copy_checkpoint};
use strata_storage::{Engine, StorageError, Tablets};
use strata_types::ReplicaId;

use crate::node::{RocksNode, patiently};
use crate::numbered::{self, MARKS, RANGES};

/// A tablet that holds what [`numbered::batch`] writes.
struct Subject {
    tablets: Arc<dyn Tablets>,
    replica: ReplicaId,
    tablet: Arc<dyn Engine>,
}

impl Subject {
    fn open(tablets: Arc<dyn Tablets>, replica: u64) -> Subject {
        let replica = ReplicaId(replica);
        let tablet = tablets.open(replica).unwrap();
        Subject { tablets, replica, tablet }
    }

    /// The last batch that is in it.
    fn last(&self) -> u32 {
        last(&*self.tablet)
    }

    /// The last batch that its mark is of, found as one row.
    fn mark(&self) -> u32 {
        numbered::number(self.tablet.get(MARKS[0]).unwrap().as_deref())
    }
}

fn last(tablet: &dyn Engine) -> u32 {
    numbered::last_of(&contents(tablet).unwrap(), RANGES[0])
}

/// Looks at a tablet, or has it do something. It is told which batch was the last that it saw before, and returns which
/// one it saw now.
type Look = fn(&Subject, u32) -> u32;

/// Those of some threads, of which the first three only read.
const THREADS: &[&[Look]] = &[&[scan], &[snapshot], &[get, get_persisted], &[flush], &[checkpoint]];

/// Those of one thread.
const BY_TURNS: &[Look] = &[scan, snapshot, get, get_persisted, flush];

fn forward(before: u32, now: u32) -> u32 {
    assert!(now >= before, "batch {before} was there, and now {now} is the last one");
    now
}

fn scan(subject: &Subject, before: u32) -> u32 {
    RANGES.into_iter().fold(before, |before, range| {
        let seen = numbered::items(|visit| subject.tablet.scan(range.0, range.1, visit));
        forward(before, numbered::last_of(&seen, range))
    })
}

fn snapshot(subject: &Subject, before: u32) -> u32 {
    // The first one is looked at when there are others, and more was written.
    let snapshots = [subject.tablet.snapshot(), subject.tablet.snapshot(), subject.tablet.snapshot()];
    snapshots.iter().fold(before, |before, snapshot| {
        let last = forward(before, numbered::number(snapshot.get(MARKS[0]).unwrap().as_deref()));
        for range in RANGES {
            let seen = numbered::items(|visit| snapshot.scan(range.0, range.1, visit));
            assert_eq!(numbered::last_of(&seen, range), last);
        }
        let state = numbered::state(last);
        for key in numbered::keys() {
            assert_eq!(snapshot.get(&key).unwrap().as_ref(), state.get(&key));
        }
        last
    })
}

fn get(subject: &Subject, before: u32) -> u32 {
    let tablet = &subject.tablet;
    let last = forward(before, subject.mark());
    let state = numbered::state(last);
    let keys: Vec<Bytes> = numbered::lasting().collect();
    let all = tablet.multi_get(&keys).unwrap();
    for (key, value) in keys.iter().zip(all) {
        let earlier = numbered::number(state.get(key).map(|value| &value[..]));
        let now = forward(earlier, numbered::number(value.as_deref()));
        let now = forward(now, numbered::number(tablet.get(key).unwrap().as_deref()));
        match tablet.get_cached(key) {
            Err(StorageError::WouldBlock) => {}
            cached => _ = forward(now, numbered::number(cached.unwrap().as_deref())),
        }
    }
    last
}

fn get_persisted(subject: &Subject, before: u32) -> u32 {
    let persisted = |mark: &&[u8]| numbered::number(subject.tablet.get_persisted(mark).unwrap().as_deref());
    let last = MARKS.iter().map(persisted).fold(before, forward);
    forward(last, subject.mark());
    last
}

fn flush(subject: &Subject, before: u32) -> u32 {
    let written = forward(before, subject.mark());
    patiently(|| subject.tablet.flush());
    get_persisted(subject, written)
}

/// STORE-2.
fn checkpoint(subject: &Subject, before: u32) -> u32 {
    let written = forward(before, subject.mark());
    let checkpoint = subject.tablet.checkpoint().unwrap();
    let latest = subject.mark();
    let mut receiver = subject.tablets.receive(subject.replica).unwrap();
    copy_checkpoint(&*checkpoint, &mut *receiver).unwrap();
    let copied = last(&*receiver.finish().unwrap());
    assert!((written..=latest).contains(&copied), "{written} <= {copied} <= {latest}");
    copied
}

/// Writes batches, one after the other, while each of some threads looks again and again.
fn write(subject: &Subject, numbers: RangeInclusive<u32>, threads: &[&[Look]]) {
    let is_over = &AtomicBool::new(false);
    let before = numbers.start() - 1;
    thread::scope(|scope| {
        for looks in threads {
            scope.spawn(move || look_on(subject, looks, before, is_over));
        }
        let _end = End(is_over);
        for number in numbers {
            match subject.tablet.write_now(numbered::batch(number)) {
                Err(StorageError::WouldBlock) => patiently(|| subject.tablet.write(numbered::batch(number))),
                written => written.unwrap(),
            }
        }
    });
}

fn look_on(subject: &Subject, looks: &[Look], before: u32, is_over: &AtomicBool) {
    let mut seen = vec![before; looks.len()];
    let mut is_last = false;
    while !is_last {
        // All of them look once more at what is there in the end.
        is_last = is_over.load(Ordering::SeqCst);
        for (look, seen) in looks.iter().zip(&mut seen) {
            *seen = look(subject, *seen);
        }
    }
}

/// The end of writing, also by a panic.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// STORE-1, STORE-2, ROCKS-3.
#[test]
fn whoever_looks_sees_what_some_batch_left_and_never_an_earlier_one_than_before() {
    // Each batch is a bundle, and there is room for some hundreds of them.
    let mut node = RocksNode::with(1_000, 2 << 20);
    let subject = Subject::open(node.tablets(), 1);
    write(&subject, 1..=800, THREADS);
    write(&subject, 801..=840, &[]);
    let persisted = get_persisted(&subject, 800);

    node.crash();
    let left = Subject::open(node.tablets(), 1);
    drop(subject);
    let reached = left.last();
    assert!((persisted..=840).contains(&reached), "{persisted} <= {reached} <= 840");

    // Flushed only for room: there are many runs.
    write(&left, reached + 1..=1_600, &THREADS[..3]);
    drop(left);
    node.restart();
    let opened = Subject::open(node.tablets(), 1);
    assert_eq!((opened.last(), get_persisted(&opened, 0)), (1_600, 1_600));
}

/// STORE-1, ROCKS-3.
#[test]
fn tablets_that_are_written_at_once_closed_and_opened_again_keep_their_own() {
    // Each batch is a bundle, and there is room for a part of them.
    let mut node = RocksNode::with(1_000, 512 << 10);
    thread::scope(|scope| {
        for replica in 1..=4 {
            let tablets = node.tablets();
            scope.spawn(move || {
                for life in 0..3 {
                    let subject = Subject::open(Arc::clone(&tablets), replica);
                    assert_eq!(subject.last(), life * 100);
                    write(&subject, life * 100 + 1..=life * 100 + 100, &[BY_TURNS]);
                }
            });
        }
    });
    let all = |node: &RocksNode| [1, 2, 3, 4].map(|replica| Subject::open(node.tablets(), replica).last());
    assert_eq!(all(&node), [300; 4]);
    node.restart();
    assert_eq!(all(&node), [300; 4]);
}
