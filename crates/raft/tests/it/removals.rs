//! Replicas that are deleted for ever (RAFT-9).

use std::time::Duration;

use strata_raft::{OpenError, Retention};
use strata_types::{LogIndex, NodeId, ReplicaId};

use crate::harness::{Cluster, GROUP};
use crate::members::change_voters;
use crate::snapshots::{EAGER, fill, maintain};

async fn pause(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

/// A group of which a follower was removed, and that follower's node. What the tablets hold was cut from the logs.
async fn shrunk(seed: u64) -> (Cluster, u64, u64) {
    let cluster = Cluster::new(seed, EAGER).await;
    fill(&cluster, 0, 30).await;
    cluster.converge().await;
    maintain(&cluster, 10).await;
    let leader = cluster.leader().await;
    let gone = (1..=3).find(|node| *node != leader).expect("three nodes");
    let rest = (1..=3).filter(|node| *node != gone).map(|node| ReplicaId(10 * node)).collect();
    change_voters(cluster.group(leader), rest).await.expect("it leads");
    // What it was still sent is durable.
    pause(100).await;
    (cluster, leader, gone)
}

/// RAFT-9
#[tokio::test(start_paused = true)]
async fn a_deleted_replica_is_gone_and_is_never_opened_again() {
    let (mut cluster, leader, gone) = shrunk(140).await;
    let replica = cluster.replicas[&gone];
    let deleted = Some(OpenError::Deleted { replica });
    for _ in 0..2 {
        cluster.delete(gone).await.expect("it is deleted");
        assert!(cluster.host(gone).group(GROUP).is_none());
        assert!(!cluster.holds(gone, replica));
        assert_eq!(cluster.open(gone).await.err(), deleted);
    }
    for _ in 0..2 {
        cluster.crash(gone).await;
        cluster.boot(gone).await;
        assert_eq!(cluster.open(gone).await.err(), deleted);
        assert!(!cluster.holds(gone, replica));
        cluster.delete(gone).await.expect("there is nothing to delete");
    }
    // The group may come back to the node as another replica.
    cluster.replicas.insert(gone, ReplicaId(77));
    cluster.founders.clear();
    cluster.start_open(gone).await;
    cluster.group(leader).add_learner(ReplicaId(77), NodeId(gone)).await.expect("it leads");
    cluster.write("after", "1").await;
    cluster.converge().await;
    assert!(cluster.value(gone, "k0").is_some());
}

/// RAFT-9
#[tokio::test(start_paused = true)]
async fn a_replica_that_never_was_here_can_be_deleted() {
    let mut cluster = Cluster::new(141, Retention::default()).await;
    cluster.boot(4).await;
    let replica = cluster.replicas[&4];
    cluster.delete(4).await.expect("there is nothing to delete");
    for _ in 0..2 {
        assert_eq!(cluster.open(4).await.err(), Some(OpenError::Deleted { replica }));
        cluster.crash(4).await;
        cluster.boot(4).await;
    }
}

/// RAFT-5
#[tokio::test(start_paused = true)]
async fn only_the_replica_that_is_named_is_deleted_or_opened() {
    let mut cluster = Cluster::new(142, Retention::default()).await;
    cluster.write("a", "1").await;
    cluster.host(2).delete(GROUP, ReplicaId(99)).await.expect("there is nothing to delete");
    assert!(cluster.group(2).status().serving);
    cluster.write("a", "2").await;
    cluster.converge().await;
    assert!(cluster.holds_log(2, ReplicaId(20)));
    cluster.replicas.insert(2, ReplicaId(98));
    match cluster.open(2).await {
        Err(OpenError::Failed { detail }) => assert!(detail.contains("open as r20, not as r98"), "{detail}"),
        other => panic!("{:?}", other.map(|group| group.status())),
    }
}

/// RAFT-9: whenever the power goes during a deletion, the replica is there whole afterwards, or it is never opened.
#[tokio::test(start_paused = true)]
async fn a_crash_while_a_replica_is_deleted_never_leaves_it_empty() {
    let (mut whole, mut refused) = (0, 0);
    for millis in 0..30 {
        let (mut cluster, _, gone) = shrunk(150 + millis).await;
        let host = cluster.host(gone).clone();
        let replica = cluster.replicas[&gone];
        let before = cluster.group(gone).status();
        assert!(before.purged > LogIndex(20), "{before:?}");
        cluster.world.node(gone).set_latency(Duration::from_millis(5)..=Duration::from_millis(5));
        let deleting = tokio::spawn(async move { host.delete(GROUP, replica).await });
        pause(millis).await;
        deleting.abort();
        cluster.crash(gone).await;
        cluster.founders.clear();
        cluster.boot(gone).await;
        match cluster.open(gone).await {
            Ok(group) => {
                whole += 1;
                pause(100).await;
                assert!(group.status().last >= before.last, "at {millis}: {:?}", group.status());
                assert!(group.tablet().get(b"k0").expect("memory").is_some(), "at {millis}");
            }
            Err(error) => {
                refused += 1;
                assert_eq!(error, OpenError::Deleted { replica });
            }
        }
        cluster.delete(gone).await.expect("it is deleted");
        assert!(!cluster.holds(gone, replica), "at {millis}");
        assert_eq!(cluster.open(gone).await.err(), Some(OpenError::Deleted { replica }));
    }
    assert!(whole > 0 && refused > 0, "{whole} {refused}");
}
