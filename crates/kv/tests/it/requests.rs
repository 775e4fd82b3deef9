//! Requests from every node to every shard.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use strata_cluster::Node;
use strata_env::sim::SimWorld;
use strata_kv::LocalShards;
use strata_net::Switchboard;
use strata_router::{Kv, PageRange, Router, RouterOptions, ShardBatch, ShardExecutor, ShardReply};
use strata_types::{
    Epoch, ErrorCode, Expected, GroupId, Mutation, Operation, ReadLevel, Reply, Request, RequestHeader, ShardId, Slot,
};

use crate::hub::{Hub, Machine, start_all};

const ADDRESSES: [&str; 3] = ["a:1", "b:1", "c:1"];
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

pub(crate) struct Gateway {
    pub(crate) node: Arc<Node>,
    pub(crate) local: Arc<LocalShards>,
    pub(crate) router: Arc<Router>,
    _serving: strata_kv::Gateway,
}

fn gateway((node, switchboard): &(Arc<Node>, Arc<Switchboard>)) -> Gateway {
    let serving = strata_kv::Gateway::open(node, switchboard, RouterOptions::default());
    let (local, router) = (serving.executor.clone(), serving.router.clone());
    Gateway { node: node.clone(), local, router, _serving: serving }
}

pub(crate) async fn cluster(seed: u64) -> (Vec<Machine>, Vec<Gateway>) {
    let (world, hub) = (SimWorld::new(seed), Hub::new());
    let machines: Vec<_> = (1..=3).map(|number| Machine::new(&world, &hub, number)).collect();
    let gateways = start_all(&machines, &ADDRESSES).await.iter().map(gateway).collect();
    (machines, gateways)
}

fn request(operation: Operation) -> Request {
    Request { header: RequestHeader::default(), operation }
}

pub(crate) fn put(key: &str, value: &str) -> Request {
    let (key, value) = (Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(value.as_bytes()));
    request(Operation::Put { key, value })
}

pub(crate) fn get(key: &str) -> Request {
    request(Operation::Get { key: Bytes::copy_from_slice(key.as_bytes()) })
}

async fn value(gateway: &Gateway, key: &str) -> Option<Bytes> {
    match gateway.router.call(get(key), DEADLINE).await.expect("a healthy cluster") {
        Reply::Get { item, .. } => item.map(|item| item.value),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn shard_of(node: &Node, key: &str) -> ShardId {
    node.map().shard_of(Slot::of_key(key.as_bytes())).expect("covered").shard
}

/// KV-3: a read that begins after a write ended sees it, wherever both came in.
#[tokio::test(start_paused = true)]
async fn what_one_node_wrote_every_node_reads() {
    let (_machines, gateways) = cluster(11).await;
    let names: Vec<String> = (0..40).map(|number| format!("key {number}")).collect();
    for (number, key) in names.iter().enumerate() {
        gateways[number % 3].router.call(put(key, key), DEADLINE).await.expect("written");
    }
    for gateway in &gateways {
        for key in &names {
            assert_eq!(value(gateway, key).await.as_deref(), Some(key.as_bytes()));
        }
        let mut found = 0;
        for shard in &gateway.node.map().shards {
            let range = PageRange { header: RequestHeader::default(), start: Bytes::new(), end: None, limit: 100 };
            let page = gateway.router.scan_shard(shard.shard, range, DEADLINE).await.expect("a page");
            let Reply::Scan { items, resume: None, .. } = page else { panic!("{page:?}") };
            found += items.len();
        }
        assert_eq!(found, names.len());
    }
}

#[tokio::test(start_paused = true)]
async fn conditions_and_batches_go_through_the_log() {
    let (_machines, gateways) = cluster(12).await;
    let kv = &gateways[0].router;
    let cas = |expected| {
        let (key, value) = (Bytes::from("{a}1"), Some(Bytes::from("new")));
        request(Operation::CompareAndSet { key, expected, value })
    };
    let succeeded = |reply: Reply| matches!(reply, Reply::CompareAndSet { succeeded: true, .. });
    assert!(succeeded(kv.call(cas(Expected::Absent), DEADLINE).await.expect("an answer")));
    assert!(!succeeded(kv.call(cas(Expected::Absent), DEADLINE).await.expect("an answer")));
    let mutations =
        vec![Mutation::Put { key: "{a}2".into(), value: "x".into() }, Mutation::Delete { key: "{a}1".into() }];
    kv.call(request(Operation::Batch { mutations }), DEADLINE).await.expect("one shard");
    assert_eq!(value(&gateways[1], "{a}1").await, None);
    assert_eq!(value(&gateways[1], "{a}2").await.as_deref(), Some(&b"x"[..]));
}

#[tokio::test(start_paused = true)]
async fn batches_that_belong_elsewhere_are_refused_whole() {
    let (_machines, gateways) = cluster(13).await;
    let node = &gateways[0].node;
    let key = (0..100).map(|number| format!("key {number}")).find(|key| shard_of(node, key) == ShardId(0));
    let key = key.expect("a quarter of all keys");
    let other = (0..100).map(|number| format!("key {number}")).find(|key| shard_of(node, key) == ShardId(1));
    let other = other.expect("a quarter of all keys");
    let map = node.map();
    let leader = map.shards[0].replicas[0].node;
    let led = &gateways[leader.0 as usize - 1];
    let follows = &gateways[leader.0 as usize % 3];
    let batch =
        |epoch: Epoch, requests: Vec<Request>| ShardBatch { epoch, shard: ShardId(0), requests: requests.into() };

    match follows.local.execute(batch(map.epoch, vec![put(&key, "v"), get(&key)])).await {
        ShardReply::NotLeader { leader: hint } => assert_eq!(hint, Some(leader)),
        other => panic!("{other:?}"),
    }
    match led.local.execute(batch(Epoch(0), vec![get(&key), get(&other)])).await {
        ShardReply::StaleRoute(newer) => assert_eq!(newer.epoch, map.epoch),
        other => panic!("{other:?}"),
    }
    let requests = vec![put(&key, "v"), get(&other), get(&key)];
    let ShardReply::Done { results, .. } = led.local.execute(batch(map.epoch, requests)).await else {
        panic!("refused")
    };
    assert!(matches!(results[0], Ok(Reply::Put { .. })));
    assert_eq!(results[1].as_ref().map_err(|error| error.code), Err(ErrorCode::InvalidArgument));
    assert!(matches!(results[2], Ok(Reply::Get { .. })));

    // A local read needs no leader; it may be old, so it is asked until the write is there.
    let mut old = get(&key);
    old.header.level = ReadLevel::Local;
    for _ in 0..100 {
        let reply = follows.local.execute(batch(map.epoch, vec![old.clone()])).await;
        let ShardReply::Done { results, .. } = reply else { panic!("{reply:?}") };
        if let Ok(Reply::Get { item: Some(item), .. }) = &results[0] {
            assert_eq!(item.value, "v");
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the follower never applied the write");
}

#[tokio::test(start_paused = true)]
async fn writes_go_on_after_a_leader_died_and_nothing_is_lost() {
    let (machines, gateways) = cluster(14).await;
    for number in 0..20 {
        gateways[0].router.call(put(&format!("key {number}"), "before"), DEADLINE).await.expect("written");
    }
    let leader = gateways[0].node.map().shards[0].replicas[0].node;
    let (dead, stays) = (leader.0 as usize - 1, &gateways[leader.0 as usize % 3]);
    machines[dead].kill();
    for number in 0..20 {
        let key = format!("key {number}");
        assert_eq!(value(stays, &key).await.as_deref(), Some(&b"before"[..]), "{key}");
        let written = stays.router.call(put(&key, "after"), DEADLINE).await;
        written.unwrap_or_else(|error| panic!("{key}: {error}"));
        assert_eq!(value(stays, &key).await.as_deref(), Some(&b"after"[..]));
    }
}

/// CLUSTER-5, KV-4: the replica was sound when it was opened.
#[tokio::test(start_paused = true)]
async fn a_replica_whose_damage_a_read_finds_serves_no_more_and_the_shard_goes_on() {
    let (machines, gateways) = cluster(16).await;
    let node = &gateways[0].node;
    let key = (0..100).map(|number| format!("key {number}")).find(|key| shard_of(node, key) == ShardId(0));
    let key = key.expect("a quarter of all keys");
    gateways[0].router.call(put(&key, "v"), DEADLINE).await.expect("written");
    let (map, broken) = (node.map(), node.map().shards[0].replicas[0]);
    let index = broken.node.0 as usize - 1;
    let led = &gateways[index];
    let group = led.node.host().group(GroupId::of_shard(ShardId(0))).expect("it leads");
    let batch = |request: Request| ShardBatch { epoch: map.epoch, shard: ShardId(0), requests: vec![request].into() };

    assert!(machines[index].durable.damage(broken.replica));
    assert!(group.is_sound(), "nobody has looked yet");
    let reply = led.local.execute(batch(get(&key))).await;
    let ShardReply::Done { results, .. } = reply else { panic!("{reply:?}") };
    let error = results[0].as_ref().expect_err("not an absent key");
    assert_eq!((error.code, error.message.contains("image")), (ErrorCode::Corrupt, true), "{error}");
    assert!(!group.is_sound(), "the read has told");
    let mut local = get(&key);
    local.header.level = ReadLevel::Local;
    let reply = led.local.execute(batch(local)).await;
    assert!(matches!(reply, ShardReply::NotLeader { .. }), "not even a local read: {reply:?}");

    for gateway in &gateways {
        assert_eq!(value(gateway, &key).await.as_deref(), Some(&b"v"[..]));
        gateway.router.call(put(&key, "v"), DEADLINE).await.expect("the other two are a majority");
    }
    let overview = gateways[0].node.overview().await;
    let shard = &overview.shards[0];
    assert!(shard.leader.is_some_and(|leader| leader != broken.node), "{shard:?}");
    let told = shard.replicas.iter().find(|replica| replica.replica == broken.replica).expect("its node is up");
    assert!(!told.is_serving && told.problem.as_deref().is_some_and(|problem| problem.contains("image")), "{told:?}");
    let others = &overview.shards[1..];
    assert!(others.iter().all(|shard| shard.replicas.iter().all(|replica| replica.is_serving)), "{others:?}");
}

#[tokio::test(start_paused = true)]
async fn a_damaged_replica_does_not_take_requests() {
    let (machines, gateways) = cluster(15).await;
    let node = gateways[0].node.clone();
    let key = (0..100).map(|number| format!("key {number}")).find(|key| shard_of(&node, key) == ShardId(0));
    let key = key.expect("a quarter of all keys");
    gateways[0].router.call(put(&key, "v"), DEADLINE).await.expect("written");
    let broken = node.map().shards[0].replicas[0];
    drop((gateways, node));
    machines.iter().for_each(Machine::kill);
    *machines[broken.node.0 as usize - 1].damaged.lock() = Some(broken.replica);
    let gateways: Vec<_> = start_all(&machines, &ADDRESSES).await.iter().map(gateway).collect();
    for gateway in &gateways {
        assert_eq!(value(gateway, &key).await.as_deref(), Some(&b"v"[..]));
        gateway.router.call(put(&key, "v"), DEADLINE).await.expect("the other two are a majority");
    }
    let refusing = &gateways[broken.node.0 as usize - 1];
    assert!(refusing.node.host().group(GroupId::of_shard(ShardId(0))).is_none());
}

/// What a batch of small requests asks for may be far more than a node has.
#[tokio::test(start_paused = true)]
async fn a_batch_reads_no_more_than_one_answer_holds_and_the_rest_is_asked_for_again() {
    let (_machines, gateways) = cluster(19).await;
    let key = (0..100).map(|number| format!("key {number}")).find(|key| shard_of(&gateways[0].node, key) == ShardId(0));
    let key = key.expect("a quarter of all keys");
    let value = Bytes::from(vec![7; 4 << 20]);
    let write = Operation::Put { key: key.clone().into(), value: value.clone() };
    let header = RequestHeader::default();
    gateways[0].router.call(Request { header, operation: write }, DEADLINE).await.expect("written");
    let map = gateways[0].node.map();
    let led = &gateways[map.shards[0].replicas[0].node.0 as usize - 1];
    let expected = Expected::Value("another one".into());
    let compare = || {
        let operation =
            Operation::CompareAndSet { key: key.clone().into(), expected: expected.clone(), value: Some("v".into()) };
        Request { header: RequestHeader::default(), operation }
    };
    for request in [get(&key), compare()] {
        let requests = vec![request.clone(); 40].into();
        let reply = led.local.execute(ShardBatch { epoch: map.epoch, shard: ShardId(0), requests }).await;
        let ShardReply::Done { results, .. } = reply else { panic!("{reply:?}") };
        let answered = results.iter().filter(|result| result.is_ok()).count();
        assert!((4..=16).contains(&answered), "{answered} of {request:?}");
        assert!(results.iter().filter_map(|result| result.as_ref().err()).all(strata_types::Error::is_without_room));
        // Callers do not notice.
        let calls = (0..40).map(|_| led.router.call(request.clone(), DEADLINE));
        for reply in futures_util::future::join_all(calls).await {
            let found = match reply.expect("answered") {
                Reply::Get { item, .. } | Reply::CompareAndSet { succeeded: false, current: item, .. } => item,
                other => panic!("{other:?}"),
            };
            assert_eq!(found.expect("there").value, value);
        }
    }
}
