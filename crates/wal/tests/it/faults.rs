//! Damage, full disks and failing disks.

use std::time::Duration;

use strata_env::sim::{SimNode, SimWorld};
use strata_types::LogIndex;
use strata_wal::WalError;

use crate::support::{Journal, append, entries, entry, open, read_all, replica, small, text, try_open};

/// A log of five appends in its only segment.
async fn five(node: &SimNode) -> String {
    let wal = open(node, small()).await;
    for index in 0..5 {
        append(&replica(&wal, 1), entries(index, index, 100)).await.unwrap();
    }
    node.kill();
    node.restart();
    node.files()[0].0.display().to_string()
}

/// Where entry `index` lies in the file.
async fn offset_of(node: &SimNode, file: &str, index: u64) -> u64 {
    let content = node.disk().read(std::path::Path::new(file)).await.unwrap();
    let wanted = entry(index, 100);
    content.windows(100).position(|window| window == wanted).unwrap() as u64
}

/// WAL-4
#[tokio::test(start_paused = true)]
async fn damage_below_what_was_durable_is_refused_with_the_file() {
    let node = SimWorld::new(1).node(1);
    let file = five(&node).await;
    // Entry 3 is durable for sure: the frame of entry 4 says so. So is every byte of a header before it.
    let end = offset_of(&node, &file, 3).await + 100;
    for offset in (0..44).chain(64..end) {
        node.flip_bit(&file, offset).unwrap();
        let error = try_open(&node, small()).await.err();
        match error {
            Some(WalError::Corrupt { file: named, detail }) => {
                assert_eq!(named, file);
                assert!(detail.contains("offset") || detail.contains("format"), "{detail}");
            }
            other => {
                // Padding between frames means nothing.
                let content = node.disk().read(std::path::Path::new(&file)).await.unwrap();
                assert!(other.is_none() && content[offset as usize] == 1, "offset {offset}: {other:?}");
            }
        }
        node.flip_bit(&file, offset).unwrap();
        node.kill();
        node.restart();
    }
    let log = replica(&open(&node, small()).await, 1);
    assert_eq!(read_all(&log).await.len(), 5, "nothing was changed by refusing");
}

/// WAL-4
#[tokio::test(start_paused = true)]
async fn a_torn_tail_is_cut_and_the_log_goes_on() {
    for distance in 0..100 {
        let node = SimWorld::new(2).node(1);
        let file = five(&node).await;
        let offset = offset_of(&node, &file, 4).await + distance;
        node.flip_bit(&file, offset).unwrap();
        let wal = open(&node, small()).await;
        let log = replica(&wal, 1);
        assert_eq!(log.state().last, Some(LogIndex(3)), "nobody was told that entry 4 is durable by the log itself");
        append(&log, entries(4, 6, 50)).await.unwrap();
        node.crash();
        node.restart();
        let log = replica(&open(&node, small()).await, 1);
        assert_eq!(read_all(&log).await[4..], [entry(4, 50), entry(5, 50), entry(6, 50)]);
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_clean_shutdown_the_tail_is_protected_too() {
    let node = SimWorld::new(3).node(1);
    let wal = open(&node, small()).await;
    append(&replica(&wal, 1), entries(0, 4, 100)).await.unwrap();
    wal.shutdown().await.unwrap();
    node.kill();
    node.restart();
    let file = node.files()[0].0.display().to_string();
    node.flip_bit(&file, offset_of(&node, &file, 4).await).unwrap();
    assert!(matches!(try_open(&node, small()).await.err(), Some(WalError::Corrupt { .. })));
}

/// WAL-4
#[tokio::test(start_paused = true)]
async fn a_damaged_or_missing_middle_segment_is_refused() {
    for missing in [false, true] {
        let node = SimWorld::new(4).node(1);
        let wal = open(&node, small()).await;
        for index in 0..60 {
            append(&replica(&wal, 1), entries(index, index, 1_000)).await.unwrap();
        }
        node.kill();
        node.restart();
        let middle = node.files()[1].0.clone();
        if missing {
            node.disk().remove_file(&middle).await.unwrap();
        } else {
            node.flip_bit(&middle, 70).unwrap();
        }
        let Some(WalError::Corrupt { file, .. }) = try_open(&node, small()).await.err() else {
            panic!("damage was not noticed");
        };
        let named = if missing { node.files()[0].0.clone() } else { middle };
        assert_eq!(file, named.display().to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn damage_under_a_running_log_is_noticed_by_the_read() {
    let node = SimWorld::new(5).node(1);
    let wal = open(&node, small()).await;
    let log = replica(&wal, 1);
    append(&log, entries(0, 99, 100)).await.unwrap();
    let file = node.files()[0].0.display().to_string();
    node.flip_bit(&file, offset_of(&node, &file, 7).await).unwrap();
    assert_eq!(log.read(LogIndex(6), LogIndex(7), 1_000).await.unwrap(), [entry(6, 100)]);
    assert!(matches!(log.read(LogIndex(6), LogIndex(8), 1_000).await, Err(WalError::Corrupt { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_refuses_and_recovers_by_itself() {
    let node = SimWorld::new(6).node(1);
    let wal = open(&node, small()).await;
    let (log, journal) = (replica(&wal, 1), Journal::default());
    assert!(wal.room());
    node.set_capacity(Some(3 * 16 * 1024));
    let mut index = 0;
    while wal.room() {
        append(&log, entries(index, index, 500)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
        index += 1;
    }
    assert!(index > 32, "{index}: room was given up too early");
    log.save_vote(text("a vote still fits")).await.unwrap();
    // Somebody writes on nevertheless: it waits, and is not lost.
    for _ in 0..40 {
        log.append(entries(index, index, 500), journal.completion());
        index += 1;
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    let done = journal.calls().len();
    assert!(done < 40);
    assert_eq!(log.read(LogIndex(0), LogIndex(index), usize::MAX).await.unwrap().len() as u64, index);
    node.set_capacity(None);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(wal.room());
    assert_eq!(journal.calls().iter().filter(|(_, ok)| *ok).count(), 40);
    assert!(node.halted().is_none());
    node.crash();
    node.restart();
    assert_eq!(read_all(&replica(&open(&node, small()).await, 1)).await.len() as u64, index);
}

#[tokio::test(start_paused = true)]
async fn a_purge_frees_a_full_disk() {
    let node = SimWorld::new(7).node(1);
    let wal = open(&node, small()).await;
    let log = replica(&wal, 1);
    node.set_capacity(Some(3 * 16 * 1024));
    let mut index = 0;
    while wal.room() {
        append(&log, entries(index, index, 500)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
        index += 1;
    }
    assert_eq!(wal.oldest_pins()[0].0, log.replica());
    log.purge(LogIndex(index - 1), text("id")).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(wal.room());
    for next in index..index + 200 {
        append(&log, entries(next, next, 500)).await.unwrap();
        log.purge(LogIndex(next), text("id")).await.unwrap();
    }
    assert!(node.files().iter().map(|(_, length)| length).sum::<u64>() <= 3 * 16 * 1024);
}

#[tokio::test(start_paused = true)]
async fn a_log_opens_and_closes_on_a_full_disk() {
    let node = SimWorld::new(8).node(1);
    node.set_capacity(Some(1_000));
    let wal = open(&node, small()).await;
    assert!(!wal.room());
    let journal = Journal::default();
    replica(&wal, 1).append(entries(0, 0, 10), journal.completion());
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(journal.calls().is_empty());
    assert_eq!(wal.shutdown().await, Err(WalError::Closed));
    assert_eq!(journal.calls(), [(0, false)]);
    assert!(node.halted().is_none(), "a full disk is no failure");
    node.set_capacity(None);
    assert!(open(&node, small()).await.room());
}

/// WAL-3
#[tokio::test(start_paused = true)]
async fn a_failed_sync_poisons_the_log_for_ever_and_halts_the_node() {
    let node = SimWorld::new(9).node(1);
    let wal = open(&node, small()).await;
    let (log, other) = (replica(&wal, 1), replica(&wal, 2));
    append(&log, entries(0, 0, 10)).await.unwrap();
    let journal = Journal::default();
    node.fail_next_sync();
    log.append(entries(1, 1, 10), journal.completion());
    other.append(entries(0, 0, 10), journal.completion());
    let vote = other.save_vote(text("vote")).await;
    assert!(matches!(vote, Err(WalError::Failed { .. })), "{vote:?}");
    assert_eq!(journal.calls(), [(1, false), (0, false)]);
    log.append(entries(2, 2, 10), journal.completion());
    assert_eq!(journal.calls()[2..], [(2, false)]);
    assert!(matches!(log.truncate_after(None).await, Err(WalError::Failed { .. })));
    let reason = node.halted().unwrap().reason;
    assert!(reason.contains("sync") && reason.contains(".wal"), "{reason}");
    node.restart();
    let log = replica(&open(&node, small()).await, 1);
    assert_eq!(read_all(&log).await[0], entry(0, 10));
}

/// WAL-2
#[tokio::test(start_paused = true)]
async fn a_truncation_is_durable_when_it_returns() {
    for seed in 0..50 {
        let node = SimWorld::new(seed).node(1);
        let log = replica(&open(&node, small()).await, 1);
        append(&log, entries(10, 20, 100)).await.unwrap();
        log.truncate_after(Some(LogIndex(12))).await.unwrap();
        node.crash();
        node.restart();
        let log = replica(&open(&node, small()).await, 1);
        assert_eq!(log.state().last, Some(LogIndex(12)));
        log.truncate_after(None).await.unwrap();
        node.crash();
        node.restart();
        assert_eq!(replica(&open(&node, small()).await, 1).state().last, None);
    }
}

/// WAL-3: after a failed sync the system may take for written what is in its cache only.
#[tokio::test(start_paused = true)]
async fn what_is_read_back_after_a_failed_sync_stays_when_the_power_goes() {
    let mut kept = 0;
    for seed in 0..20 {
        for before in [0, 3] {
            let node = SimWorld::new(seed).node(1);
            let wal = open(&node, small()).await;
            let log = replica(&wal, 1);
            for index in 0..before {
                append(&log, entries(index, index, 100)).await.unwrap();
            }
            node.fail_next_sync();
            append(&log, entries(before, before + 2, 700)).await.unwrap_err();
            node.kill();
            node.restart();
            let found = read_all(&replica(&open(&node, small()).await, 1)).await;
            assert!(found.len() as u64 >= before, "seed {seed}");
            kept += usize::from(found.len() as u64 > before);
            node.crash();
            node.restart();
            assert_eq!(read_all(&replica(&open(&node, small()).await, 1)).await, found, "seed {seed}");
        }
    }
    assert!(kept > 10, "what was not synced was read back {kept} times");
}
