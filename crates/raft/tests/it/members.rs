//! Replicas that join and leave a group.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use strata_raft::{ChangeError, Group, ProposeError, Retention};
use strata_types::{LogIndex, NodeId, ReplicaId};

use crate::harness::{Cluster, put};
use crate::snapshots::{EAGER, fill, maintain};

fn id(node: u64) -> ReplicaId {
    ReplicaId(10 * node)
}

fn ids(nodes: impl IntoIterator<Item = u64>) -> BTreeSet<ReplicaId> {
    nodes.into_iter().map(id).collect()
}

async fn pause(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

fn voters(group: &Group) -> BTreeSet<ReplicaId> {
    group.members().expect("it leads").voters.into_keys().collect()
}

/// Changes the voters in the present term.
pub(crate) async fn change_voters(group: &Group, to: BTreeSet<ReplicaId>) -> Result<(), ChangeError> {
    group.change_voters(group.status().term, to).await
}

/// Starts a node, adds its replica and waits until it has caught up.
async fn join(cluster: &mut Cluster, node: u64) {
    cluster.start(node).await;
    let leader = cluster.leader().await;
    cluster.group(leader).add_learner(id(node), NodeId(node)).await.expect("it leads");
    caught_up(cluster, leader, node).await;
}

async fn caught_up(cluster: &Cluster, leader: u64, node: u64) {
    for _ in 0..1_000 {
        if cluster.group(leader).lag(id(node)) == Some(0) {
            return;
        }
        pause(10).await;
    }
    panic!("it did not catch up: {:?}", cluster.statuses());
}

/// Three nodes, a learner on the fourth, and the nodes of the leader and of both followers.
async fn four(seed: u64) -> (Cluster, u64, u64, u64) {
    let mut cluster = Cluster::new(seed, Retention::default()).await;
    cluster.write("before", "1").await;
    join(&mut cluster, 4).await;
    let leader = cluster.leader().await;
    let mut others = (1..=3).filter(|node| *node != leader);
    let (one, two) = (others.next().expect("a follower"), others.next().expect("another"));
    (cluster, leader, one, two)
}

/// Writes until told to stop, and returns the keys that were acknowledged.
async fn write_until(cluster: &Cluster, stop: &std::cell::Cell<bool>) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let mut number = 0;
    while !stop.get() {
        let key = format!("during{number}");
        number += 1;
        let leader = cluster.leader().await;
        match cluster.group(leader).propose(vec![put(&key, "1")]).await.remove(0) {
            Ok(_) => acknowledged.push(key),
            Err(ProposeError::NotLeader { .. } | ProposeError::Unknown { .. }) => pause(1).await,
            Err(error) => panic!("{error}"),
        }
    }
    acknowledged
}

/// RAFT-4 too: what the snapshot lacks is in the log.
#[tokio::test(start_paused = true)]
async fn a_replica_joins_a_group_whose_log_was_cut() {
    let mut cluster = Cluster::new(80, EAGER).await;
    fill(&cluster, 0, 60).await;
    maintain(&cluster, 20).await;
    let leader = cluster.leader().await;
    assert!(cluster.group(leader).status().purged > LogIndex(20), "a snapshot is not needed");

    cluster.start(4).await;
    pause(20_000).await;
    let alone = cluster.group(4).status();
    assert_eq!((alone.term.0, alone.last.0, alone.leader), (0, 0, None), "it did something on its own");
    assert_eq!(cluster.group(4).members(), None);

    assert_eq!(cluster.group(leader).lag(id(4)), None);
    cluster.group(leader).add_learner(id(4), NodeId(4)).await.expect("it leads");
    let members = cluster.group(leader).members().expect("it leads");
    assert!(members.is_committed && !members.is_joint);
    assert_eq!(members.learners, [(id(4), NodeId(4))].into());
    assert_eq!(voters(cluster.group(leader)), ids([1, 2, 3]));
    fill(&cluster, 60, 90).await;
    maintain(&cluster, 10).await;
    caught_up(&cluster, leader, 4).await;
    cluster.converge().await;
    for key in ["k0", "k59", "k89"] {
        assert!(cluster.value(4, key).is_some(), "{key}");
    }
    // Again, and once more after it was removed: nothing else happens.
    cluster.group(leader).add_learner(id(4), NodeId(4)).await.expect("it is one");
    let elsewhere = cluster.group(leader).add_learner(id(4), NodeId(5)).await;
    assert!(matches!(elsewhere, Err(ChangeError::Failed { .. })), "{elsewhere:?}");
    for _ in 0..2 {
        cluster.group(leader).remove_learner(id(4)).await.expect("it leads");
    }
    assert!(cluster.group(leader).members().expect("it leads").learners.is_empty());
    let voter = cluster.group(leader).remove_learner(id(leader)).await;
    assert!(matches!(voter, Err(ChangeError::Failed { .. })), "{voter:?}");
}

/// RAFT-4
#[tokio::test(start_paused = true)]
async fn the_log_is_kept_for_a_learner_that_is_away_for_a_while() {
    let keep = Retention { keep_bytes_max: 1 << 20, ..EAGER };
    let mut cluster = Cluster::new(81, keep).await;
    join(&mut cluster, 4).await;
    let leader = cluster.leader().await;
    let reached = cluster.group(4).status().last;
    cluster.network.isolate(NodeId(4), true);
    fill(&cluster, 0, 60).await;
    maintain(&cluster, 20).await;
    let purged = cluster.group(leader).status().purged;
    assert!(purged <= reached, "{purged:?} is cut, and the learner has only {reached:?}");
    cluster.network.isolate(NodeId(4), false);
    cluster.converge().await;
    maintain(&cluster, 20).await;
    assert!(cluster.group(leader).status().purged > reached, "the log is kept for nobody");
}

/// RAFT-8
#[tokio::test(start_paused = true)]
async fn a_new_leader_says_nothing_about_members_before_it_has_committed_an_entry() {
    let mut cluster = Cluster::new(82, Retention::default()).await;
    cluster.write("a", "1").await;
    let lost = cluster.leader().await;
    cluster.crash(lost).await;
    let up: Vec<u64> = (1..=3).filter(|node| *node != lost).collect();
    // The vote takes one sync, the first entry another.
    for node in &up {
        cluster.world.node(*node).set_latency(Duration::from_millis(60)..=Duration::from_millis(60));
    }
    let leader = loop {
        if let Some(node) = up.iter().find(|node| cluster.group(**node).status().is_leader) {
            break *node;
        }
        pause(1).await;
    };
    let group = cluster.group(leader);
    assert_eq!(group.members(), None);
    let refused = change_voters(group, ids(up.clone())).await;
    assert!(matches!(refused, Err(ChangeError::NotLeader { .. })), "{refused:?}");
    pause(300).await;
    assert_eq!(voters(group), ids([1, 2, 3]));
    let follower = up.into_iter().find(|node| *node != leader).expect("two are up");
    assert_eq!(cluster.group(follower).members(), None, "it does not lead");
    let refused = cluster.group(follower).add_learner(id(4), NodeId(4)).await;
    assert_eq!(refused, Err(ChangeError::NotLeader { leader: Some(NodeId(leader)) }));
}

/// RAFT-8
#[tokio::test(start_paused = true)]
async fn one_change_replaces_a_voter_under_writes_and_loses_none() {
    for seed in 90..95 {
        let (mut cluster, leader, gone, stays) = four(seed).await;
        let stop = std::cell::Cell::new(false);
        let change = async {
            pause(20).await;
            let outcome = change_voters(cluster.group(leader), ids([leader, stays, 4])).await;
            pause(20).await;
            stop.set(true);
            outcome
        };
        let (acknowledged, outcome) = tokio::join!(write_until(&cluster, &stop), change);
        outcome.expect("it leads");
        assert!(acknowledged.len() > 3, "seed {seed}: {}", acknowledged.len());
        let members = cluster.group(leader).members().expect("it leads");
        assert!(members.is_committed && !members.is_joint && members.learners.is_empty(), "{members:?}");
        assert_eq!(voters(cluster.group(leader)), ids([leader, stays, 4]));

        // The new one is needed for a majority now, and the old one is not.
        cluster.crash(gone).await;
        cluster.crash(stays).await;
        cluster.write("after", "1").await;
        cluster.start(stays).await;
        cluster.converge().await;
        for node in [leader, stays, 4] {
            for key in &acknowledged {
                assert!(cluster.value(node, key).is_some(), "seed {seed}: {key} on {node}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_removes_itself_and_hands_over() {
    for seed in 100..105 {
        let (mut cluster, gone, one, two) = four(seed).await;
        let stop = std::cell::Cell::new(false);
        let before = cluster.group(gone).status().term;
        let change = async {
            pause(20).await;
            let outcome = change_voters(cluster.group(gone), ids([one, two, 4])).await;
            let begun = tokio::time::Instant::now();
            for _ in 0..1_000 {
                if !cluster.group(gone).status().is_leader {
                    break;
                }
                pause(1).await;
            }
            cluster.leader().await;
            let without = begun.elapsed();
            pause(100).await;
            stop.set(true);
            (outcome, without)
        };
        let (acknowledged, (outcome, without)) = tokio::join!(write_until(&cluster, &stop), change);
        outcome.expect("it led until the end");
        assert!(without < Duration::from_millis(400), "not handed over, timed out: {without:?}");
        let leader = cluster.leader().await;
        assert_ne!(leader, gone);
        assert_eq!(voters(cluster.group(leader)), ids([one, two, 4]));
        pause(5_000).await;
        let status = cluster.group(gone).status();
        assert!(!status.is_leader && cluster.group(gone).members().is_none(), "{status:?}");
        assert_eq!(cluster.leader().await, leader);
        assert_eq!(cluster.group(leader).status().term.0, before.0 + 1, "seed {seed}: one election too many");
        cluster.crash(gone).await;
        cluster.converge().await;
        for key in &acknowledged {
            assert!(cluster.value(4, key).is_some(), "seed {seed}: {key}");
        }
    }
}

/// RAFT-8
#[tokio::test(start_paused = true)]
async fn the_next_leader_finishes_a_change_that_its_leader_did_not_survive() {
    for seed in 110..115 {
        let (mut cluster, lost, gone, stays) = four(seed).await;
        let target = ids([lost, stays, 4]);
        // Followers have the first entry of the change, and nobody has it durable, when the leader dies.
        for node in [gone, stays, 4] {
            cluster.world.node(node).set_latency(Duration::from_millis(50)..=Duration::from_millis(50));
        }
        let group = cluster.group(lost).clone();
        let to = target.clone();
        let change = tokio::spawn(async move { change_voters(&group, to).await });
        let knows = |node| cluster.group(node).status().voters.contains(&id(4));
        while !(knows(gone) && knows(4)) {
            pause(1).await;
        }
        cluster.crash(lost).await;
        assert!(change.await.expect("no panic").is_err(), "seed {seed}: it was not finished");
        for node in [gone, stays, 4] {
            cluster.world.node(node).set_latency(Duration::from_millis(1)..=Duration::from_millis(5));
        }
        let leader = cluster.leader().await;
        let group = cluster.group(leader).clone();
        let members = group.members().expect("it leads");
        assert!(members.is_joint && members.voters.len() == 4, "seed {seed}: {members:?}");
        // Nothing else may begin, and nothing may take it back.
        for other in [ids([1, 2, 3]), ids([stays, 4])] {
            let refused = change_voters(&group, other).await;
            assert!(matches!(refused, Err(ChangeError::Superseded { .. })), "{refused:?}");
        }
        let refused = group.add_learner(id(5), NodeId(5)).await;
        assert!(matches!(refused, Err(ChangeError::Superseded { .. })), "{refused:?}");
        assert!(group.members().expect("it leads").is_joint);
        // The leader may be the one that is removed.
        assert_eq!(change_voters(&group, target.clone()).await, Ok(()), "seed {seed}");
        cluster.start(lost).await;
        pause(1_000).await;
        cluster.crash(gone).await;
        cluster.write("after", "1").await;
        let leader = cluster.leader().await;
        let members = cluster.group(leader).members().expect("it leads");
        assert!(!members.is_joint, "{members:?}");
        assert_eq!(voters(cluster.group(leader)), target);
    }
}

/// RAFT-8
#[tokio::test(start_paused = true)]
async fn of_two_changes_begun_at_once_one_happens() {
    let (mut cluster, leader, one, two) = four(120).await;
    join(&mut cluster, 5).await;
    assert_eq!(cluster.leader().await, leader);
    let group: Arc<Group> = cluster.group(leader).clone();
    let (first, second) =
        tokio::join!(change_voters(&group, ids([leader, one, 4])), change_voters(&group, ids([leader, two, 5])));
    assert_eq!(first, Ok(()));
    assert!(matches!(second, Err(ChangeError::Superseded { .. })), "{second:?}");
    assert_eq!(voters(&group), ids([leader, one, 4]));
    let (added, removed) = tokio::join!(group.add_learner(id(two), NodeId(two)), group.remove_learner(id(5)));
    assert_eq!(added, Ok(()));
    assert!(matches!(removed, Err(ChangeError::Superseded { .. })), "{removed:?}");
    let stranger = change_voters(&group, ids([leader, one, 9])).await;
    assert!(matches!(stranger, Err(ChangeError::Failed { .. })), "{stranger:?}");
    assert!(change_voters(&group, BTreeSet::new()).await.is_err(), "a group of nobody");
    assert_eq!(change_voters(&group, ids([leader, one, 4])).await, Ok(()), "it is so already");
}

#[tokio::test(start_paused = true)]
async fn a_removed_replica_that_was_never_told_deposes_nobody() {
    for seed in 130..135 {
        let (mut cluster, leader, gone, stays) = four(seed).await;
        cluster.network.isolate(NodeId(gone), true);
        change_voters(cluster.group(leader), ids([leader, stays, 4])).await.expect("two of three and two of three");
        let term = cluster.group(leader).status().term;
        pause(5_000).await;
        assert!(cluster.group(gone).status().voters.contains(&id(gone)), "it knows");
        cluster.network.isolate(NodeId(gone), false);
        for n in 0..100 {
            cluster.write(&format!("k{n}"), "1").await;
            pause(100).await;
        }
        assert_eq!((cluster.leader().await, cluster.group(leader).status().term), (leader, term), "seed {seed}");
        assert!(cluster.value(gone, "k0").is_none(), "it is sent something: {:?}", cluster.statuses());

        // Also not when the members have none and elect another one.
        cluster.crash(leader).await;
        cluster.write("after", "1").await;
        let next = cluster.leader().await;
        assert!(next == stays || next == 4);
        pause(5_000).await;
        assert_eq!(cluster.leader().await, next);
        assert!(!cluster.group(gone).status().is_leader);
    }
}
