//! Nodes without room: what can wait waits and says so, and the others go on.

use std::time::Duration;

use strata_raft::{OpenError, Retention};
use strata_types::{LogIndex, NodeId};
use tokio::time::{sleep, timeout};

use crate::harness::{Cluster, Pieces, put};
use crate::snapshots::{EAGER, fill, left_behind, maintain};

/// Longer than anything that does not wait for room.
const PATIENCE: Duration = Duration::from_secs(20);

async fn follower(cluster: &Cluster) -> u64 {
    let leader = cluster.leader().await;
    (1..=3).find(|node| *node != leader).expect("three nodes")
}

/// What a replica waits for.
fn problem(cluster: &Cluster, node: u64) -> String {
    cluster.group(node).status().problem.unwrap_or_default()
}

/// There is no room for a snapshot on a node, and there will be none: it says so all the time.
async fn assert_no_room_for_a_snapshot(cluster: &Cluster, node: u64) {
    for _ in 0..30 {
        let problem = problem(cluster, node);
        assert!(problem.contains("no room for a snapshot"), "it waits for: {problem}");
        sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_whose_log_was_cut_opens_without_room_when_it_has_nothing_to_apply() {
    let mut cluster = Cluster::new(121, EAGER).await;
    fill(&cluster, 0, 40).await;
    cluster.converge().await;
    maintain(&cluster, 10).await;
    let node = follower(&cluster).await;
    assert!(cluster.group(node).status().purged > LogIndex(20), "{:?}", cluster.statuses());
    cluster.crash(node).await;
    cluster.set_nearly_full(node, true);
    cluster.boot(node).await;
    let opened = timeout(PATIENCE, cluster.open(node)).await.expect("it waits for no room");
    assert!(opened.is_ok());
    drop(opened);
    cluster.start_open(node).await;

    cluster.write("after", "1").await;
    sleep(Duration::from_secs(2)).await;
    assert!(problem(&cluster, node).contains("no room to apply"), "{:?}", cluster.statuses());
    cluster.set_nearly_full(node, false);
    cluster.converge().await;
    assert_eq!(problem(&cluster, node), "");
    assert!(cluster.value(node, "after").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_replica_without_room_for_what_it_has_to_apply_is_opened_later() {
    let mut cluster = Cluster::new(122, Retention::default()).await;
    fill(&cluster, 0, 40).await;
    cluster.converge().await;
    let node = follower(&cluster).await;
    cluster.crash(node).await;
    cluster.set_nearly_full(node, true);
    cluster.boot(node).await;
    for _ in 0..2 {
        let opened = timeout(PATIENCE, cluster.open(node)).await.expect("nobody else waits for it");
        assert!(matches!(opened, Err(OpenError::Full { .. })), "{:?}", opened.err());
    }
    assert_eq!(cluster.world.node(node).halted(), None);
    cluster.set_nearly_full(node, false);
    cluster.start_open(node).await;
    cluster.converge().await;
    assert!(cluster.value(node, "k39").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_replica_without_room_to_begin_a_snapshot_says_so() {
    let cluster = Cluster::new(123, EAGER).await;
    fill(&cluster, 0, 5).await;
    cluster.converge().await;
    let away = follower(&cluster).await;
    maintain(&cluster, 5).await;
    cluster.network.isolate(NodeId(away), true);
    fill(&cluster, 5, 60).await;
    maintain(&cluster, 20).await;
    let leader = cluster.leader().await;
    assert!(cluster.group(leader).status().purged > LogIndex(20), "{:?}", cluster.statuses());
    cluster.set_full(away, true);
    cluster.network.isolate(NodeId(away), false);
    sleep(PATIENCE).await;
    assert_no_room_for_a_snapshot(&cluster, away).await;
    cluster.set_full(away, false);
    cluster.converge().await;
    assert_eq!(problem(&cluster, away), "");
}

#[tokio::test(start_paused = true)]
async fn a_replica_without_room_to_finish_a_snapshot_says_so() {
    let (mut cluster, _, away) = left_behind(124).await;
    *cluster.network.pieces.lock() = Pieces::LoseLast;
    cluster.start(away).await;
    while cluster.group(away).arrived() == 0 {
        sleep(Duration::from_millis(10)).await;
    }
    sleep(Duration::from_secs(5)).await;
    // All of it is there. The leader says so once more when it has waited long for an answer.
    cluster.set_full(away, true);
    *cluster.network.pieces.lock() = Pieces::Pass;
    sleep(Duration::from_secs(130)).await;
    assert_no_room_for_a_snapshot(&cluster, away).await;
    assert_eq!(cluster.value(away, "k59"), None);
    cluster.set_full(away, false);
    cluster.converge().await;
    assert!(cluster.value(away, "k59").is_some());
    assert_eq!(problem(&cluster, away), "");
}

/// One follower has no room for writes, and the third replica is down: the leader that follows can still be one.
#[tokio::test(start_paused = true)]
async fn a_node_without_room_for_writes_follows_a_new_leader() {
    let mut cluster = Cluster::new(125, Retention::default()).await;
    cluster.write("a", "1").await;
    cluster.converge().await;
    let former = cluster.leader().await;
    let full = follower(&cluster).await;
    let other = (1..=3).find(|node| ![former, full].contains(node)).expect("three nodes");
    cluster.crash(other).await;
    let machine = cluster.world.node(full);
    let used: u64 = machine.files().iter().map(|(_, length)| length).sum();
    machine.set_capacity(Some(used));
    // Short ones: when one has no room any more, the elections that follow take what is left for writes.
    for n in 0.. {
        let commands = vec![put(&format!("k{n}"), "x")];
        if timeout(Duration::from_secs(2), cluster.group(former).propose(commands)).await.is_err() {
            break;
        }
        assert!(n < 20_000, "its disk does not fill");
    }
    let refusals = cluster.network.refusals.lock().clone();
    assert!(refusals.iter().any(|refusal| refusal.contains("kept for votes")), "{refusals:?}");

    // Only who has all can be elected without the former leader. It then hands over, and its log gets a blank entry.
    cluster.crash(former).await;
    cluster.start(other).await;
    assert_eq!(cluster.leader().await, full);
    cluster.converge().await;
    let target = cluster.replicas[&other];
    assert!(cluster.group(full).transfer_leader(target, Duration::from_secs(5)).await);
    assert_eq!(cluster.leader().await, other);
    let write = cluster.group(other).propose(vec![put("a", "2")]);
    assert!(timeout(Duration::from_secs(2), write).await.is_err(), "a write took what is kept for votes");

    machine.set_capacity(None);
    cluster.write("a", "3").await;
    cluster.converge().await;
    assert_eq!(cluster.value(full, "a").as_deref(), Some(b"3".as_slice()));
}
