//! Reads on replicas that do not lead.

use std::time::Duration;

use strata_raft::{Group, ReadError, Retention};
use strata_types::{NodeId, ReplicaId};

use crate::harness::{Cluster, members, put};
use crate::members::change_voters;

fn value(group: &Group, key: &str) -> Option<Vec<u8>> {
    group.tablet().get(key.as_bytes()).expect("memory").map(|value| value.to_vec())
}

async fn started(seed: u64) -> (Cluster, u64, Vec<u64>) {
    let cluster = Cluster::new(seed, Retention::default()).await;
    let leader = cluster.leader().await;
    let followers = (1..=3).filter(|node| *node != leader).collect();
    (cluster, leader, followers)
}

/// RAFT-6
#[tokio::test(start_paused = true)]
async fn a_follower_shows_what_was_acknowledged_before_the_read_began() {
    let (cluster, leader, followers) = started(80).await;
    for round in 0..50 {
        let text = round.to_string();
        cluster.write("key", &text).await;
        for node in &followers {
            let group = cluster.group(*node);
            assert!(matches!(group.read_barrier().await, Err(ReadError::NotLeader { leader: Some(_) })));
            group.read_barrier_anywhere().await.expect("the leader is there");
            assert_eq!(value(group, "key").as_deref(), Some(text.as_bytes()), "round {round} on {node}");
        }
    }
    cluster.group(leader).read_barrier_anywhere().await.expect("a leader asks its quorum");
}

/// What was just committed, followers are told at once when somebody waits for it there.
#[tokio::test(start_paused = true)]
async fn who_reads_at_a_follower_does_not_wait_for_the_next_entry() {
    let (cluster, _, followers) = started(88).await;
    let mut slowest = Duration::ZERO;
    for round in 0..50 {
        cluster.write("key", &round.to_string()).await;
        for node in &followers {
            let begin = tokio::time::Instant::now();
            cluster.group(*node).read_barrier_anywhere().await.expect("the leader is there");
            slowest = slowest.max(begin.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(37)).await;
    }
    assert!(slowest < Duration::from_millis(10), "the slowest one took {slowest:?}");
}

/// RAFT-6: what is applied here is old, and a follower that cannot ask does not show it.
#[tokio::test(start_paused = true)]
async fn a_follower_that_is_cut_off_does_not_read_and_catches_up_before_it_does() {
    let (cluster, _, followers) = started(81).await;
    cluster.write("key", "old").await;
    cluster.converge().await;
    let cut = followers[0];
    cluster.network.isolate(NodeId(cut), true);
    cluster.write("key", "new").await;
    let group = cluster.group(cut);
    let error = group.read_barrier_anywhere().await.expect_err("it has no leader to ask");
    assert!(
        matches!(error, ReadError::NoQuorum { .. } | ReadError::LeaderSilent { .. } | ReadError::NotLeader { .. }),
        "{error}"
    );
    assert_eq!(value(group, "key").as_deref(), Some(&b"old"[..]), "which is why");
    cluster.network.isolate(NodeId(cut), false);
    for _ in 0..100 {
        if group.read_barrier_anywhere().await.is_ok() {
            assert_eq!(value(group, "key").as_deref(), Some(&b"new"[..]));
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the follower never read again");
}

/// RAFT-6, RAFT-15: entries are applied when each replica comes to it, the leader last for once.
#[tokio::test(start_paused = true)]
async fn a_leader_reads_nothing_older_than_what_a_follower_has_shown() {
    let (cluster, leader, followers) = started(84).await;
    cluster.write("key", "old").await;
    cluster.converge().await;
    cluster.set_full(leader, true);
    let group = cluster.group(leader).clone();
    let writing = tokio::spawn(async move { group.propose(vec![put("key", "new")]).await });
    let shown = |node: u64| value(cluster.group(node), "key");
    while shown(followers[0]).as_deref() != Some(&b"new"[..]) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    cluster.group(followers[0]).read_barrier_anywhere().await.expect("its leader is there");
    assert_eq!(shown(leader).as_deref(), Some(&b"old"[..]), "there is no room");
    assert_eq!(cluster.group(leader).lease(), None, "it would show what was seen to be replaced");
    let group = cluster.group(leader).clone();
    let reading = tokio::spawn(async move { group.read_barrier().await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!reading.is_finished() && !writing.is_finished());
    cluster.set_full(leader, false);
    reading.await.expect("no panic").expect("a majority is there");
    assert_eq!(shown(leader).as_deref(), Some(&b"new"[..]));
    assert!(writing.await.expect("no panic")[0].is_ok());
    assert!(cluster.group(leader).lease().is_some());
}

/// RAFT-6: a leader that was deposed without noticing confirms nobody's read.
#[tokio::test(start_paused = true)]
async fn a_follower_of_a_deposed_leader_reads_nothing_old() {
    let (mut cluster, leader, followers) = started(82).await;
    cluster.write("key", "old").await;
    cluster.converge().await;
    // One follower stays with the old leader in a minority; five voters make that possible.
    for node in [4, 5] {
        cluster.start(node).await;
        let replica = cluster.replicas[&node];
        cluster.group(leader).add_learner(replica, NodeId(node)).await.expect("added");
    }
    let all: Vec<ReplicaId> = members().into_keys().chain([4, 5].map(|node| cluster.replicas[&node])).collect();
    change_voters(cluster.group(leader), all.into_iter().collect()).await.expect("five vote");
    cluster.converge().await;
    let minority = [leader, followers[0]];
    cluster.network.split(&minority, true);
    let majority: Vec<u64> = (1..=5).filter(|node| !minority.contains(node)).collect();
    let elected = loop {
        let leads = |node: &&u64| cluster.group(**node).status().is_leader;
        if let Some(node) = majority.iter().find(leads)
            && cluster.group(*node).read_barrier().await.is_ok()
        {
            break *node;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    cluster.group(elected).propose(vec![put("key", "new")]).await.remove(0).expect("a majority");
    let group = cluster.group(followers[0]);
    let error = group.read_barrier_anywhere().await.expect_err("the old leader has no majority");
    assert!(!matches!(error, ReadError::Stopped { .. }), "{error}");
    assert!(group.read_within(Duration::ZERO).await.is_err(), "and no bound of that length holds");
}

/// RAFT-6: openraft takes an old answer for one to the notice that it sent a moment before. A round does not.
#[tokio::test(start_paused = true)]
async fn a_late_answer_to_something_older_confirms_no_reader() {
    let (cluster, leader, followers) = started(87).await;
    cluster.write("key", "old").await;
    cluster.converge().await;
    // Both take one more entry of the leader, and their answers are long on their way. They hear nothing more of it.
    let slow = [(followers[0], 1_000), (followers[1], 1_100)];
    for (from, millis) in slow {
        let link = (NodeId(from), NodeId(leader));
        cluster.network.delays.lock().insert(link, Duration::from_millis(millis));
    }
    let group = cluster.group(leader).clone();
    let begin = tokio::time::Instant::now();
    let written = tokio::spawn(async move { group.propose(vec![put("other", "v")]).await });
    tokio::time::sleep(Duration::from_millis(20)).await;
    for from in &followers {
        cluster.network.cut_link(leader, *from);
    }
    'written: loop {
        for group in followers.iter().map(|node| cluster.group(*node)).filter(|group| group.leads()) {
            if group.propose(vec![put("key", "new")]).await[0].is_ok() {
                break 'written;
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(begin.elapsed() < Duration::from_millis(990), "the answers are still on their way: {:?}", begin.elapsed());
    tokio::time::sleep(Duration::from_millis(990) - begin.elapsed()).await;
    let old = cluster.group(leader);
    assert!(old.status().is_leader, "it has not heard");
    assert!(old.read_barrier().await.is_err(), "what was sent after the read began was answered by nobody");
    assert!(begin.elapsed() > Duration::from_millis(1_100), "both answers came while the reader waited");
    assert!(written.await.expect("no panic")[0].is_ok(), "they were answers");
}

/// RAFT-10
#[tokio::test(start_paused = true)]
async fn a_bounded_read_is_let_through_as_long_as_the_last_round_is_young_enough() {
    let (cluster, _, followers) = started(83).await;
    cluster.write("key", "old").await;
    let group = cluster.group(followers[0]);
    assert_eq!(group.read_within(Duration::from_secs(5)).await, Ok(None), "nothing is known yet: a round");
    assert_eq!(value(group, "key").as_deref(), Some(&b"old"[..]));
    cluster.network.isolate(NodeId(followers[0]), true);
    cluster.write("key", "new").await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let age = group.read_within(Duration::from_secs(5)).await.expect("young enough").expect("without a round");
    assert!(age >= Duration::from_secs(4) && age <= Duration::from_secs(5), "{age:?}");
    assert_eq!(value(group, "key").as_deref(), Some(&b"old"[..]), "as old as it may be");
    assert!(group.read_within(Duration::from_secs(3)).await.is_err(), "a shorter bound needs a round");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(group.read_within(Duration::from_secs(5)).await.is_err(), "too old by now, and nobody to ask");
    cluster.network.isolate(NodeId(followers[0]), false);
    for _ in 0..100 {
        if let Ok(age) = group.read_within(Duration::from_millis(100)).await {
            assert_eq!((age, value(group, "key").as_deref()), (None, Some(&b"new"[..])));
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the follower never read again");
}

/// One round of a follower is for all who wait, and so is the round of the leader.
#[tokio::test(start_paused = true)]
async fn readers_share_questions() {
    let (cluster, _, followers) = started(84).await;
    cluster.write("key", "1").await;
    cluster.network.asked.store(0, std::sync::atomic::Ordering::Relaxed);
    let group = cluster.group(followers[0]);
    let readers = (0..500).map(|_| group.read_barrier_anywhere());
    let done = futures_util::future::join_all(readers).await;
    assert!(done.iter().all(Result::is_ok));
    let asked = cluster.network.asked.load(std::sync::atomic::Ordering::Relaxed);
    assert!((1..=3).contains(&asked), "{asked} questions for 500 readers");
}

/// Of two followers one is enough. The other one is asked when that one is late, and first from then on.
#[tokio::test(start_paused = true)]
async fn a_leader_asks_no_more_voters_than_it_needs() {
    let (cluster, leader, _) = started(89).await;
    cluster.write("key", "1").await;
    let group = cluster.group(leader);
    let read = || async {
        cluster.network.roll_calls.lock().clear();
        let began = tokio::time::Instant::now();
        group.read_barrier().await.expect("a majority is there");
        (std::mem::take(&mut *cluster.network.roll_calls.lock()), began.elapsed())
    };
    let (first, _) = read().await;
    assert_eq!((first.len(), read().await.0), (1, first.clone()), "one is enough, and it is always the same");
    cluster.network.cut_link(leader, first[0].0);
    let (asked, took) = read().await;
    assert_eq!((asked.len(), asked[0]), (2, first[0]));
    assert!(took >= Duration::from_millis(10) && took < Duration::from_millis(20), "{took:?}");
    let (again, took) = read().await;
    assert_eq!((again, took), (vec![asked[1]], Duration::ZERO), "who was late is not waited for again");
}

/// A replica that was removed gets no answer, whatever it believes.
#[tokio::test(start_paused = true)]
async fn a_removed_replica_cannot_read() {
    let (mut cluster, leader, followers) = started(85).await;
    cluster.start(4).await;
    let added = cluster.replicas[&4];
    cluster.group(leader).add_learner(added, NodeId(4)).await.expect("added");
    cluster.converge().await;
    let gone = followers[0];
    let kept: Vec<ReplicaId> = [leader, followers[1]].map(|node| cluster.replicas[&node]).into();
    change_voters(cluster.group(leader), kept.into_iter().chain([added]).collect()).await.expect("replaced");
    cluster.write("key", "new").await;
    let error = cluster.group(gone).read_barrier_anywhere().await.expect_err("it is no member");
    let is_refusal = cluster.network.refusals.lock().iter().any(|refusal| refusal.contains("is no member of"));
    assert!(is_refusal || matches!(error, ReadError::NotLeader { .. }), "{error}");
}

/// Nobody waits for a replica that was deleted.
#[tokio::test(start_paused = true)]
async fn a_deleted_replica_answers_readers_at_once() {
    let (mut cluster, leader, followers) = started(86).await;
    let gone = followers[0];
    let kept: std::collections::BTreeSet<ReplicaId> = [leader, followers[1]].map(|node| cluster.replicas[&node]).into();
    change_voters(cluster.group(leader), kept).await.expect("removed");
    let group = cluster.group(gone).clone();
    cluster.delete(gone).await.expect("deleted");
    let begin = tokio::time::Instant::now();
    assert!(matches!(group.read_barrier_anywhere().await, Err(ReadError::Stopped { .. })));
    assert!(matches!(group.read_within(Duration::ZERO).await, Err(ReadError::Stopped { .. })));
    assert_eq!(begin.elapsed(), Duration::ZERO);
}
