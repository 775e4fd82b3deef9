//! Cores that panic, disks that stand still.

use std::time::Duration;

use bytes::Bytes;
use strata_raft::{ProposeError, Retention, mutant};
use tokio::task::JoinHandle;

use crate::harness::{Cluster, put};

/// Lets a core panic and maintains the node as its timer would.
async fn panic_and_maintain(cluster: &Cluster, node: u64) {
    mutant::panic_core(cluster.group(node)).await;
    cluster.host(node).maintain().await;
    for _ in 0..20 {
        if cluster.group(node).status().serving {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A second write of a key while the disks of both followers stand still: the leader, its followers, and the answer.
async fn write_with_one_disk(cluster: &Cluster) -> (u64, Vec<u64>, JoinHandle<Result<Bytes, ProposeError>>) {
    cluster.write("a", "1").await;
    let leader = cluster.leader().await;
    let followers: Vec<u64> = (1..=3).filter(|node| *node != leader).collect();
    for node in &followers {
        cluster.world.node(*node).set_stuck(true);
    }
    let group = cluster.group(leader).clone();
    let writing = tokio::spawn(async move { group.propose(vec![put("a", "2")]).await.remove(0) });
    (leader, followers, writing)
}

/// RAFT-1, RAFT-3: what was acknowledged before and between panics of the library is there after them.
#[tokio::test(start_paused = true)]
async fn a_group_whose_core_panicked_is_reopened_and_loses_nothing() {
    let cluster = Cluster::new(70, Retention::default()).await;
    for round in 0..3 {
        cluster.write(&format!("before{round}"), "kept").await;
        let leader = cluster.leader().await;
        let writes = (0..20).map(|n| {
            let group = cluster.group(leader).clone();
            async move { group.propose(vec![put(&format!("during{round}.{n}"), "kept")]).await.remove(0) }
        });
        let writes = futures_util::future::join_all(writes);
        let (outcomes, ()) = tokio::join!(writes, panic_and_maintain(&cluster, leader));
        assert!(cluster.group(leader).status().serving, "{:?}", cluster.group(leader).status());
        cluster.write(&format!("after{round}"), "kept").await;
        cluster.converge().await;
        for node in 1..=3 {
            for key in [format!("before{round}"), format!("after{round}")] {
                assert_eq!(cluster.value(node, &key).as_deref(), Some(b"kept".as_slice()), "{key} on {node}");
            }
            for (n, outcome) in outcomes.iter().enumerate() {
                match outcome {
                    Ok(_) => assert!(cluster.value(node, &format!("during{round}.{n}")).is_some(), "{n} on {node}"),
                    Err(ProposeError::Unknown { .. } | ProposeError::NotLeader { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_fourth_panic_within_ten_minutes_stops_the_node() {
    let cluster = Cluster::new(71, Retention::default()).await;
    let node = 2;
    for _ in 0..3 {
        panic_and_maintain(&cluster, node).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    assert_eq!(cluster.world.node(node).halted(), None);
    cluster.write("a", "1").await;
    cluster.converge().await;
    panic_and_maintain(&cluster, node).await;
    let halt = cluster.world.node(node).halted().expect("it stopped itself");
    assert!(halt.reason.contains("panicked 4 times in ten minutes"), "{halt:?}");
}

#[tokio::test(start_paused = true)]
async fn panics_of_long_ago_are_forgiven() {
    let cluster = Cluster::new(72, Retention::default()).await;
    for _ in 0..3 {
        panic_and_maintain(&cluster, 3).await;
    }
    tokio::time::sleep(Duration::from_secs(601)).await;
    panic_and_maintain(&cluster, 3).await;
    assert_eq!(cluster.world.node(3).halted(), None);
    cluster.write("a", "1").await;
    cluster.converge().await;
}

/// RAFT-1: a core that is started anew finds entries in its log that are not durable yet, and does not vouch for them.
#[tokio::test(start_paused = true)]
async fn a_reopened_core_vouches_for_nothing_that_is_not_durable() {
    let cluster = Cluster::new(74, Retention::default()).await;
    let (_, followers, mut writing) = write_with_one_disk(&cluster).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    panic_and_maintain(&cluster, followers[0]).await;
    let early = tokio::time::timeout(Duration::from_secs(5), &mut writing).await;
    assert!(early.is_err(), "acknowledged by one disk of three: {early:?}");
    for node in &followers {
        cluster.world.node(*node).set_stuck(false);
    }
    cluster.converge().await;
    cluster.write("b", "1").await;
}

#[tokio::test(start_paused = true)]
async fn questions_for_votes_do_not_pile_up_where_the_disk_stands_still() {
    let mut cluster = Cluster::new(75, Retention::default()).await;
    cluster.write("a", "1").await;
    cluster.converge().await;
    let leader = cluster.leader().await;
    let stuck = (1..=3).find(|node| *node != leader).expect("three nodes");
    cluster.world.node(stuck).set_stuck(true);
    cluster.crash(leader).await;
    tokio::time::sleep(Duration::from_secs(180)).await;
    let refusals = cluster.network.refusals.lock().clone();
    assert!(refusals.iter().any(|refusal| refusal.contains("too many questions")), "{} refusals", refusals.len());
    cluster.world.node(stuck).set_stuck(false);
    cluster.write("a", "2").await;
}

/// RAFT-1, RAFT-2: no reply while the logs of a majority are not synced, and the reply when they are.
#[tokio::test(start_paused = true)]
async fn nothing_is_acknowledged_while_the_disks_of_a_majority_stand_still() {
    let cluster = Cluster::new(73, Retention::default()).await;
    let (leader, followers, mut writing) = write_with_one_disk(&cluster).await;
    let early = tokio::time::timeout(Duration::from_millis(300), &mut writing).await;
    assert!(early.is_err(), "acknowledged by one disk of three: {early:?}");
    assert_eq!(cluster.value(leader, "a").as_deref(), Some(b"1".as_slice()), "applied before it is committed");
    cluster.world.node(followers[0]).set_stuck(false);
    let outcome = writing.await.expect("no panic");
    assert!(outcome.is_ok(), "two disks of three have it: {outcome:?}");
    cluster.world.node(followers[1]).set_stuck(false);
    cluster.converge().await;
}
