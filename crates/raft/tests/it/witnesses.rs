//! Reads at a timestamp that came with a vote.

use std::sync::Arc;
use std::time::Duration;

use strata_raft::{Group, ReadError, Retention, Witness};
use strata_types::{NodeId, Reach, Timestamp};

use crate::harness::{Cluster, put};

/// A cluster whose group has time, its leader, and the node of another voter.
async fn timed(seed: u64) -> (Cluster, u64, u64) {
    let cluster = Cluster::new(seed, Retention::default()).await;
    for node in 1..=3 {
        cluster.group(node).set_timed(true);
    }
    let leader = cluster.leader().await;
    open(cluster.group(leader)).await;
    let other = (1..=3).find(|node| *node != leader).expect("three nodes");
    (cluster, leader, other)
}

/// Opens the clock, and has something stamped.
async fn open(group: &Group) {
    group.open_clock(group.status().term, Timestamp(5));
    let proposed = group.propose_at(vec![put("k", "v")], Timestamp(0)).await.remove(0);
    proposed.expect("it leads");
}

/// What a voter on another node says about the leader of a group, when a timestamp was handed out there.
fn witness(cluster: &Cluster, leader: &Group, voter: u64, at: u64) -> Option<Witness> {
    let ballot = leader.ballot().expect("it leads");
    let claim = ballot.claim_on(NodeId(voter)).expect("it has a voter");
    assert!(cluster.host(voter).is_true(&claim), "it votes for the leader");
    Witness::new(ballot, claim.voter(), Timestamp(at))
}

/// RAFT-13
#[tokio::test(start_paused = true)]
async fn with_a_witness_a_snapshot_is_read_without_a_message() {
    let (cluster, leader, other) = timed(301).await;
    let group = cluster.group(leader);
    let witness = witness(&cluster, group, other, 9).expect("two of three are a majority");
    cluster.network.isolate(NodeId(leader), true);
    assert_eq!(group.snapshot_barrier_for(Timestamp(9), &Reach::ALL, Some(&witness)).await, Ok(()));
    assert_eq!(group.clock(), Some(Timestamp(10)), "nothing is stamped at or below it any more");
    let later = group.snapshot_barrier_for(Timestamp(10), &Reach::ALL, Some(&witness)).await;
    assert!(
        matches!(later, Err(ReadError::NoQuorum { .. } | ReadError::NotLeader { .. })),
        "too late for it: {later:?}"
    );
}

/// RAFT-13
#[tokio::test(start_paused = true)]
async fn a_witness_of_another_term_is_not_believed() {
    let (cluster, leader, other) = timed(302).await;
    let group: Arc<Group> = cluster.group(leader).clone();
    let witness = witness(&cluster, &group, other, 9).expect("two of three are a majority");
    let successor = group.best_successor().expect("two followers");
    assert!(group.transfer_leader(successor, Duration::from_secs(2)).await);
    let between = cluster.leader().await;
    let refused = group.snapshot_barrier_for(Timestamp(9), &Reach::ALL, Some(&witness)).await;
    assert!(refused.is_err(), "it does not lead: {refused:?}");
    assert!(cluster.group(between).transfer_leader(group.replica(), Duration::from_secs(2)).await);
    assert_eq!(cluster.leader().await, leader);
    open(&group).await;
    cluster.network.isolate(NodeId(leader), true);
    let refused = group.snapshot_barrier_for(Timestamp(9), &Reach::ALL, Some(&witness)).await;
    assert!(refused.is_err(), "it leads, but not as it did then: {refused:?}");
}

/// RAFT-13
#[tokio::test(start_paused = true)]
async fn a_leader_that_has_voted_for_another_has_no_use_for_a_witness() {
    let (cluster, leader, other) = timed(303).await;
    let ballot = cluster.group(leader).ballot().expect("it leads");
    let own = ballot.claim_on(NodeId(leader));
    assert_eq!(own, None, "a leader is no witness of its own");
    let claim = ballot.claim_on(NodeId(other)).expect("it has a voter");
    let successor = cluster.group(other).replica();
    assert!(cluster.group(leader).transfer_leader(successor, Duration::from_secs(2)).await);
    cluster.leader().await;
    assert!(!cluster.host(other).is_true(&claim), "it votes for itself now");
    assert!(!cluster.host(leader).is_true(&claim), "the voter is not there");
}
