//! Reads without a round.

use std::time::Duration;

use strata_raft::{PROMISE, Retention, Timing};
use strata_types::{NodeId, ReplicaId};

use crate::harness::{Cluster, put};
use crate::members::change_voters;

/// A little longer than any lease.
const LAPSED: Duration = Duration::from_millis(250);

async fn started(seed: u64) -> (Cluster, u64, Vec<u64>) {
    let cluster = Cluster::new(seed, Retention::default()).await;
    let leader = cluster.leader().await;
    let followers = (1..=3).filter(|node| *node != leader).collect();
    (cluster, leader, followers)
}

/// Waits until one of these leads and has written, and returns it.
async fn overwritten(cluster: &Cluster, nodes: &[u64]) -> u64 {
    loop {
        for node in nodes {
            let group = cluster.group(*node);
            if group.status().is_leader && group.propose(vec![put("key", "new")]).await[0].is_ok() {
                return *node;
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// RAFT-15: nobody can be asked, and nobody needs to be until the lease is over.
#[tokio::test(start_paused = true)]
async fn a_leader_reads_without_a_round_as_long_as_its_lease_lasts() {
    let (cluster, leader, followers) = started(120).await;
    cluster.write("key", "old").await;
    cluster.network.isolate(NodeId(leader), true);
    let group = cluster.group(leader);
    let lease = group.lease().expect("it was answered a moment ago");
    assert_eq!(cluster.value(leader, "key").as_deref(), Some(&b"old"[..]));
    assert!(group.holds(&lease), "so that this was a linearizable read");
    for node in &followers {
        assert_eq!(cluster.group(*node).lease(), None, "who does not lead has none");
    }
    tokio::time::sleep(LAPSED).await;
    assert_eq!(group.lease(), None);
    assert!(group.status().is_leader, "it leads as far as it knows");
    let elected = overwritten(&cluster, &followers).await;
    assert!(cluster.group(elected).lease().is_some(), "the next leader has one as soon as it has written");
    cluster.network.isolate(NodeId(leader), false);
    cluster.converge().await;
    assert_eq!(group.lease(), None);
}

/// RAFT-15: the process may be stopped between the look at the lease and the read.
#[tokio::test(start_paused = true)]
async fn a_lease_that_ended_before_the_value_was_read_is_noticed_after_it() {
    let (cluster, leader, followers) = started(121).await;
    cluster.write("key", "old").await;
    let group = cluster.group(leader);
    let lease = group.lease().expect("it was answered a moment ago");
    cluster.network.isolate(NodeId(leader), true);
    overwritten(&cluster, &followers).await;
    assert_eq!(cluster.value(leader, "key").as_deref(), Some(&b"old"[..]), "old by now");
    assert!(!group.holds(&lease));
    cluster.network.isolate(NodeId(leader), false);
    cluster.converge().await;
    assert!(!group.holds(&lease), "nor later");
}

/// RAFT-17: whoever hears of a transfer votes at once.
#[tokio::test(start_paused = true)]
async fn a_leader_that_handed_over_has_no_lease_any_more_even_if_nobody_took_over() {
    let (cluster, leader, followers) = started(122).await;
    cluster.write("key", "old").await;
    let group = cluster.group(leader);
    let (term, lease) = (group.status().term, group.lease().expect("it was answered a moment ago"));
    // The successor hears nothing of it, the other follower does.
    cluster.network.cut_link(leader, followers[0]);
    let to = cluster.replicas[&followers[0]];
    assert!(!group.transfer_leader(to, Duration::from_millis(20)).await);
    assert!(!group.holds(&lease));
    for _ in 0..50 {
        if group.status().term != term || !group.status().is_leader {
            break;
        }
        assert_eq!(group.lease(), None, "for good in this term");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    cluster.network.isolate(NodeId(leader), false);
    let next = overwritten(&cluster, &[1, 2, 3]).await;
    assert!(cluster.group(next).status().term >= term);
}

/// RAFT-17: the only voter that is left waits for nobody when it stands for election.
#[tokio::test(start_paused = true)]
async fn a_leader_that_removes_itself_has_no_lease_any_more() {
    let (cluster, leader, followers) = started(123).await;
    cluster.write("key", "old").await;
    let group = cluster.group(leader).clone();
    let lease = group.lease().expect("it was answered a moment ago");
    let last: ReplicaId = cluster.replicas[&followers[0]];
    change_voters(&group, [last].into()).await.expect("removed");
    assert!(!group.holds(&lease));
    assert_eq!(group.lease(), None);
}

/// RAFT-16: it has forgotten whom it heard.
#[tokio::test(start_paused = true)]
async fn a_voter_that_restarts_helps_nobody_to_lead_while_the_lease_lasts_that_it_kept_up() {
    let mut soonest = Duration::MAX;
    for world in 0..12 {
        let (mut cluster, leader, followers) = started(130 + world).await;
        let (voter, rival) = (followers[0], followers[1]);
        cluster.write("key", "old").await;
        cluster.converge().await;
        // The rival does not hear the leader and stands for election again and again; the voter refuses.
        cluster.network.cut_link(leader, rival);
        cluster.network.cut_link(rival, leader);
        tokio::time::sleep(Duration::from_millis(1_500 + 37 * world)).await;
        let group = cluster.group(leader).clone();
        let lease = group.lease().expect("the voter answered a moment ago");
        cluster.crash(voter).await;
        cluster.network.isolate(NodeId(leader), true);
        cluster.start(voter).await;
        let restarted = tokio::time::Instant::now();
        assert!(group.holds(&lease), "it restarts within the lease");
        let elected = overwritten(&cluster, &[voter, rival]).await;
        let took = restarted.elapsed();
        assert!(!group.holds(&lease) && group.lease().is_none(), "n{elected} wrote {took:?} after the restart");
        assert!(took >= PROMISE, "n{elected} led {took:?} after the restart, in world {world}");
        soonest = soonest.min(took);
    }
    assert!(soonest < 2 * PROMISE, "nobody asked for its vote in the meantime: {soonest:?}");
}

/// RAFT-16, with the whole group: nobody waits long.
#[tokio::test(start_paused = true)]
async fn a_group_that_restarts_serves_soon_and_has_a_lease_again() {
    let (mut cluster, _, _) = started(124).await;
    cluster.write("key", "old").await;
    for node in 1..=3 {
        cluster.crash(node).await;
    }
    for node in 1..=3 {
        cluster.start(node).await;
    }
    let begin = tokio::time::Instant::now();
    let leader = overwritten(&cluster, &[1, 2, 3]).await;
    assert!(begin.elapsed() < Duration::from_millis(1_500), "{:?}", begin.elapsed());
    assert!(cluster.group(leader).lease().is_some());
}

/// Nobody reads by lease whose operator did not ask for it.
#[tokio::test(start_paused = true)]
async fn a_leader_without_the_setting_has_no_lease() {
    let mut cluster = Cluster::unborn(125, Retention::default(), [1]);
    cluster.timing = Timing::default();
    for node in 1..=3 {
        cluster.start(node).await;
    }
    cluster.write("key", "v").await;
    let leader = cluster.leader().await;
    assert_eq!(cluster.group(leader).lease(), None);
}
