//! Cutting the log, and catching up without it.

use std::time::Duration;

use strata_raft::Retention;
use strata_types::LogIndex;

use crate::harness::{Cluster, Pieces};

/// Everything is cut as soon as it may be.
pub(crate) const EAGER: Retention = Retention {
    flush_bytes: 1,
    flush_node_bytes: 1,
    keep_bytes: 1,
    keep_bytes_max: 4 * 1024,
    log_bytes: 1,
    flush_age: Duration::from_millis(1),
};

pub(crate) async fn fill(cluster: &Cluster, from: u32, to: u32) {
    for n in from..to {
        cluster.write(&format!("k{n}"), &"x".repeat(200)).await;
    }
}

/// RAFT-3, RAFT-4
#[tokio::test(start_paused = true)]
async fn the_log_is_cut_behind_what_is_durable_and_never_before() {
    let mut cluster = Cluster::new(21, EAGER).await;
    fill(&cluster, 0, 40).await;
    for _ in 0..5 {
        cluster.maintain().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let purged: Vec<LogIndex> = cluster.statuses().iter().map(|status| status.purged).collect();
    assert!(purged.iter().any(|at| *at > LogIndex(20)), "nothing was cut: {purged:?}");
    for node in 1..=3 {
        cluster.crash(node).await;
    }
    for node in 1..=3 {
        cluster.start(node).await;
    }
    cluster.write("after", "1").await;
    cluster.converge().await;
    for n in 0..40 {
        assert!(cluster.value(2, &format!("k{n}")).is_some(), "k{n}");
    }
}

/// A full disk ends nobody: whoever needs a snapshot waits until there is room for one.
#[tokio::test(start_paused = true)]
async fn a_leader_without_room_for_a_snapshot_goes_on() {
    let mut cluster = Cluster::new(41, EAGER).await;
    fill(&cluster, 0, 5).await;
    let leader = cluster.leader().await;
    let away = (1..=3).find(|node| *node != leader).expect("three nodes");
    cluster.crash(away).await;
    fill(&cluster, 5, 60).await;
    let upkeep = async |cluster: &Cluster| {
        for _ in 0..20 {
            cluster.maintain().await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    upkeep(&cluster).await;
    // The copy that was made for the one who is away is of no use any more, and another one was not made yet.
    fill(&cluster, 60, 220).await;
    while cluster.group(leader).status().purged < LogIndex(150) {
        cluster.maintain().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    fill(&cluster, 220, 222).await;
    cluster.set_full(leader, true);
    cluster.start(away).await;
    upkeep(&cluster).await;
    assert_eq!(cluster.world.node(leader).halted(), None);
    assert!(cluster.group(leader).status().is_leader, "{:?}", cluster.statuses());
    assert_eq!(cluster.value(away, "k59"), None);
    cluster.set_full(leader, false);
    upkeep(&cluster).await;
    cluster.converge().await;
    assert!(cluster.value(away, "k221").is_some());
}

/// RAFT-4: openraft cuts nothing that it is sending, and to a follower that is slow and answers it sends all the time.
#[tokio::test(start_paused = true)]
async fn a_follower_that_cannot_keep_up_does_not_hold_the_log() {
    let cluster = Cluster::new(42, EAGER).await;
    let leader = cluster.leader().await;
    let slow = (1..=3).find(|node| *node != leader).expect("three nodes");
    cluster.world.node(slow).set_latency(Duration::from_millis(700)..=Duration::from_millis(700));
    let mut longest = 0;
    for _ in 0..60 {
        // The same keys again: the log may be as long as the tablet.
        fill(&cluster, 0, 20).await;
        cluster.maintain().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        longest = longest.max(cluster.group(leader).status().log_bytes);
    }
    assert!(longest < 100 * 1024, "the log had {longest} bytes");
    cluster.world.node(slow).set_latency(Duration::from_millis(1)..=Duration::from_millis(2));
    for _ in 0..20 {
        cluster.maintain().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    cluster.write("last", "1").await;
    cluster.converge().await;
    assert!(cluster.value(slow, "last").is_some());
}

/// RAFT-4: the log is longer than it should be, and the follower that is away holds it.
#[tokio::test(start_paused = true)]
async fn a_tablet_is_not_flushed_for_a_log_that_is_not_cut() {
    const LIMIT: u64 = 16 * 1024;
    let patient = Retention {
        flush_bytes: LIMIT,
        flush_node_bytes: 1 << 30,
        keep_bytes: 1,
        keep_bytes_max: 1 << 30,
        log_bytes: 1 << 30,
        flush_age: Duration::from_secs(600),
    };
    let mut cluster = Cluster::new(43, patient).await;
    let leader = cluster.leader().await;
    let away = (1..=3).find(|node| *node != leader).expect("three nodes");
    cluster.crash(away).await;
    fill(&cluster, 0, 100).await;
    maintain(&cluster, 5).await;
    assert!(cluster.group(leader).status().log_bytes > LIMIT);
    let mut flushes = 0;
    for tick in 0..30 {
        let key = format!("tick{tick}");
        cluster.write(&key, "1").await;
        maintain(&cluster, 1).await;
        let persisted = cluster.group(leader).tablet().get_persisted(key.as_bytes()).expect("memory");
        flushes += usize::from(persisted.is_some());
    }
    assert!(flushes <= 2, "{flushes} flushes in 30 ticks");
    assert!(cluster.group(leader).status().log_bytes > LIMIT, "{:?}", cluster.statuses());

    cluster.start(away).await;
    cluster.converge().await;
    maintain(&cluster, 10).await;
    let status = cluster.group(leader).status();
    assert!(status.purged > LogIndex(100) && status.log_bytes < LIMIT, "nobody needs it any more: {status:?}");
}

/// Also openraft#2116: a snapshot that arrives while the follower's own log writes are slow.
#[tokio::test(start_paused = true)]
async fn a_follower_that_was_away_for_long_gets_a_snapshot() {
    for seed in 30..40 {
        let mut cluster = Cluster::new(seed, EAGER).await;
        fill(&cluster, 0, 5).await;
        let leader = cluster.leader().await;
        let away = (1..=3).find(|node| *node != leader).expect("three nodes");
        cluster.crash(away).await;
        fill(&cluster, 5, 60).await;
        // The library cuts the log when its next attempt to reach the lost follower has failed.
        for _ in 0..20 {
            cluster.maintain().await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let purged = cluster.group(leader).status().purged;
        assert!(purged > LogIndex(20), "the log still reaches back, seed {seed}: {:?}", cluster.statuses());
        cluster.world.node(away).set_latency(Duration::from_millis(1)..=Duration::from_millis(50));
        cluster.start(away).await;
        fill(&cluster, 60, 80).await;
        for _ in 0..20 {
            cluster.maintain().await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        cluster.converge().await;
        assert!(cluster.value(away, "k59").is_some());
        // The received tablet is the one that a restart opens.
        cluster.crash(away).await;
        cluster.start(away).await;
        cluster.converge().await;
        assert!(cluster.value(away, "k59").is_some());
    }
}

pub(crate) async fn maintain(cluster: &Cluster, rounds: u32) {
    for _ in 0..rounds {
        cluster.maintain().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A cluster one of whose followers needs a snapshot: the node of the leader, and that of the follower, which is down.
pub(crate) async fn left_behind(seed: u64) -> (Cluster, u64, u64) {
    let mut cluster = Cluster::new(seed, EAGER).await;
    fill(&cluster, 0, 5).await;
    cluster.converge().await;
    let leader = cluster.leader().await;
    let away = (1..=3).find(|node| *node != leader).expect("three nodes");
    // What it has is durable in its tablet.
    maintain(&cluster, 5).await;
    cluster.crash(away).await;
    fill(&cluster, 5, 60).await;
    maintain(&cluster, 20).await;
    assert!(cluster.group(leader).status().purged > LogIndex(20), "{:?}", cluster.statuses());
    assert_eq!(cluster.leader().await, leader);
    (cluster, leader, away)
}

/// RAFT-4: what a snapshot on its way lacks is still in the log when it arrives.
#[tokio::test(start_paused = true)]
async fn the_log_is_not_cut_while_a_snapshot_is_on_its_way() {
    let (mut cluster, leader, away) = left_behind(41).await;
    *cluster.network.pieces.lock() = Pieces::Wait;
    cluster.start(away).await;
    while cluster.network.held() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let before = cluster.group(leader).status();
    fill(&cluster, 60, 120).await;
    maintain(&cluster, 20).await;
    let during = cluster.group(leader).status();
    assert!(during.log_bytes > EAGER.keep_bytes_max, "no cut was due");
    assert_eq!(during.purged, before.purged);
    cluster.network.release();
    cluster.converge().await;
    assert!(cluster.value(away, "k119").is_some());
    maintain(&cluster, 10).await;
    assert_eq!(cluster.leader().await, leader);
    let after = cluster.group(leader).status().purged;
    assert!(after >= during.last, "the log is kept for nobody: {after:?}");
}

/// RAFT-7 too: the replica that got the repeated snapshot ends up equal to the others.
#[tokio::test(start_paused = true)]
async fn a_damaged_piece_of_a_snapshot_is_refused_and_the_transfer_repeated() {
    let (mut cluster, _, away) = left_behind(42).await;
    *cluster.network.pieces.lock() = Pieces::Damage(1_000);
    cluster.start(away).await;
    let applied = cluster.group(away).status().applied;
    while *cluster.network.pieces.lock() != Pieces::Wait {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let refusals = cluster.network.refusals.lock().clone();
    assert!(refusals.iter().any(|refusal| refusal.contains("was damaged on the way")), "{refusals:?}");
    assert_eq!(cluster.group(away).status().applied, applied, "something of it was installed");
    assert!(cluster.value(away, "k4").is_some(), "what it had is gone");
    assert!(cluster.value(away, "k59").is_none());
    assert!(cluster.network.held() > 0, "the transfer was not begun again");
    cluster.network.release();
    cluster.converge().await;
    assert!(cluster.value(away, "k59").is_some());
}
