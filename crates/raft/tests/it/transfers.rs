//! Snapshots that take a while: they break off, go on, keep to a pace and wait for room.

use std::time::Duration;

use strata_raft::Retention;
use strata_types::{LogIndex, NodeId, ReplicaId};
use tokio::time::Instant;

use crate::harness::{Cluster, Pieces};
use crate::snapshots::{EAGER, maintain};

/// Values of the large tablet, and bytes of each.
const VALUES: u32 = 120;
const VALUE_BYTES: usize = 64 * 1024;
/// Bytes of its checkpoint, about.
const SIZE: usize = VALUES as usize * VALUE_BYTES;

/// Everything is cut, but what is written in a test while a transfer waits may stay.
const LARGE: Retention = Retention { keep_bytes_max: 64 * 1024, ..EAGER };

async fn pause(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

async fn fill_large(cluster: &Cluster, letter: &str) {
    for n in 0..VALUES {
        cluster.write(&format!("large{n:04}"), &letter.repeat(VALUE_BYTES)).await;
    }
}

/// Twenty values of 2 KiB.
async fn fill_more(cluster: &Cluster, next: &mut u32) {
    for _ in 0..20 {
        cluster.write(&format!("more{next}"), &"x".repeat(2_048)).await;
        *next += 1;
    }
}

/// Every large value of a node, in one letter each.
fn letters(cluster: &Cluster, node: u64) -> String {
    let letter = |n| {
        let value = cluster.value(node, &format!("large{n:04}")).expect("it is there");
        assert!(value.len() == VALUE_BYTES && value.iter().all(|byte| *byte == value[0]), "a mixed value");
        char::from(value[0])
    };
    (0..VALUES).map(letter).collect()
}

/// A cluster with a large tablet and no log: the node of the leader.
async fn large(seed: u64) -> (Cluster, u64) {
    let mut cluster = Cluster::new(seed, LARGE).await;
    let leader = cluster.leader().await;
    let away = (1..=3).find(|node| *node != leader).expect("three nodes");
    cluster.crash(away).await;
    fill_large(&cluster, "a").await;
    maintain(&cluster, 20).await;
    assert_eq!(cluster.leader().await, leader);
    assert!(cluster.group(leader).status().purged > LogIndex(100), "{:?}", cluster.statuses());
    (cluster, leader)
}

fn absent(cluster: &Cluster) -> u64 {
    (1..=3).find(|node| !cluster.runs(*node)).expect("one is down")
}

/// Starts the follower that is down, and loses what is sent to it after about half of the snapshot.
async fn break_off(cluster: &mut Cluster) -> u64 {
    let away = absent(cluster);
    *cluster.network.pieces.lock() = Pieces::Lose(15);
    cluster.start(away).await;
    while *cluster.network.pieces.lock() != Pieces::Lose(0) {
        pause(10).await;
    }
    pause(1_000).await;
    assert!(cluster.network.sent_bytes() > SIZE / 3, "it had hardly begun");
    assert!(cluster.network.sent_bytes() < SIZE, "it was over");
    away
}

fn heal(cluster: &Cluster) {
    *cluster.network.pieces.lock() = Pieces::Pass;
}

async fn caught_up(cluster: &Cluster, node: u64) {
    for _ in 0..6_000 {
        if cluster.value(node, "large0000").is_some() {
            return cluster.converge().await;
        }
        pause(10).await;
    }
    panic!("no snapshot arrived: {:?}", cluster.statuses());
}

/// At no time were more bytes sent from a node than it may.
fn assert_paced(cluster: &Cluster, from: u64, bytes_per_second: u64) {
    let sent = cluster.network.sent.lock().clone();
    let begin = sent.first().expect("something was sent").0;
    let mut bytes = 0;
    for (at, _, _, piece) in sent.iter().filter(|(_, sender, ..)| *sender == NodeId(from)) {
        bytes += piece;
        let allowed = at.duration_since(begin).as_secs_f64() * bytes_per_second as f64;
        // What may be sent at once, the longest piece, and a little that is not bytes of files.
        let allowed = allowed * 1.02 + bytes_per_second as f64 / 10.0 + bytes_per_second as f64 / 8.0 + 4_096.0;
        assert!(bytes as f64 <= allowed, "{bytes} bytes within {:?}", at.duration_since(begin));
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_broke_off_goes_on_where_it_was() {
    let (mut cluster, leader) = large(101).await;
    let away = break_off(&mut cluster).await;
    let broken_at = cluster.network.sent_bytes();
    // The sender tries again and again, and nothing arrives.
    pause(60_000).await;
    heal(&cluster);
    caught_up(&cluster, away).await;
    let sent = cluster.network.sent_bytes();
    assert!(sent > SIZE && sent < SIZE * 13 / 10, "{sent} bytes for {SIZE}, {broken_at} when it broke off");
    assert_eq!(cluster.leader().await, leader);
    assert_eq!(letters(&cluster, away), letters(&cluster, leader));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_lost_what_it_had_gets_all_of_it() {
    let (mut cluster, _) = large(102).await;
    let away = break_off(&mut cluster).await;
    cluster.crash(away).await;
    heal(&cluster);
    cluster.start(away).await;
    caught_up(&cluster, away).await;
    assert_eq!(letters(&cluster, away), "a".repeat(VALUES as usize));
    assert!(cluster.network.sent_bytes() > SIZE * 13 / 10, "it went on from what was lost");
}

/// RAFT-11. Both checkpoints have files of the same names and lengths: what was received of the one would fit the other.
#[tokio::test(start_paused = true)]
async fn pieces_of_two_checkpoints_never_mix() {
    let (mut cluster, leader) = large(103).await;
    let away = break_off(&mut cluster).await;
    fill_large(&cluster, "b").await;
    let other = (1..=3).find(|node| ![leader, away].contains(node)).expect("three nodes");
    let former = cluster.group(leader).clone();
    assert!(former.transfer_leader(ReplicaId(10 * other), Duration::from_secs(5)).await);
    assert_eq!(cluster.leader().await, other);
    maintain(&cluster, 20).await;
    heal(&cluster);
    caught_up(&cluster, away).await;
    assert_eq!(letters(&cluster, away), "b".repeat(VALUES as usize));
    assert!(cluster.network.sent.lock().iter().any(|(_, from, ..)| *from == NodeId(other)), "no second sender");
    // A mixture would end with a position that was not announced, if not worse.
    let refusals = cluster.network.refusals.lock().clone();
    assert!(!refusals.iter().any(|refusal| refusal.contains("announced")), "{refusals:?}");
}

/// RAFT-4: also while the transfer is broken off, and not beyond all measure.
#[tokio::test(start_paused = true)]
async fn the_log_is_kept_for_a_snapshot_that_broke_off_but_not_for_ever() {
    let (mut cluster, leader) = large(104).await;
    let away = break_off(&mut cluster).await;
    let before = cluster.group(leader).status().purged;
    let mut next = 0;
    while cluster.group(leader).status().log_bytes < LARGE.keep_bytes_max * 2 {
        fill_more(&cluster, &mut next).await;
    }
    maintain(&cluster, 10).await;
    assert_eq!(cluster.group(leader).status().purged, before, "the snapshot is of no use any more");
    // Longer than the tablet.
    for letter in ["b", "c"] {
        fill_large(&cluster, letter).await;
        maintain(&cluster, 5).await;
    }
    let status = cluster.group(leader).status();
    assert!(status.purged > before && status.log_bytes < SIZE as u64, "it is held for ever: {status:?}");
    heal(&cluster);
    caught_up(&cluster, away).await;
    assert!(cluster.value(away, &format!("more{}", next - 1)).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_is_not_kept_for_ever() {
    let (mut cluster, leader) = large(105).await;
    let away = break_off(&mut cluster).await;
    cluster.crash(away).await;
    heal(&cluster);
    let last = cluster.group(leader).status().last;
    // Nothing arrives for longer than anything is kept.
    for _ in 0..32 {
        pause(10_000).await;
        cluster.maintain().await;
    }
    let mut next = 0;
    for _ in 0..4 {
        fill_more(&cluster, &mut next).await;
    }
    assert!(cluster.group(leader).status().log_bytes > LARGE.keep_bytes_max, "no cut is due");
    maintain(&cluster, 20).await;
    assert!(cluster.group(leader).status().purged > last, "the log is held for one that is gone");
    cluster.start(away).await;
    caught_up(&cluster, away).await;
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_keeps_to_the_pace() {
    let pace = 1 << 20;
    let mut cluster = Cluster::unborn(106, LARGE, [1]);
    cluster.snapshot_bytes_per_second = pace;
    for node in 1..=3 {
        cluster.start(node).await;
    }
    fill_large(&cluster, "a").await;
    maintain(&cluster, 20).await;
    let leader = cluster.leader().await;
    let begin = Instant::now();
    // Two at once, which share it.
    for node in [4, 5] {
        cluster.start(node).await;
        cluster.group(leader).add_learner(ReplicaId(10 * node), NodeId(node)).await.expect("it leads");
    }
    for node in [4, 5] {
        caught_up(&cluster, node).await;
    }
    let targets =
        cluster.network.sent.lock().iter().map(|(_, _, to, _)| *to).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(targets, [NodeId(4), NodeId(5)].into());
    assert_paced(&cluster, leader, pace);
    let least = Duration::from_secs_f64(2.0 * SIZE as f64 / pace as f64);
    // What may be sent at once was saved up before.
    let took = begin.elapsed() + Duration::from_millis(200);
    assert!(took > least && took < least * 2, "{took:?} for {least:?}");
    assert!(cluster.network.sent_bytes() < SIZE * 2 * 11 / 10, "it was sent more often than needed");
    assert_eq!(letters(&cluster, 4), letters(&cluster, 5));
}

/// RAFT-4: what was written while a snapshot was on its way is more than the log may be long, and takes a while to
/// arrive.
#[tokio::test(start_paused = true)]
async fn a_learner_catches_up_with_one_snapshot_while_clients_go_on_writing() {
    let mut cluster = Cluster::unborn(108, LARGE, [1]);
    cluster.snapshot_bytes_per_second = 1 << 20;
    for node in 1..=3 {
        cluster.start(node).await;
    }
    fill_large(&cluster, "a").await;
    maintain(&cluster, 20).await;
    let leader = cluster.leader().await;
    cluster.network.entry_delays.lock().insert((NodeId(leader), NodeId(4)), Duration::from_millis(500));
    cluster.start(4).await;
    cluster.group(leader).add_learner(ReplicaId(40), NodeId(4)).await.expect("it leads");
    let (mut next, mut longest) = (0, 0);
    for _ in 0..150 {
        fill_more(&cluster, &mut next).await;
        maintain(&cluster, 1).await;
        longest = longest.max(cluster.group(leader).status().log_bytes);
    }
    assert!(longest > 10 * LARGE.keep_bytes_max, "the transfer was too short: {longest} bytes of log");
    assert!(cluster.value(4, &format!("more{}", next - 100)).is_some(), "{:?}", cluster.statuses());
    let sent = cluster.network.sent_bytes();
    assert!(sent < SIZE * 13 / 10, "{sent} bytes for {SIZE}");
    let log_bytes = cluster.group(leader).status().log_bytes;
    assert!(log_bytes < 4 * LARGE.keep_bytes_max, "the log is held for nobody: {log_bytes} bytes");
    assert_eq!(cluster.leader().await, leader);
    cluster.converge().await;
}

#[tokio::test(start_paused = true)]
async fn a_receiver_without_room_says_so_and_goes_on_when_there_is_some() {
    let (mut cluster, leader) = large(107).await;
    let away = break_off(&mut cluster).await;
    cluster.set_full(away, true);
    heal(&cluster);
    pause(15_000).await;
    let before = cluster.network.sent_bytes();
    cluster.network.refusals.lock().clear();
    pause(30_000).await;
    let refusals = cluster.network.refusals.lock().clone();
    assert!(refusals.iter().any(|refusal| refusal.contains("disk full")), "{refusals:?}");
    let tried = cluster.network.sent_bytes() - before;
    assert!(tried < SIZE / 3, "{tried} bytes were sent to a full disk");
    assert!(cluster.value(away, "large0000").is_none());
    let status = cluster.group(away).status();
    assert!(
        status.problem.is_some_and(|problem| problem.contains("no room for a snapshot")),
        "it says what it waits for"
    );
    cluster.set_full(away, false);
    caught_up(&cluster, away).await;
    assert_eq!(cluster.group(away).status().problem, None);
    let sent = cluster.network.sent_bytes() - before - tried;
    assert!(sent < SIZE * 7 / 10, "it began from zero: {sent} bytes of {SIZE}");
    assert_eq!(letters(&cluster, away), letters(&cluster, leader));
}
