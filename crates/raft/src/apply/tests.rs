//! What must hold whatever is applied.

use std::ops::RangeInclusive;
use std::sync::Arc;

use openraft::entry::RaftEntry as _;
use openraft::storage::RaftStateMachine as _;
use strata_codec::AppliedState;
use strata_env::sim::SimWorld;
use strata_machine::{Machine, ViewMut};
use strata_storage::memory::{Durable, MemoryTablets};
use strata_types::{GroupId, ReplicaId};

use super::*;
use crate::snapshot::SnapshotSource;
use crate::state_machine::StateMachine;
use crate::transfers::Transfers;
use crate::types::{Payload, log_id};

/// Counts how many commands it applied.
struct Counter;

impl Machine for Counter {
    fn apply(&self, view: &mut dyn ViewMut, _context: CommandContext, _command: &Bytes) -> Bytes {
        let count = view.get(b"count").map_or(0, |count| count[0]) + 1;
        view.put(Bytes::from_static(b"count"), vec![count].into());
        Bytes::new()
    }

    fn common_rows(&self) -> &'static [&'static [u8]] {
        &[b"count"]
    }
}

fn items(indexes: RangeInclusive<u64>) -> Vec<Item> {
    stamped(indexes, 0, 0)
}

/// Entries of term 1.
fn stamped(indexes: RangeInclusive<u64>, stamp: u64, term: u64) -> Vec<Item> {
    let commands = vec![Bytes::from_static(b"x")];
    let payload = EntryPayload { stamp: Timestamp(stamp), stamped_term: Term(term), commands }.encode();
    let entry = |index| Entry::new(log_id(1, ReplicaId(1), index), EntryBody::Normal(Payload(payload.clone())));
    indexes.map(|index| (entry(index), None)).collect()
}

fn replica(tablets: Arc<MemoryTablets>, machine: Arc<dyn Machine>) -> Arc<Replica> {
    let env = SimWorld::new(1).node(1).env();
    let transfers = Transfers::new(env.clone(), 1 << 20);
    Replica::open(env, GroupId(1), ReplicaId(1), machine, tablets, transfers).expect("opens")
}

/// RAFT-3
#[tokio::test(start_paused = true)]
async fn entries_that_come_twice_are_applied_once() {
    let replica = replica(Arc::new(MemoryTablets::new()), Arc::new(Counter));
    for range in [1..=3, 1..=3, 2..=5] {
        assert!(replica.apply_entries(items(range), Waiting::Allowed).is_ok());
    }
    assert_eq!(replica.applied_index(), LogIndex(5));
    assert_eq!(replica.tablet().get(b"count").expect("memory").as_deref(), Some([5].as_slice()));
}

fn count(replica: &Replica) -> Option<u8> {
    replica.tablet().get(b"count").expect("memory").map(|count| count[0])
}

/// RAFT-12: nothing of it is applied, and the position is, or the replicas would not agree on what comes next.
#[tokio::test(start_paused = true)]
async fn an_entry_that_was_stamped_in_another_term_is_refused() {
    let durable = Durable::new();
    let tablets = Arc::new(MemoryTablets::over(durable.clone()));
    let replica = replica(tablets.clone(), Arc::new(Counter));
    assert!(replica.apply_entries(items(1..=1), Waiting::Allowed).is_ok());
    assert!(!replica.clock.is_timed() && AppliedState::decode(row(&replica)).expect("whole").stamp.0 == 0);
    for (index, stamp, term, applied) in [(2, 7, 1, 2), (3, 9, 2, 2), (4, 6, 3, 2), (5, 0, 0, 2), (6, 7, 1, 3)] {
        assert!(replica.apply_entries(stamped(index..=index, stamp, term), Waiting::Allowed).is_ok());
        assert_eq!(replica.applied_index(), LogIndex(index));
        assert_eq!((count(&replica), replica.applied().stamp), (Some(applied), Timestamp(7)), "entry {index}");
    }
    assert!(replica.clock.is_timed(), "whoever applied a stamp knows that there is time");
    let env = SimWorld::new(1).node(1).env();
    let (machine, transfers) = (Arc::new(Counter), Transfers::new(env.clone(), 1 << 20));
    let reopened = Replica::open(env, GroupId(1), ReplicaId(1), machine, tablets, transfers).expect("opens");
    assert_eq!((reopened.applied().stamp, reopened.clock.is_timed()), (Timestamp(7), true));
    assert_eq!(reopened.clock.stamp(Timestamp(0), strata_types::Reach::ALL), Err(crate::clock::Closed::NotLeader));
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_replaces_what_was_known_of_common_rows() {
    let [ahead, behind] = [(); 2].map(|()| replica(Arc::new(MemoryTablets::new()), Arc::new(Counter)));
    assert!(ahead.apply_entries(items(1..=5), Waiting::Allowed).is_ok());
    assert!(behind.apply_entries(items(1..=2), Waiting::Allowed).is_ok());
    let checkpoint = ahead.tablet().checkpoint().expect("memory");
    let mut receiver = behind.receive().expect("memory");
    for file in checkpoint.files().expect("memory") {
        let bytes = checkpoint.read(&file.name, 0, file.length as usize).expect("memory");
        receiver.write(&file.name, 0, &bytes).expect("memory");
    }
    let received = SnapshotSource::Received(receiver.finish().expect("whole"));
    let (mut machine, meta) = (StateMachine::new(behind.clone()), ahead.applied().snapshot_meta());
    machine.install_snapshot(&meta, received).await.expect("memory");
    assert!(behind.apply_entries(items(6..=6), Waiting::Allowed).is_ok());
    assert_eq!(count(&behind), Some(6));
}

/// Answers and writes a MiB for each command.
struct Large;

const MIB: usize = 1 << 20;

impl Machine for Large {
    fn apply(&self, view: &mut dyn ViewMut, context: CommandContext, _command: &Bytes) -> Bytes {
        let row = Bytes::from(format!("{}.{}", context.index, context.position));
        view.put(row, vec![1; MIB].into());
        vec![2; MIB].into()
    }

    fn withheld(&self, _reply: &Bytes) -> Option<Bytes> {
        Some(Bytes::from_static(b"ask again"))
    }
}

/// Small commands may do large things: memory is bounded by what they do, not by what they are.
#[tokio::test(start_paused = true)]
async fn an_apply_ends_when_it_holds_too_much_and_the_rest_follows() {
    let replica = replica(Arc::new(MemoryTablets::new()), Arc::new(Large));
    let Ok(left) = replica.apply_some(items(1..=40), Waiting::Allowed) else { panic!("it is in memory") };
    assert_eq!((left.len(), replica.applied_index()), (32, LogIndex(8)));
    assert!(replica.apply_entries(left, Waiting::Allowed).is_ok());
    assert_eq!(replica.applied_index(), LogIndex(40));
    assert_eq!(replica.tablet().get(b"40.0").expect("memory").map(|row| row.len()), Some(MIB));
}

#[test]
fn replies_without_room_are_withheld_and_nobody_makes_those_that_nobody_wants() {
    let mut room = Room { left: REPLY_BYTES_MAX, is_wanted: true };
    let replies: Vec<usize> = (0..40).map(|_| room.take(vec![2; MIB].into(), &Large).len()).collect();
    let whole = REPLY_BYTES_MAX / MIB;
    assert!(replies[..whole].iter().all(|length| *length == MIB), "{replies:?}");
    assert!(replies[whole..].iter().all(|length| *length == 9), "{replies:?}");
    // What must be told is told.
    assert_eq!(room.take(vec![2; MIB].into(), &Counter).len(), MIB);
}

fn row(replica: &Replica) -> Bytes {
    replica.tablet().get(APPLIED_KEY).expect("memory").expect("it applied something")
}

/// RAFT-12
#[tokio::test(start_paused = true)]
#[should_panic(expected = "stamped @6 after @7")]
async fn a_stamp_that_falls_is_a_broken_promise() {
    let replica = replica(Arc::new(MemoryTablets::new()), Arc::new(Counter));
    assert!(replica.apply_entries(stamped(1..=1, 7, 1), Waiting::Allowed).is_ok());
    let _ = replica.apply_entries(stamped(2..=2, 6, 1), Waiting::Allowed);
}

/// Knows that something is there, and panics if it is not.
struct Strict;

impl Machine for Strict {
    fn apply(&self, view: &mut dyn ViewMut, context: CommandContext, _command: &Bytes) -> Bytes {
        assert!(context.index == LogIndex(1) || view.get(b"k").is_some(), "a row that must be there");
        view.put(Bytes::from_static(b"k"), Bytes::new());
        Bytes::new()
    }
}

/// CLUSTER-5
#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_while_applying_is_damage_even_if_the_machine_panics_over_it() {
    let durable = Durable::new();
    let replica = replica(Arc::new(MemoryTablets::over(durable.clone())), Arc::new(Strict));
    assert!(replica.apply_entries(items(1..=2), Waiting::Allowed).is_ok());
    assert!(durable.damage(ReplicaId(1)));
    let (back, error) = replica.apply_entries(items(3..=4), Waiting::Allowed).expect_err("the tablet cannot be read");
    assert_eq!((back.len(), replica.applied_index()), (2, LogIndex(2)), "nothing of it was applied");
    replica.storage_failed(&error);
    let problem = replica.problem().expect("it refuses to serve");
    assert!(problem.contains("r1/image"), "and names the file: {problem}");
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "a row that must be there")]
async fn a_panic_of_the_machine_alone_stays_one() {
    let replica = replica(Arc::new(MemoryTablets::new()), Arc::new(Strict));
    let _ = replica.apply_entries(items(2..=2), Waiting::Allowed);
}
