//! Writes, reads, leaders.

use std::sync::atomic::Ordering;
use std::time::Duration;

use strata_codec::Decoder;
use strata_raft::{ProposeError, ReadError, Retention};
use strata_types::{NodeId, ReplicaId};
use tokio::time::Instant;

use crate::harness::{Cluster, GROUP, put};

#[tokio::test(start_paused = true)]
async fn commands_of_one_proposal_share_an_entry_and_keep_their_order() {
    let cluster = Cluster::new(1, Retention::default()).await;
    let leader = cluster.leader().await;
    let replies = cluster.group(leader).propose(vec![put("a", "1"), put("a", "2"), put("b", "3")]).await;
    let mut places = Vec::new();
    for (reply, before) in replies.into_iter().zip(["", "1", ""]) {
        let mut reply = Decoder::new(reply.expect("committed"));
        assert_eq!(reply.bytes("before").expect("bytes"), before);
        places.push((reply.u64("index").expect("u64"), reply.u32("position").expect("u32")));
    }
    let index = places[0].0;
    assert_eq!(places, [(index, 0), (index, 1), (index, 2)]);
    cluster.converge().await;
    for node in 1..=3 {
        assert_eq!(cluster.value(node, "a").as_deref(), Some(b"2".as_slice()));
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_proposals_of_many_callers_become_few_entries() {
    let cluster = Cluster::new(2, Retention::default()).await;
    let leader = cluster.leader().await;
    let before = cluster.group(leader).status().last;
    let writes = (0..200).map(|n| {
        let group = cluster.group(leader).clone();
        async move { group.propose(vec![put(&format!("k{n}"), "v")]).await.remove(0) }
    });
    for reply in futures_util::future::join_all(writes).await {
        reply.expect("committed");
    }
    let entries = cluster.group(leader).status().last.0 - before.0;
    assert!(entries <= 10, "200 concurrent writes took {entries} entries");
}

#[tokio::test(start_paused = true)]
async fn the_next_entry_tells_that_one_is_committed_and_a_notice_does_where_none_comes() {
    let cluster = Cluster::new(9, Retention::default()).await;
    cluster.write("key", "first").await;
    cluster.converge().await;
    let sent = || cluster.network.appends.swap(0, Ordering::Relaxed);
    sent();
    for n in 0..20 {
        cluster.write("key", &n.to_string()).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let busy = sent();
    assert!(busy < 50, "{busy} requests for 20 entries on two followers");
    let begin = Instant::now();
    cluster.converge().await;
    assert!(
        begin.elapsed() <= Duration::from_millis(120),
        "followers heard of the last one after {:?}",
        begin.elapsed()
    );
}

/// RAFT-1, RAFT-2
#[tokio::test(start_paused = true)]
async fn acknowledged_writes_survive_power_loss_of_everybody() {
    let mut cluster = Cluster::new(3, Retention::default()).await;
    for n in 0..50 {
        cluster.write(&format!("k{n}"), "kept").await;
    }
    for node in 1..=3 {
        cluster.crash(node).await;
    }
    for node in 1..=3 {
        cluster.start(node).await;
    }
    cluster.write("after", "1").await;
    cluster.converge().await;
    for n in 0..50 {
        assert_eq!(cluster.value(1, &format!("k{n}")).as_deref(), Some(b"kept".as_slice()), "k{n}");
    }
}

/// RAFT-1, RAFT-7 (`converge` compares the hash chains)
#[tokio::test(start_paused = true)]
async fn the_others_go_on_when_the_leader_is_lost_and_it_catches_up() {
    let mut cluster = Cluster::new(4, Retention::default()).await;
    cluster.write("a", "1").await;
    let lost = cluster.leader().await;
    cluster.crash(lost).await;
    let before = Instant::now();
    cluster.write("a", "2").await;
    assert!(before.elapsed() < Duration::from_millis(1_000), "writes stood still for {:?}", before.elapsed());
    cluster.start(lost).await;
    cluster.converge().await;
    assert_eq!(cluster.value(lost, "a").as_deref(), Some(b"2".as_slice()));
}

/// The first writes after an election must not fail while the new leader is still committing its first entry.
#[tokio::test(start_paused = true)]
async fn the_first_write_after_an_election_succeeds() {
    let mut cluster = Cluster::new(5, Retention::default()).await;
    for round in 0..10 {
        let lost = cluster.leader().await;
        cluster.crash(lost).await;
        let started = loop {
            let up: Vec<u64> = (1..=3).filter(|node| *node != lost).collect();
            if let Some(node) = up.into_iter().find(|node| cluster.group(*node).status().is_leader) {
                break node;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        let reply = cluster.group(started).propose(vec![put("k", &round.to_string())]).await.remove(0);
        assert!(reply.is_ok(), "round {round}: {reply:?}");
        cluster.start(lost).await;
        cluster.converge().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_follower_refuses_and_names_the_leader() {
    let cluster = Cluster::new(6, Retention::default()).await;
    cluster.write("a", "1").await;
    let leader = cluster.leader().await;
    let follower = (1..=3).find(|node| *node != leader).expect("three nodes");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let named = Some(NodeId(leader));
    let refused = cluster.group(follower).propose(vec![put("a", "2")]).await.remove(0);
    assert_eq!(refused, Err(ProposeError::NotLeader { leader: named }));
    assert_eq!(cluster.group(follower).read_barrier().await, Err(ReadError::NotLeader { leader: named }));
}

/// RAFT-6
#[tokio::test(start_paused = true)]
async fn a_leader_without_a_majority_answers_no_read_and_loses_no_certainty() {
    let cluster = Cluster::new(7, Retention::default()).await;
    cluster.write("a", "1").await;
    let old = cluster.leader().await;
    cluster.network.isolate(NodeId(old), true);
    let group = cluster.group(old).clone();
    let read = tokio::spawn(async move { group.read_barrier().await });
    let group = cluster.group(old).clone();
    let write = tokio::spawn(async move { group.propose(vec![put("a", "lost?")]).await.remove(0) });
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(read.await.expect("no panic").is_err(), "a read without a quorum");
    cluster.network.isolate(NodeId(old), false);
    let outcome = write.await.expect("no panic");
    assert!(
        matches!(outcome, Err(ProposeError::Unknown { .. } | ProposeError::NotLeader { .. })),
        "an entry that was replaced: {outcome:?}"
    );
    cluster.converge().await;
}

#[tokio::test(start_paused = true)]
async fn leadership_moves_when_asked_to() {
    let cluster = Cluster::new(8, Retention::default()).await;
    cluster.write("a", "1").await;
    for _ in 0..5 {
        let leader = cluster.leader().await;
        let successor = cluster.group(leader).best_successor().expect("two followers");
        assert!(cluster.group(leader).transfer_leader(successor, Duration::from_secs(2)).await);
        let leads = cluster.group(successor.0 / 10).status().is_leader;
        assert!(leads, "who stops as soon as leadership is handed over would leave a gap");
        cluster.write("a", "2").await;
        assert_eq!(cluster.group(cluster.leader().await).replica(), successor);
    }
}

/// A node that is back lets no client in before all its replicas are open.
#[tokio::test(start_paused = true)]
async fn who_was_away_just_now_is_not_the_best_successor() {
    let mut cluster = Cluster::new(8, Retention::default()).await;
    cluster.write("a", "1").await;
    let leader = cluster.leader().await;
    for away in (1..=3).filter(|node| *node != leader) {
        cluster.crash(away).await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        cluster.start(away).await;
        cluster.write("a", "2").await;
        cluster.converge().await;
        let group = cluster.group(leader);
        let successor = group.best_successor().expect("two followers");
        assert_ne!(successor, cluster.group(away).replica());
        assert!(group.matched(cluster.group(away).replica()) >= group.matched(successor), "it lacks nothing");
    }
}

/// RAFT-5: a node that lost its disk comes back as another replica; what is meant for the old one must not reach the new one.
#[tokio::test(start_paused = true)]
async fn messages_for_a_former_replica_are_refused() {
    let mut cluster = Cluster::new(9, Retention::default()).await;
    cluster.write("a", "1").await;
    let leader = cluster.leader().await;
    let lost = (1..=3).find(|node| *node != leader).expect("three nodes");
    cluster.crash(lost).await;
    cluster.replicas.insert(lost, ReplicaId(99));
    cluster.start(lost).await;
    cluster.write("a", "2").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let status = cluster.group(lost).status();
    assert_eq!((status.group, status.replica), (GROUP, ReplicaId(99)));
    assert_eq!(status.last.0, 0, "the new replica took entries meant for the old one");
    assert!(!status.is_leader && status.leader.is_none());
}
