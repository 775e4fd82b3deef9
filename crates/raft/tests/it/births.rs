//! Founding a group, more than once.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use strata_raft::{GroupSpec, Retention};
use strata_types::{GroupId, LogIndex, NodeId, ReplicaId};

use crate::harness::{Cluster, Register, members};

#[tokio::test(start_paused = true)]
async fn replicas_that_found_the_group_together_found_one_group() {
    for seed in 50..60 {
        let mut cluster = Cluster::unborn(seed, Retention::default(), 1..=3);
        for node in 1..=3 {
            cluster.start(node).await;
        }
        cluster.write("a", "1").await;
        cluster.converge().await;
        for node in 1..=3 {
            assert_eq!(cluster.value(node, "a").as_deref(), Some(b"1".as_slice()), "seed {seed}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_without_a_founder_waits_until_anybody_founds_it() {
    let mut cluster = Cluster::unborn(61, Retention::default(), []);
    for node in 2..=3 {
        cluster.start(node).await;
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(cluster.statuses().iter().all(|status| status.leader.is_none() && status.last == LogIndex(0)));
    assert_eq!(cluster.group(3).found(&members()).await, Ok(true));
    assert_eq!(cluster.group(3).found(&members()).await, Ok(false), "it is founded");
    cluster.write("a", "1").await;
    assert_eq!(cluster.group(2).found(&members()).await, Ok(false), "it follows a leader");
}

/// A replica that was cut off since its birth founds the group when the others have long led it, and cut their logs.
#[tokio::test(start_paused = true)]
async fn founding_a_group_that_others_have_led_for_long_changes_nothing() {
    for (seed, entries) in [(62, 0), (63, 3), (64, 60)] {
        let keep = Retention { flush_bytes: 1, keep_bytes: 1, keep_bytes_max: 4 * 1024, ..Retention::default() };
        let mut cluster = Cluster::unborn(seed, keep, [1]);
        cluster.network.isolate(NodeId(3), true);
        for node in 1..=3 {
            cluster.start(node).await;
        }
        for n in 0..entries {
            cluster.write(&format!("k{n}"), &"x".repeat(200)).await;
        }
        for _ in 0..20 {
            cluster.maintain().await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert_eq!(cluster.group(3).found(&members()).await, Ok(true));
        tokio::time::sleep(Duration::from_secs(2)).await;
        let leader = cluster.leader().await;
        assert_ne!(leader, 3, "one of three elected itself");
        let cut = cluster.group(leader).status().purged;
        assert_eq!(cut > LogIndex(0), entries == 60, "{cut:?}");
        cluster.network.isolate(NodeId(3), false);
        cluster.write("after", "1").await;
        cluster.converge().await;
        for n in 0..entries {
            assert!(cluster.value(3, &format!("k{n}")).is_some(), "k{n}");
        }
    }
}

/// A group of its own on one node.
fn alone(group: u64) -> GroupSpec {
    let replica = ReplicaId(1_000 + group);
    GroupSpec {
        group: GroupId(group),
        replica,
        members: [(replica, NodeId(1))].into(),
        machine: Arc::new(Register),
        initialize: true,
    }
}

#[tokio::test(start_paused = true)]
async fn groups_are_opened_several_at_a_time_and_each_once() {
    let mut cluster = Cluster::unborn(65, Retention::default(), []);
    cluster.pool_delay = Duration::from_millis(50);
    cluster.start(1).await;
    let host = cluster.host(1);
    let begun = tokio::time::Instant::now();
    host.open(alone(2)).await.expect("it opens");
    let one = begun.elapsed();
    let begun = tokio::time::Instant::now();
    for opened in join_all((3..=10).map(|group| host.open(alone(group)))).await {
        opened.expect("it opens");
    }
    let eight = begun.elapsed();
    assert!(one > Duration::ZERO && eight >= one * 2 && eight < one * 3, "one took {one:?}, eight took {eight:?}");
    let (first, second) = tokio::join!(host.open(alone(11)), host.open(alone(11)));
    assert!(Arc::ptr_eq(&first.expect("it opens"), &second.expect("it is open")));
}
