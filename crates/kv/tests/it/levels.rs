//! Reads by level, on leaders and on followers.

use std::time::Duration;

use strata_router::{Kv, ShardBatch, ShardExecutor, ShardReply};
use strata_types::{
    Freshness, GroupId, LogIndex, NodeId, ReadLevel, ReadPreference, Reply, Request, RequestHeader, Result, ShardId,
};

use crate::requests::{DEADLINE, Gateway, cluster, get, put, shard_of};

const ANYWHERE: (ReadLevel, ReadPreference) = (ReadLevel::Linearizable, ReadPreference::Any);

const LEASE: (ReadLevel, ReadPreference) = (ReadLevel::Lease, ReadPreference::Leader);

fn bounded(seconds: u64) -> (ReadLevel, ReadPreference) {
    (ReadLevel::Bounded { max_staleness: Duration::from_secs(seconds) }, ReadPreference::Leader)
}

fn at(key: &str, (level, prefer): (ReadLevel, ReadPreference)) -> Request {
    Request { header: RequestHeader { level, prefer, ..RequestHeader::default() }, ..get(key) }
}

/// A key of shard 0.
fn key_of(gateway: &Gateway) -> String {
    let mut keys = (0..100).map(|number| format!("key {number}"));
    keys.find(|key| shard_of(&gateway.node, key) == ShardId(0)).expect("a quarter of all keys")
}

async fn ask(gateway: &Gateway, requests: Vec<Request>) -> ShardReply {
    let epoch = gateway.node.map().epoch;
    gateway.local.execute(ShardBatch { epoch, shard: ShardId(0), requests: requests.into() }).await
}

/// The only result of a batch of one.
async fn result(gateway: &Gateway, request: Request) -> Result<(Option<Vec<u8>>, Freshness)> {
    match ask(gateway, vec![request]).await {
        ShardReply::Done { results, .. } => results.into_iter().next().expect("one").map(|reply| match reply {
            Reply::Get { item, freshness: Some(freshness) } => (item.map(|item| item.value.to_vec()), freshness),
            other => panic!("{other:?}"),
        }),
        other => panic!("{other:?}"),
    }
}

/// KV-3, RAFT-6
#[tokio::test(start_paused = true)]
async fn every_replica_reads_what_was_acknowledged_and_says_which_level_it_kept() {
    let (_machines, gateways) = cluster(21).await;
    let key = key_of(&gateways[0]);
    let leader = gateways[0].node.map().shards[0].replicas[0].node;
    for round in 0..10 {
        let value = format!("round {round}");
        let written = gateways[round % 3].router.call(put(&key, &value), DEADLINE).await.expect("written");
        let Reply::Put { revision } = written else { panic!("{written:?}") };
        for gateway in &gateways {
            let (found, freshness) = result(gateway, at(&key, ANYWHERE)).await.expect("a healthy cluster");
            assert_eq!(found.as_deref(), Some(value.as_bytes()));
            assert_eq!(freshness.level, ReadLevel::Linearizable);
            assert!(freshness.applied >= revision.index && freshness.applied > LogIndex(0), "{freshness:?}");
        }
    }
    // The router of a node asks the replica on it, if it may.
    for gateway in &gateways {
        let group = gateway.node.host().group(GroupId::of_shard(ShardId(0))).expect("it is here");
        assert_eq!(group.leads(), gateway.node.identity().node == leader);
        let reply = gateway.router.call(at(&key, bounded(5)), DEADLINE).await.expect("a value");
        let Reply::Get { freshness: Some(freshness), .. } = reply else { panic!("{reply:?}") };
        assert!(matches!(freshness.level, ReadLevel::Bounded { .. }), "it was confirmed a moment ago: {freshness:?}");
    }
    // A replica that does not lead has no lease: it is answered by a round, and says so.
    let follows = &gateways[leader.0 as usize % 3];
    let (_, freshness) = result(follows, at(&key, (ReadLevel::Lease, ReadPreference::Any))).await.expect("a value");
    assert_eq!(freshness.level, ReadLevel::Linearizable);
    let reply = ask(follows, vec![at(&key, LEASE)]).await;
    assert!(matches!(reply, ShardReply::NotLeader { .. }), "{reply:?}");
}

/// KV-5, RAFT-15
#[tokio::test(start_paused = true)]
async fn a_leader_reads_by_its_lease_while_it_lasts_and_says_so() {
    let (machines, gateways) = cluster(24).await;
    let key = key_of(&gateways[0]);
    let leader = gateways[0].node.map().shards[0].replicas[0].node;
    let led = &gateways[leader.0 as usize - 1];
    tokio::time::sleep(Duration::from_secs(2)).await;
    for round in 0..5 {
        // A round or a write renews it.
        gateways[0].router.call(put(&key, &round.to_string()), DEADLINE).await.expect("written");
        let (found, freshness) = result(led, at(&key, LEASE)).await.expect("a leader");
        assert_eq!((found.as_deref(), freshness.level), (Some(round.to_string().as_bytes()), ReadLevel::Lease));
    }
    let linearizable = (ReadLevel::Linearizable, ReadPreference::Leader);
    let (_, freshness) = result(led, at(&key, linearizable)).await.expect("a leader");
    assert_eq!(freshness.level, ReadLevel::Linearizable, "only who asks for it reads by lease");
    machines.iter().zip(1..).filter(|(_, number)| NodeId(*number) != leader).for_each(|(machine, _)| machine.kill());
    let (_, freshness) = result(led, at(&key, LEASE)).await.expect("its lease lasts");
    assert_eq!(freshness.level, ReadLevel::Lease, "nobody is there to ask");
    tokio::time::sleep(Duration::from_millis(250)).await;
    result(led, at(&key, LEASE)).await.expect_err("a round finds nobody");
}

/// KV-5, RAFT-10: what a replica shows that reaches nobody is called what it is, or is not shown.
#[tokio::test(start_paused = true)]
async fn a_replica_that_is_left_alone_serves_old_reads_only_and_says_how_old() {
    let (machines, gateways) = cluster(22).await;
    let key = key_of(&gateways[0]);
    gateways[0].router.call(put(&key, "v"), DEADLINE).await.expect("written");
    let leader = gateways[0].node.map().shards[0].replicas[0].node;
    let alone = &gateways[leader.0 as usize % 3];
    result(alone, at(&key, ANYWHERE)).await.expect("its leader answers");
    let own = alone.node.identity().node;
    machines.iter().zip(1..).filter(|(_, number)| NodeId(*number) != own).for_each(|(machine, _)| machine.kill());
    tokio::time::sleep(Duration::from_secs(2)).await;

    let (found, freshness) = result(alone, at(&key, bounded(10))).await.expect("young enough");
    assert_eq!(found.as_deref(), Some(&b"v"[..]));
    let ReadLevel::Bounded { max_staleness: age } = freshness.level else { panic!("{freshness:?}") };
    assert!(age >= Duration::from_secs(2) && age <= Duration::from_secs(10), "{age:?}");
    let (found, freshness) = result(alone, at(&key, (ReadLevel::Local, ReadPreference::Leader))).await.expect("local");
    assert_eq!((found.as_deref(), freshness.level), (Some(&b"v"[..]), ReadLevel::Local));
    for refused in [ANYWHERE, bounded(1), (ReadLevel::Linearizable, ReadPreference::Leader)] {
        let reply = ask(alone, vec![at(&key, refused)]).await;
        assert!(matches!(reply, ShardReply::NotLeader { .. }), "{refused:?}: {reply:?}");
    }
    // The strictest bound of a batch is kept for all of it.
    let reply = ask(alone, vec![at(&key, bounded(10)), at(&key, bounded(1))]).await;
    assert!(matches!(reply, ShardReply::NotLeader { .. }), "{reply:?}");
}

/// KV-1: the reads that a follower could carry out do not keep the writes from the leader.
#[tokio::test(start_paused = true)]
async fn writes_beside_reads_for_any_replica_find_their_leader() {
    let (_machines, gateways) = cluster(23).await;
    let key = key_of(&gateways[0]);
    let leader = gateways[0].node.map().shards[0].replicas[0].node;
    let follows = &gateways[leader.0 as usize % 3];
    let ShardReply::Done { results, .. } = ask(follows, vec![put(&key, "v"), at(&key, ANYWHERE)]).await else {
        panic!("the read can be carried out")
    };
    assert!(results[0].is_err() && results[1].is_ok(), "{results:?}");
    let calls = gateways.iter().map(|gateway| gateway.router.call(put(&key, "v"), DEADLINE));
    assert!(futures_util::future::join_all(calls).await.iter().all(|reply| reply.is_ok()));
}
