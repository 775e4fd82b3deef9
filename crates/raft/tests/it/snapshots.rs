//! Cutting the log, and catching up without it.

use std::time::Duration;

use strata_raft::Retention;
use strata_types::LogIndex;

use crate::harness::Cluster;

/// Everything is cut as soon as it may be.
const EAGER: Retention = Retention {
    flush_bytes: 1,
    keep_bytes: 1,
    keep_bytes_max: 4 * 1024,
    log_bytes: 1,
    flush_age: Duration::from_millis(1),
};

async fn fill(cluster: &Cluster, from: u32, to: u32) {
    for n in from..to {
        cluster.write(&format!("k{n}"), &"x".repeat(200)).await;
    }
}

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
