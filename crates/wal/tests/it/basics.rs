//! What a log does when nothing goes wrong.

use std::time::Duration;

use strata_env::sim::SimWorld;
use strata_types::{LogIndex, ReplicaId};
use strata_wal::{ENTRY_BYTES, LogState, WalError, WalOptions};

use crate::support::{Journal, append, entries, entry, open, read_all, replica, small, text, try_open};

#[tokio::test(start_paused = true)]
async fn everything_is_there_after_a_power_loss() {
    let node = SimWorld::new(1).node(1);
    let wal = open(&node, small()).await;
    let (first, second) = (replica(&wal, 1), replica(&wal, 2));
    assert_eq!(first.state(), LogState::default());
    append(&first, entries(0, 9, 10)).await.unwrap();
    append(&second, entries(5, 7, 10)).await.unwrap();
    first.save_vote(text("vote")).await.unwrap();
    first.truncate_after(Some(LogIndex(6))).await.unwrap();
    first.purge(LogIndex(2), text("id2")).await.unwrap();
    first.save_committed(text("committed"));
    append(&first, entries(7, 8, 20)).await.unwrap();
    let expected = LogState {
        purged: Some((LogIndex(2), text("id2"))),
        first: Some(LogIndex(3)),
        last: Some(LogIndex(8)),
        vote: Some(text("vote")),
        committed: Some(text("committed")),
    };
    assert_eq!(first.state(), expected);
    assert_eq!(first.bytes(), 4 * 10 + 2 * 20 + 6 * ENTRY_BYTES);
    node.crash();
    node.restart();
    let wal = open(&node, small()).await;
    assert_eq!(wal.replicas(), [ReplicaId(1), ReplicaId(2)]);
    let (first, second) = (replica(&wal, 1), replica(&wal, 2));
    assert_eq!(first.state(), expected);
    assert_eq!(first.bytes(), 4 * 10 + 2 * 20 + 6 * ENTRY_BYTES);
    let kept: Vec<_> = (3..=6).map(|index| entry(index, 10)).chain((7..=8).map(|index| entry(index, 20))).collect();
    assert_eq!(read_all(&first).await, kept);
    assert_eq!(read_all(&second).await, (5..=7).map(|index| entry(index, 10)).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn reads_see_appends_at_once_and_are_bounded() {
    let node = SimWorld::new(2).node(1);
    let wal = open(&node, small()).await;
    let log = replica(&wal, 1);
    let journal = Journal::default();
    log.append(entries(1, 10, 100), journal.completion());
    assert!(journal.calls().is_empty(), "never inline");
    let read = async |from, to, bytes| log.read(LogIndex(from), LogIndex(to), bytes).await;
    assert_eq!(read(1, 11, usize::MAX).await.unwrap().len(), 10);
    assert_eq!(read(3, 5, usize::MAX).await.unwrap(), [entry(3, 100), entry(4, 100)]);
    assert_eq!(read(3, 11, 250).await.unwrap().len(), 2);
    assert_eq!(read(3, 11, 0).await.unwrap().len(), 1, "at least one");
    assert_eq!(read(11, 20, 1000).await.unwrap().len(), 0);
    assert_eq!(read(5, 5, 1000).await.unwrap().len(), 0);
    let hole = |index| WalError::Hole { replica: ReplicaId(1), index: LogIndex(index) };
    assert_eq!(read(0, 5, 1000).await, Err(hole(0)));
    log.purge(LogIndex(4), text("4")).await.unwrap();
    assert_eq!(read(4, 5, 1000).await, Err(hole(4)));
    log.purge(LogIndex(20), text("20")).await.unwrap();
    assert_eq!(read(19, 30, 1000).await, Err(hole(19)));
    assert_eq!(read(21, 30, 1000).await.unwrap().len(), 0);
    log.purge(LogIndex(15), text("15")).await.unwrap();
    assert_eq!(log.state().purged, Some((LogIndex(20), text("20"))), "a purge never goes back");
}

#[tokio::test(start_paused = true)]
async fn an_append_must_continue_the_log() {
    let node = SimWorld::new(3).node(1);
    let wal = open(&node, small()).await;
    let log = replica(&wal, 1);
    let hole = |index| Err(WalError::Hole { replica: ReplicaId(1), index: LogIndex(index) });
    append(&log, entries(1, 3, 10)).await.unwrap();
    assert_eq!(append(&log, entries(5, 6, 10)).await, hole(4));
    assert_eq!(append(&log, entries(3, 3, 10)).await, hole(4));
    let mut gap = entries(4, 5, 10);
    gap[1].0 = LogIndex(6);
    assert_eq!(append(&log, gap).await, hole(5));
    assert_eq!(log.state().last, Some(LogIndex(3)));
    log.purge(LogIndex(10), text("10")).await.unwrap();
    assert_eq!(append(&log, entries(4, 4, 10)).await, hole(11));
    append(&log, entries(11, 12, 10)).await.unwrap();
    append(&log, Vec::new()).await.unwrap();
    node.crash();
    node.restart();
    let log = replica(&open(&node, small()).await, 1);
    assert_eq!((log.state().first, log.state().last), (Some(LogIndex(11)), Some(LogIndex(12))));
}

/// WAL-1
#[tokio::test(start_paused = true)]
async fn one_sync_serves_all_replicas_and_completions_come_in_durable_order() {
    let node = SimWorld::new(4).node(1);
    node.set_latency(Duration::from_millis(10)..=Duration::from_millis(10));
    let wal = open(&node, WalOptions::default()).await;
    let journals: Vec<Journal> = (0..10).map(|_| Journal::default()).collect();
    append(&replica(&wal, 99), entries(0, 0, 10)).await.unwrap();
    let before = wal.sync_count();
    // The first append of the first replica opens a batch; all the others wait for the next one.
    replica(&wal, 0).append(entries(0, 0, 10), journals[0].completion());
    tokio::time::sleep(Duration::from_millis(2)).await;
    for index in 1..5 {
        for (id, journal) in (0..).zip(&journals) {
            replica(&wal, id).append(entries(index, index, 10), journal.completion());
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(wal.sync_count() - before, 2);
    let order = |journal: &Journal| journal.calls().iter().map(|(number, _)| *number).collect::<Vec<_>>();
    assert_eq!(order(&journals[0]), [0, 4, 3, 2, 1], "newest first within one sync");
    for journal in &journals[1..] {
        assert_eq!(order(journal), [3, 2, 1, 0]);
        assert!(journal.calls().iter().all(|(_, ok)| *ok));
    }
}

#[tokio::test(start_paused = true)]
async fn appends_of_one_turn_share_a_sync() {
    let node = SimWorld::new(4).node(1);
    let wal = open(&node, small()).await;
    append(&replica(&wal, 1), entries(0, 0, 10)).await.unwrap();
    let before = wal.sync_count();
    let journal = Journal::default();
    replica(&wal, 1).append(entries(1, 1, 10), journal.completion());
    let (other, second) = (replica(&wal, 2), journal.completion());
    node.env().spawn("test-other", async move { other.append(entries(0, 0, 10), second) });
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(journal.calls(), [(1, true), (0, true)]);
    assert_eq!(wal.sync_count() - before, 1);
}

/// WAL-1
#[tokio::test(start_paused = true)]
async fn a_completion_waits_for_the_sync() {
    let node = SimWorld::new(5).node(1);
    let wal = open(&node, small()).await;
    append(&replica(&wal, 1), entries(0, 0, 10)).await.unwrap();
    node.set_latency(Duration::from_secs(3)..=Duration::from_secs(3));
    let journal = Journal::default();
    replica(&wal, 1).append(entries(1, 1, 10), journal.completion());
    tokio::time::sleep(Duration::from_millis(2_900)).await;
    assert!(journal.calls().is_empty());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(journal.calls(), [(0, true)]);
}

/// WAL-2
#[tokio::test(start_paused = true)]
async fn a_removed_replica_is_gone_and_its_handles_refuse() {
    let node = SimWorld::new(6).node(1);
    let wal = open(&node, small()).await;
    let log = replica(&wal, 1);
    append(&log, entries(0, 5, 10)).await.unwrap();
    append(&replica(&wal, 2), entries(0, 5, 10)).await.unwrap();
    wal.remove(ReplicaId(1)).await.unwrap();
    wal.remove(ReplicaId(7)).await.unwrap();
    assert_eq!(append(&log, entries(6, 6, 10)).await, Err(WalError::Closed));
    assert_eq!(log.save_vote(text("vote")).await, Err(WalError::Closed));
    assert_eq!(log.truncate_after(None).await, Err(WalError::Closed));
    assert_eq!(log.purge(LogIndex(1), text("1")).await, Err(WalError::Closed));
    assert_eq!(wal.replicas(), [ReplicaId(2)]);
    node.crash();
    node.restart();
    let wal = open(&node, small()).await;
    assert_eq!(wal.replicas(), [ReplicaId(2)]);
    assert_eq!(replica(&wal, 1).state(), LogState::default());
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_keeps_what_had_no_sync_of_its_own() {
    let node = SimWorld::new(7).node(1);
    let wal = open(&node, small()).await;
    let log = replica(&wal, 1);
    let journal = Journal::default();
    log.append(entries(0, 5, 10), journal.completion());
    log.purge(LogIndex(2), text("2")).await.unwrap();
    log.save_committed(text("committed"));
    wal.shutdown().await.unwrap();
    assert_eq!(journal.calls(), [(0, true)]);
    assert_eq!(append(&log, entries(6, 6, 10)).await, Err(WalError::Closed));
    assert_eq!(wal.shutdown().await, Err(WalError::Closed));
    node.crash();
    node.restart();
    let state = replica(&open(&node, small()).await, 1).state();
    assert_eq!(state.purged, Some((LogIndex(2), text("2"))));
    assert_eq!(state.committed, Some(text("committed")));
    assert!(node.halted().is_none());
}

#[tokio::test(start_paused = true)]
async fn recovery_tells_how_far_it_is() {
    let node = SimWorld::new(8).node(1);
    let wal = open(&node, small()).await;
    for index in 0..100 {
        append(&replica(&wal, 1), entries(index, index, 1_000)).await.unwrap();
    }
    node.kill();
    node.restart();
    let seen = parking_lot::Mutex::new(Vec::new());
    let progress = |state| seen.lock().push(state);
    let dir = std::path::Path::new(crate::support::DIR);
    let wal = strata_wal::Wal::open(node.env(), node.disk(), dir, small(), &progress).await.unwrap();
    assert_eq!(read_all(&replica(&wal, 1)).await.len(), 100);
    let seen = seen.into_inner();
    assert!(seen.len() > 5);
    assert_eq!(seen[0].bytes_done, 0);
    let last = seen.last().unwrap();
    assert_eq!(last.bytes_done, last.bytes_total);
    assert!(seen.windows(2).all(|pair| pair[0].bytes_done <= pair[1].bytes_done));
    assert!(try_open(&SimWorld::new(9).node(1), small()).await.is_ok());
}
