//! Nodes that stop in good order.

use std::time::Duration;

use bytes::Bytes;
use strata_raft::{ProposeError, Retention};
use strata_types::NodeId;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::harness::{Cluster, put};

/// Longer than any handover takes.
const LONG: Duration = Duration::from_secs(5);

/// Answers to entries come late at a node, and votes do not.
fn delay_answers(cluster: &Cluster, to: u64) {
    let others = (1..=3).filter(|node| *node != to);
    let links = others.map(|from| ((NodeId(from), NodeId(to)), Duration::from_millis(40)));
    cluster.network.entry_delays.lock().extend(links);
}

/// Six writes, a millisecond apart, of which the leader has begun most.
async fn writes_on_their_way(cluster: &Cluster, leader: u64) -> Vec<JoinHandle<Result<Bytes, ProposeError>>> {
    let writes = (0..6).map(|number| {
        let group = cluster.group(leader).clone();
        tokio::spawn(async move {
            sleep(Duration::from_millis(number)).await;
            group.propose(vec![put(&format!("k{number}"), "v")]).await.remove(0)
        })
    });
    let writes = writes.collect();
    sleep(Duration::from_millis(8)).await;
    writes
}

async fn stop(cluster: &Cluster, node: u64) {
    let host = cluster.host(node).clone();
    assert_eq!(host.hand_over().await, 0, "others take over");
    host.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_on_its_way_when_its_leader_stops_has_an_outcome() {
    let cluster = Cluster::new(301, Retention::default()).await;
    cluster.write("first", "1").await;
    let leader = cluster.leader().await;
    delay_answers(&cluster, leader);
    // Two become entries of their own, and the others wait behind them.
    let writes = writes_on_their_way(&cluster, leader).await;
    stop(&cluster, leader).await;
    for (number, write) in writes.into_iter().enumerate() {
        let outcome = timeout(LONG, write).await.expect("an answer").expect("no panic");
        match outcome {
            Ok(_) => {}
            Err(ProposeError::NotLeader { .. } | ProposeError::Stopped { .. }) if number >= 2 => {}
            Err(error) => panic!("k{number}: {error}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_its_turn_when_a_replica_stops_is_refused() {
    let cluster = Cluster::new(302, Retention::default()).await;
    cluster.write("first", "1").await;
    let leader = cluster.leader().await;
    cluster.network.isolate(NodeId(leader), true);
    let writes = writes_on_their_way(&cluster, leader).await;
    cluster.host(leader).abandon().await;
    let mut refused = 0;
    for write in writes {
        match timeout(LONG, write).await.expect("an answer").expect("no panic") {
            Err(ProposeError::Unknown { .. }) => {}
            Err(ProposeError::NotLeader { .. } | ProposeError::Stopped { .. }) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!(refused > 0, "those that never became an entry were certainly not applied");
}

#[tokio::test(start_paused = true)]
async fn leadership_that_comes_while_a_node_stops_goes_on_to_another_one() {
    for late in 0..12 {
        let cluster = Cluster::new(303 + late, Retention::default()).await;
        cluster.write("first", "1").await;
        let leader = cluster.leader().await;
        let stopping = (1..=3).find(|node| *node != leader).expect("three nodes");
        sleep(Duration::from_secs(1)).await;
        let slow = [(leader, stopping), (stopping, leader)].map(|(from, to)| (NodeId(from), NodeId(to)));
        cluster.network.delays.lock().extend(slow.map(|link| (link, Duration::from_millis(4))));
        let handover = async {
            let group = cluster.group(leader).clone();
            group.transfer_leader(cluster.replicas[&stopping], LONG).await
        };
        let stopped = async {
            // It has heard of the handover.
            sleep(Duration::from_millis(5 + late)).await;
            stop(&cluster, stopping).await;
        };
        let begin = tokio::time::Instant::now();
        tokio::join!(handover, stopped);
        let next = loop {
            let led = (1..=3).filter(|node| *node != stopping);
            let led = led.into_iter().find(|node| cluster.group(*node).status().is_leader);
            match led {
                Some(next) => break next,
                None if begin.elapsed() > LONG => panic!("nobody leads"),
                None => sleep(Duration::from_millis(1)).await,
            }
        };
        cluster.group(next).propose(vec![put("k", "v")]).await.remove(0).expect("it leads");
        let gap = begin.elapsed();
        assert!(gap < Duration::from_millis(150), "nobody led for {gap:?} when it came {late} ms after");
    }
}

/// Otherwise the next node that stops takes the majority with it.
#[tokio::test(start_paused = true)]
async fn a_replica_that_is_back_soon_counts_for_a_majority() {
    for number in 0..8 {
        let mut cluster = Cluster::new(320 + number, Retention::default()).await;
        let leader = cluster.leader().await;
        let others: Vec<u64> = (1..=3).filter(|node| *node != leader).collect();
        cluster.crash(others[0]).await;
        for round in 0..20 {
            cluster.write(&format!("k{round}"), "v").await;
            sleep(Duration::from_millis(250 + 13 * number)).await;
        }
        cluster.start(others[0]).await;
        let back = tokio::time::Instant::now();
        cluster.network.isolate(NodeId(others[1]), true);
        cluster.write("last", "v").await;
        let took = back.elapsed();
        assert!(took < Duration::from_millis(600), "it was of use {took:?} after it was back, in world {number}");
    }
}
