//! A replica that finds its own files damaged while it runs leaves its group, and the others go on (CLUSTER-5).

use std::time::Duration;

use strata_raft::{ProposeError, ReadError, Retention};
use strata_storage::StorageError;
use tokio::time::Instant;

use crate::harness::{Cluster, put};
use crate::snapshots::{EAGER, fill};

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_told_of_damage_refuses_at_once_and_gives_leadership_away() {
    let cluster = Cluster::new(31, Retention::default()).await;
    cluster.write("a", "1").await;
    let damaged = cluster.leader().await;
    let group = cluster.group(damaged);
    group.refuse(&StorageError::Full { detail: "no space left".into() });
    assert!(group.is_sound(), "a full disk is no damage");

    group.refuse(&StorageError::Corrupt { file: "000012.sst".into(), detail: "checksum mismatch".into() });
    match group.propose(vec![put("a", "2")]).await.remove(0) {
        Err(ProposeError::Stopped { reason }) => assert!(reason.contains("000012.sst"), "{reason}"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(group.read_barrier().await, Err(ReadError::Stopped { .. })));
    let start = Instant::now();
    cluster.write("a", "3").await;
    assert!(start.elapsed() < Duration::from_millis(300), "handed over, not timed out: {:?}", start.elapsed());
    let status = group.status();
    assert!(!status.serving && !status.is_leader, "{status:?}");
    assert!(status.problem.is_some_and(|problem| problem.contains("000012.sst")));
}

#[tokio::test(start_paused = true)]
async fn damage_that_an_apply_finds_ends_the_replica_and_not_the_node() {
    let cluster = Cluster::new(32, Retention::default()).await;
    cluster.write("a", "1").await;
    let damaged = cluster.leader().await;
    cluster.damage(damaged);
    let unanswered = cluster.group(damaged).propose(vec![put("a", "2")]).await.remove(0);
    assert!(matches!(unanswered, Err(ProposeError::Unknown { .. })), "{unanswered:?}");
    let problem = cluster.group(damaged).status().problem.expect("it refuses to serve");
    assert!(problem.contains("image"), "and names the file: {problem}");
    cluster.maintain().await;
    cluster.write("a", "3").await;
    assert_ne!(cluster.leader().await, damaged);
}

#[tokio::test(start_paused = true)]
async fn damage_that_upkeep_finds_ends_the_leadership_too() {
    let cluster = Cluster::new(33, Retention::default()).await;
    cluster.write("a", "1").await;
    let damaged = cluster.leader().await;
    cluster.damage(damaged);
    cluster.maintain().await;
    assert!(!cluster.group(damaged).is_sound());
    cluster.maintain().await;
    cluster.write("a", "2").await;
    assert_ne!(cluster.leader().await, damaged);
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_snapshots_are_damaged_finds_out_and_gives_leadership_away() {
    let mut cluster = Cluster::new(34, EAGER).await;
    fill(&cluster, 0, 5).await;
    let damaged = cluster.leader().await;
    let away = (1..=3).find(|node| *node != damaged).expect("three nodes");
    cluster.crash(away).await;
    cluster.damage_unseen(damaged);
    fill(&cluster, 5, 60).await;
    let upkeep = async |cluster: &Cluster| {
        for _ in 0..30 {
            cluster.maintain().await;
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    upkeep(&cluster).await;
    assert!(cluster.group(damaged).is_sound(), "nobody has noticed");
    cluster.start(away).await;
    upkeep(&cluster).await;
    let problem = cluster.group(damaged).status().problem.expect("it refuses to serve");
    assert!(problem.contains("damaged"), "{problem}");
    assert_ne!(cluster.leader().await, damaged);
    assert!(cluster.group(away).is_sound(), "who got it keeps what it had");
    cluster.write("after", "1").await;
    upkeep(&cluster).await;
    assert_eq!(cluster.value(away, "after").as_deref(), Some(&b"1"[..]));
    assert!(cluster.value(away, "k59").is_some());
}
