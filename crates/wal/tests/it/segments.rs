//! Segments come, go and are used again; memory is bounded.

use std::time::Duration;

use bytes::Bytes;
use strata_codec::{checksum, checksum_append};
use strata_env::sim::SimWorld;
use strata_types::{LogIndex, ReplicaId};
use strata_wal::{ENTRY_BYTES, WalOptions};

use crate::support::{append, entries, entry, open, read_all, replica, small, text};

/// WAL-5: what is left in a segment that is used again never comes back. WAL-6.
#[tokio::test(start_paused = true)]
async fn purged_segments_are_used_again() {
    let node = SimWorld::new(1).node(1);
    let wal = open(&node, small()).await;
    let log = replica(&wal, 1);
    for index in 0..500 {
        append(&log, entries(index, index, 1_000)).await.unwrap();
        if index >= 10 {
            log.purge(LogIndex(index - 10), text("id")).await.unwrap();
        }
        assert!(wal.disk_bytes() <= 6 * 16 * 1024, "{index}: {}", wal.disk_bytes());
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let files = node.files();
    assert!(files.len() <= 5, "{files:?}");
    assert!(files.iter().all(|(_, length)| *length == 16 * 1024));
    assert_eq!(wal.disk_bytes(), files.iter().map(|(_, length)| length).sum::<u64>());
    node.crash();
    node.restart();
    let log = replica(&open(&node, small()).await, 1);
    assert_eq!(read_all(&log).await, (490..500).map(|index| entry(index, 1_000)).collect::<Vec<_>>());
}

/// Headers of frames that nobody wrote, one for each of some segments, wherever they come to lie.
fn forged(segments: std::ops::Range<u64>) -> Bytes {
    let mut forged = Vec::new();
    for _alignment in 0..8 {
        forged.push(0);
        for segment in segments.clone() {
            let mut header = b"STWF".to_vec();
            header.extend_from_slice(&8_u32.to_be_bytes());
            [5, 1_000_000, u64::MAX].iter().for_each(|number: &u64| header.extend_from_slice(&number.to_be_bytes()));
            header.extend_from_slice(&0_u32.to_be_bytes());
            let crc = checksum_append(checksum(&segment.to_be_bytes()), &header);
            header.extend_from_slice(&crc.to_be_bytes());
            forged.extend_from_slice(&header);
        }
    }
    forged.into()
}

/// WAL-5: a client can store what looks like frames, and nobody refuses to start because of it.
#[tokio::test(start_paused = true)]
async fn values_that_look_like_frames_do_no_harm() {
    let node = SimWorld::new(8).node(1);
    let wal = open(&node, small()).await;
    let log = replica(&wal, 1);
    for index in 0..40 {
        let value = if index % 2 == 0 { forged(1..40) } else { entry(index, 1_000) };
        append(&log, vec![(LogIndex(index), value)]).await.unwrap();
        log.purge(LogIndex(index.saturating_sub(2)), text("id")).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    node.crash();
    node.restart();
    assert_eq!(read_all(&replica(&open(&node, small()).await, 1)).await.len(), 2);
}

/// WAL-6
#[tokio::test(start_paused = true)]
async fn an_idle_replica_does_not_keep_old_segments() {
    let node = SimWorld::new(2).node(1);
    let wal = open(&node, small()).await;
    let (idle, busy, gone) = (replica(&wal, 1), replica(&wal, 2), replica(&wal, 3));
    append(&idle, entries(0, 4, 50)).await.unwrap();
    idle.save_vote(text("vote of the idle")).await.unwrap();
    gone.save_vote(text("vote")).await.unwrap();
    wal.remove(ReplicaId(3)).await.unwrap();
    for index in 0..300 {
        append(&busy, entries(index, index, 1_000)).await.unwrap();
        busy.purge(LogIndex(index), text("id")).await.unwrap();
    }
    assert!(wal.disk_bytes() <= 6 * 16 * 1024, "{}", wal.disk_bytes());
    assert_eq!(read_all(&idle).await.len(), 5);
    node.crash();
    node.restart();
    let wal = open(&node, small()).await;
    assert_eq!(read_all(&replica(&wal, 1)).await, (0..5).map(|index| entry(index, 50)).collect::<Vec<_>>());
    assert_eq!(replica(&wal, 1).state().vote, Some(text("vote of the idle")));
    assert_eq!(wal.replicas(), [ReplicaId(1), ReplicaId(2)]);
}

#[tokio::test(start_paused = true)]
async fn the_log_stays_in_proportion_to_what_is_live() {
    let node = SimWorld::new(3).node(1);
    let wal = open(&node, small()).await;
    let (keeper, busy) = (replica(&wal, 1), replica(&wal, 2));
    // A third of each segment stays live: too much to be called a remainder, too little to keep for ever.
    for index in 0..300 {
        append(&keeper, entries(index, index, 300)).await.unwrap();
        append(&busy, entries(index, index, 600)).await.unwrap();
        busy.purge(LogIndex(index), text("id")).await.unwrap();
        assert_eq!(wal.oldest_pins().first().map(|(replica, _)| replica.0).unwrap_or(1), 1);
    }
    let live = keeper.bytes() - 300 * ENTRY_BYTES;
    assert!(wal.disk_bytes() <= live * 2 + 9 * 16 * 1024, "{} for {live}", wal.disk_bytes());
    node.crash();
    node.restart();
    let log = replica(&open(&node, small()).await, 1);
    assert_eq!(read_all(&log).await, (0..300).map(|index| entry(index, 300)).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn memory_is_bounded_and_old_entries_are_read_from_the_disk() {
    let node = SimWorld::new(4).node(1);
    let wal = open(&node, small()).await;
    for round in 0..20 {
        for id in 1..4 {
            append(&replica(&wal, id), entries(round * 10, round * 10 + 9, 100)).await.unwrap();
        }
        assert!(wal.cached_bytes() <= 4 * 1024, "{}", wal.cached_bytes());
    }
    for id in 1..4 {
        let expected: Vec<Bytes> = (0..200).map(|index| entry(index, 100)).collect();
        assert_eq!(read_all(&replica(&wal, id)).await, expected);
    }
    for id in 1..4 {
        replica(&wal, id).truncate_after(Some(LogIndex(100))).await.unwrap();
        replica(&wal, id).purge(LogIndex(50), text("id")).await.unwrap();
        assert_eq!(read_all(&replica(&wal, id)).await.len(), 50);
        wal.remove(ReplicaId(id)).await.unwrap();
    }
    assert_eq!(wal.cached_bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn entries_larger_than_a_batch_or_a_segment_fit() {
    let node = SimWorld::new(5).node(1);
    let wal = open(&node, small()).await;
    let log = replica(&wal, 1);
    append(&log, entries(0, 0, 50_000)).await.unwrap();
    append(&log, entries(1, 20, 9_000)).await.unwrap();
    append(&log, entries(21, 21, 16 * 1024)).await.unwrap();
    let check = async |log| {
        let read = read_all(&log).await;
        assert_eq!(read.iter().map(Bytes::len).sum::<usize>(), 50_000 + 20 * 9_000 + 16 * 1024);
        assert_eq!(read[20], entry(20, 9_000));
        log
    };
    check(log).await;
    node.crash();
    node.restart();
    let wal = open(&node, small()).await;
    let log = check(replica(&wal, 1)).await;
    log.purge(LogIndex(21), text("id")).await.unwrap();
    for index in 22..100 {
        append(&log, entries(index, index, 1_000)).await.unwrap();
        log.purge(LogIndex(index), text("id")).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(wal.disk_bytes() <= 5 * 16 * 1024, "{}", wal.disk_bytes());
}

#[tokio::test(start_paused = true)]
async fn many_restarts_do_not_pile_up_segments() {
    let node = SimWorld::new(6).node(1);
    for round in 0..40 {
        let wal = open(&node, small()).await;
        append(&replica(&wal, 1), entries(round, round, 30)).await.unwrap();
        for vote in 0..5 {
            replica(&wal, 1).save_vote(text(format!("vote {round} {vote}"))).await.unwrap();
        }
        if round % 2 == 0 {
            node.crash()
        } else {
            node.kill()
        }
        node.restart();
    }
    assert!(node.files().len() <= 6, "{:?}", node.files());
    let log = replica(&open(&node, small()).await, 1);
    assert_eq!(read_all(&log).await.len(), 40);
    assert_eq!(log.state().vote, Some(text("vote 39 4")));
}

#[tokio::test(start_paused = true)]
async fn a_first_start_prepares_little_and_grows_into_full_segments() {
    let node = SimWorld::new(7).node(1);
    let options = WalOptions { segment_bytes: 8 * 1024 * 1024, ..WalOptions::default() };
    let wal = open(&node, options.clone()).await;
    assert_eq!(node.files().iter().map(|(_, length)| *length).collect::<Vec<_>>(), [4 * 1024 * 1024]);
    let log = replica(&wal, 1);
    for index in 0..6 {
        append(&log, entries(index, index, 1024 * 1024)).await.unwrap();
    }
    let lengths: Vec<u64> = node.files().iter().map(|(_, length)| *length).collect();
    assert_eq!(lengths[..2], [4 * 1024 * 1024, 8 * 1024 * 1024]);
    node.crash();
    node.restart();
    assert_eq!(read_all(&replica(&open(&node, options).await, 1)).await.len(), 6);
}
