//! Limits, shards, maps, batches.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use strata_router::{
    Kv, Link, Router, RouterOptions, ShardBatch, ShardReply, check_limits, fit_results, size_of_result,
};
use strata_types::limits::{
    BATCH_BYTES_MAX, BATCH_OPERATIONS_MAX, GRPC_MESSAGE_BYTES_MAX, KEY_BYTES_MAX, SCAN_PAGE_ITEMS_MAX, VALUE_BYTES_MAX,
};
use strata_types::{
    ClusterId, Epoch, Error, ErrorCode, Expected, Item, Mutation, Operation, Outcome, Part, Prepared, Reply, Request,
    RequestHeader, Revision, ShardId, ShardMap, Slot, Space, SpaceRange, Timestamp, Transaction, TransactionCall,
    TransactionId, TransactionReply,
};

use crate::model::{Fault, Model, SECOND, get, map, put};

fn write(key: &[u8], size: usize) -> Mutation {
    Mutation::Put { key: Bytes::copy_from_slice(key), value: vec![0; size].into() }
}

fn code(operation: Operation) -> Option<ErrorCode> {
    check_limits(&operation).err().map(|error| {
        assert_eq!(error.outcome, Outcome::NotApplied);
        error.code
    })
}

#[test]
fn every_limit_holds_at_its_edge() {
    let key = |length| Bytes::from(vec![b'k'; length]);
    let too_large = Some(ErrorCode::TooLarge);
    assert_eq!(code(Operation::Get { key: key(KEY_BYTES_MAX) }), None);
    assert_eq!(code(Operation::Get { key: key(KEY_BYTES_MAX + 1) }), too_large);
    assert_eq!(code(Operation::Put { key: key(1), value: vec![0; VALUE_BYTES_MAX].into() }), None);
    assert_eq!(code(Operation::Put { key: key(1), value: vec![0; VALUE_BYTES_MAX + 1].into() }), too_large);
    let expected = Expected::Value(vec![0; VALUE_BYTES_MAX + 1].into());
    assert_eq!(code(Operation::CompareAndSet { key: key(1), expected, value: None }), too_large);
    // Each of the two fits, but no message holds both.
    let half = || Bytes::from(vec![0; BATCH_BYTES_MAX / 2]);
    let both = |key| Operation::CompareAndSet { key, expected: Expected::Value(half()), value: Some(half()) };
    assert_eq!([code(both(key(0))), code(both(key(1)))], [None, too_large]);
    let many = |count| Operation::Batch { mutations: vec![write(b"k", 0); count] };
    assert_eq!(code(many(BATCH_OPERATIONS_MAX)), None);
    assert_eq!(code(many(BATCH_OPERATIONS_MAX + 1)), too_large);
    assert_eq!(code(many(0)), Some(ErrorCode::InvalidArgument));
    let bytes = |size| Operation::Batch { mutations: vec![write(b"k", size / 2 - 1), write(b"k", size / 2 - 1)] };
    assert_eq!(code(bytes(BATCH_BYTES_MAX)), None);
    assert_eq!(code(bytes(BATCH_BYTES_MAX + 2)), too_large);
    let scan = |limit| Operation::Scan { start: key(1), end: None, limit };
    assert_eq!(code(scan(SCAN_PAGE_ITEMS_MAX)), None);
    assert_eq!(code(scan(SCAN_PAGE_ITEMS_MAX + 1)), too_large);
    assert_eq!(code(scan(0)), Some(ErrorCode::InvalidArgument));
    // A page may begin right after the longest key, and a range may end there.
    let after = |length| Operation::Scan { start: key(length), end: Some(key(length)), limit: 1 };
    assert_eq!([code(after(KEY_BYTES_MAX + 1)), code(after(KEY_BYTES_MAX + 2))], [None, too_large]);
    let range = |length| SpaceRange { space: Space::default(), start: key(1), end: Some(key(length)) };
    let anchor = Slot::of_key(b"k");
    let transaction = Transaction { id: TransactionId(1), anchor, read_timestamp: Timestamp(1), age: Timestamp(1) };
    let read = |length| {
        let (reads, ranges, writes) = (Vec::new(), vec![range(length)], Vec::new());
        let part = Part { transaction, slot: anchor, reads, ranges, writes, prepared: Prepared::default() };
        Operation::Transact(Box::new(TransactionCall::Prepare(part)))
    };
    assert_eq!([code(read(KEY_BYTES_MAX + 1)), code(read(KEY_BYTES_MAX + 2))], [None, too_large]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_over_two_shards_is_refused_and_names_both_slots() {
    let (model, router) = Model::start(4, RouterOptions::default());
    let mutations = vec![write(b"foo", 1), write(b"a", 1)];
    let request = Request { header: RequestHeader::default(), operation: Operation::Batch { mutations } };
    let error = router.send(request, SECOND).await.expect_err("two shards");
    assert_eq!((error.code, error.outcome), (ErrorCode::CrossShard, Outcome::NotApplied));
    for slot in [Slot::of_key(b"foo"), Slot::of_key(b"a")] {
        assert!(error.message.contains(&format!("slot {slot}")), "{error}");
    }
    assert!(model.sent().is_empty());
}

#[tokio::test(start_paused = true)]
async fn each_request_goes_to_the_shard_of_its_slot() {
    let (model, router) = Model::start(7, RouterOptions::default());
    // The model panics when a request meets a shard that does not own its slot.
    for number in 0..100 {
        router.send(put(&format!("key {number}")), SECOND).await.expect("written");
    }
    assert_eq!(model.applied(), 100);
    let shards: std::collections::BTreeSet<_> = model.sent().iter().map(|sent| sent.shard).collect();
    assert_eq!(shards.len(), 7);
}

#[tokio::test(start_paused = true)]
async fn concurrent_callers_share_batches() {
    let (model, router) = Model::start(1, RouterOptions { inflight: 1, ..RouterOptions::default() });
    let calls = (0..1000).map(|number| {
        let router = router.clone();
        async move { router.send(put(&format!("key {number}")), SECOND).await }
    });
    for reply in futures_util::future::join_all(calls).await {
        reply.expect("written");
    }
    assert_eq!(model.applied(), 1000);
    assert_eq!(model.sent().iter().map(|sent| sent.count).collect::<Vec<_>>(), [1000], "all were queued before it ran");
}

#[tokio::test(start_paused = true)]
async fn batches_close_at_their_bounds() {
    let options = RouterOptions { inflight: 1, batch_requests: 10, batch_bytes: 2000, ..RouterOptions::default() };
    let (model, router) = Model::start(1, options);
    let large = |key: &str| {
        let operation = Operation::Put { key: Bytes::copy_from_slice(key.as_bytes()), value: vec![0; 900].into() };
        Request { header: RequestHeader::default(), operation }
    };
    let calls: Vec<_> = (0..25).map(|n| put(&format!("{n}"))).chain((0..3).map(|n| large(&format!("l{n}")))).collect();
    let calls = calls.into_iter().map(|request| router.send(request, SECOND));
    for reply in futures_util::future::join_all(calls).await {
        reply.expect("written");
    }
    let counts: Vec<_> = model.sent().iter().map(|sent| sent.count).collect();
    assert_eq!(counts, [10, 10, 6, 2], "by count, by count, by bytes, the rest");
}

#[tokio::test(start_paused = true)]
async fn no_more_batches_than_allowed_are_under_way() {
    let (model, router) = Model::start(1, RouterOptions { inflight: 2, ..RouterOptions::default() });
    model.script(vec![Fault::Slow(Duration::from_millis(99)); 2]);
    let mut calls = Vec::new();
    for number in 0..10 {
        let router = router.clone();
        calls.push(tokio::spawn(async move { router.send(put(&format!("{number}")), SECOND).await }));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(model.sent().len(), 2);
    for call in calls {
        call.await.expect("joined").expect("written");
    }
    assert_eq!(model.sent().iter().map(|sent| sent.count).collect::<Vec<_>>(), [1, 1, 8]);
}

#[tokio::test(start_paused = true)]
async fn busy_shards_have_one_batch_each() {
    for (busy, expected) in [(1, [1, 1]), (4, [2, 2])] {
        let (model, router) = Model::start(2, RouterOptions { inflight: 2, busy, ..RouterOptions::default() });
        model.script(vec![Fault::Slow(Duration::from_millis(99)); 4]);
        let mut calls = Vec::new();
        for number in 0..20 {
            let router = router.clone();
            calls.push(tokio::spawn(async move { router.send(put(&format!("{number}")), SECOND).await }));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        let sent = model.sent();
        let of_shard = |shard| sent.iter().filter(|sent| sent.shard == ShardId(shard)).count();
        assert_eq!([of_shard(0), of_shard(1)], expected, "with busy={busy}");
        for call in calls {
            call.await.expect("joined").expect("written");
        }
    }
}

/// ROUTE-5
#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses() {
    let options = RouterOptions { inflight: 1, queue_bytes: 1000, ..RouterOptions::default() };
    let (model, router) = Model::start(1, options);
    model.script([Fault::Slow(Duration::from_millis(100))]);
    let first = tokio::spawn({
        let router = router.clone();
        async move { router.send(put("first"), SECOND).await }
    });
    tokio::time::sleep(Duration::from_millis(10)).await;
    let calls = (0..100).map(|number| router.send(put(&format!("{number}")), SECOND));
    let replies = futures_util::future::join_all(calls).await;
    let refused = replies.iter().filter_map(|reply| reply.as_ref().err()).collect::<Vec<_>>();
    assert!(refused.len() > 50 && refused.len() < 100, "{}", refused.len());
    assert!(refused.iter().all(|error| error.code == ErrorCode::Overloaded && error.outcome == Outcome::NotApplied));
    first.await.expect("joined").expect("written");
}

/// ROUTE-4
#[tokio::test(start_paused = true)]
async fn a_stale_route_installs_the_newer_map_and_goes_on() {
    let (model, router) = Model::start(4, RouterOptions::default());
    model.set_map(map(5, 8));
    for key in ["a", "b", "c", "foo"] {
        router.send(put(key), SECOND).await.expect("written");
    }
    assert_eq!(router.map().epoch, Epoch(5));
    assert_eq!(model.applied(), 4, "a refused route applied nothing");
    router.install(map(3, 4));
    assert_eq!(router.map().epoch, Epoch(5), "an older map is never used again");
    router.install(Arc::new(ShardMap { cluster: ClusterId(9), ..(*map(7, 4)).clone() }));
    assert_eq!(router.map().epoch, Epoch(5), "nor another cluster's");
}

#[tokio::test(start_paused = true)]
async fn requests_that_wait_for_a_shard_that_is_split_find_their_new_ones() {
    let (model, router) = Model::start(1, RouterOptions::default());
    model.set_leader(0, None);
    let calls: Vec<_> = ["a", "b", "c", "foo", "bar"]
        .into_iter()
        .map(|key| {
            let router = router.clone();
            tokio::spawn(async move { router.send(put(key), 5 * SECOND).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    model.set_map(map(2, 8));
    for call in calls {
        call.await.expect("joined").expect("written");
    }
    assert_eq!(model.applied(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_router_without_a_map_fetches_one() {
    let (model, _) = Model::start(4, RouterOptions::default());
    let env = strata_env::sim::SimWorld::new(1).node(1).env();
    let router = Router::new(env, model.clone(), Arc::default(), RouterOptions::default());
    router.send(put("a"), SECOND).await.expect("written");
    assert_eq!((router.map().epoch, model.maps_fetched()), (Epoch(1), 1));
}

/// ROUTE-3
#[tokio::test(start_paused = true)]
async fn a_first_call_has_one_deadline_for_the_map_and_the_answer() {
    let (model, _) = Model::start(1, RouterOptions::default());
    model.set_map_delay(SECOND * 3 / 4);
    model.always(Some(Fault::Swallow));
    let env = strata_env::sim::SimWorld::new(1).node(1).env();
    let router = Router::new(env, model.clone(), Arc::default(), RouterOptions::default());
    let start = tokio::time::Instant::now();
    router.send(put("a"), SECOND).await.expect_err("the answer is lost");
    assert!(!model.sent().is_empty(), "the map came");
    assert!(start.elapsed() < SECOND + Duration::from_millis(60), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_cluster_without_a_map_is_not_ready() {
    let (model, _) = Model::start(4, RouterOptions::default());
    model.set_map(Arc::default());
    let env = strata_env::sim::SimWorld::new(1).node(1).env();
    let router = Router::new(env, model, Arc::default(), RouterOptions::default());
    let error = router.send(get("a"), SECOND).await.expect_err("no map");
    assert_eq!((error.code, error.outcome), (ErrorCode::NotReady, Outcome::NotApplied));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_does_not_disturb_the_others() {
    let (model, router) = Model::start(1, RouterOptions { inflight: 1, ..RouterOptions::default() });
    model.script([Fault::Slow(Duration::from_millis(100))]);
    let gone = tokio::spawn({
        let router = router.clone();
        async move { router.send(put("gone"), SECOND).await }
    });
    let stays = tokio::spawn({
        let router = router.clone();
        async move { router.send(put("stays"), SECOND).await }
    });
    tokio::time::sleep(Duration::from_millis(10)).await;
    gone.abort();
    stays.await.expect("joined").expect("written");
}

#[test]
fn results_are_taken_back_only_when_asking_again_is_harmless() {
    let item = || Item {
        key: Bytes::from_static(b"k"),
        value: vec![0; 1000].into(),
        revision: Revision::default(),
        timestamp: Timestamp(0),
    };
    let get = || Ok(Reply::Get { item: Some(item()), freshness: None });
    let cas = |succeeded| {
        Ok(Reply::CompareAndSet { succeeded, revision: Revision::default(), current: (!succeeded).then(item) })
    };
    let committed = || Ok(Reply::Transact(TransactionReply::Committed { at: Timestamp(7) }));
    let locked = || Ok(Reply::Transact(TransactionReply::Locked { item: Some(item()), changed: Timestamp(0) }));
    let put = || Ok(Reply::Put { revision: Revision::default() });
    let mut results = vec![get(), get(), put(), cas(true), cas(false), committed(), locked()];
    let before: Vec<_> = results.clone();
    fit_results(&mut results, GRPC_MESSAGE_BYTES_MAX);
    assert_eq!(results, before, "what fits stays");
    let bytes = fit_results(&mut results, 1400);
    assert_eq!(results[0], before[0]);
    assert_eq!(results[2..4], before[2..4], "what was written is told");
    assert_eq!(results[5], before[5], "that it is committed, too: nobody may have the time to ask again");
    for taken in [&results[1], &results[4], &results[6]] {
        let error = taken.as_ref().expect_err("taken back");
        assert_eq!((error.code, error.outcome), (ErrorCode::Overloaded, Outcome::NotApplied));
    }
    assert_eq!(bytes, results.iter().map(size_of_result).sum::<usize>());
}

/// The largest single results fit a message alone, so that a batch of too many always gets somewhere.
#[test]
fn any_single_result_fits_a_message() {
    let item = |value: usize| Item {
        key: vec![0; KEY_BYTES_MAX].into(),
        value: vec![0; value].into(),
        revision: Revision::default(),
        timestamp: Timestamp(0),
    };
    let mut one = [Ok(Reply::Get { item: Some(item(VALUE_BYTES_MAX)), freshness: None })];
    assert!(fit_results(&mut one, GRPC_MESSAGE_BYTES_MAX - 1024 * 1024) <= GRPC_MESSAGE_BYTES_MAX && one[0].is_ok());
    let page = vec![item(1024 * 1024 - KEY_BYTES_MAX), item(VALUE_BYTES_MAX)];
    let mut scan: [Result<Reply, Error>; 1] = [Ok(Reply::Scan { items: page, resume: None, freshness: None })];
    fit_results(&mut scan, GRPC_MESSAGE_BYTES_MAX - 1024 * 1024);
    assert!(scan[0].is_ok());
}

/// The traits can be made into objects, which is how all their users hold them.
#[tokio::test(start_paused = true)]
async fn the_traits_are_object_safe() {
    let (model, router) = Model::start(1, RouterOptions::default());
    let kv: Arc<dyn Kv> = router;
    kv.call(put("a"), SECOND).await.expect("written");
    let link: Arc<dyn Link> = model;
    let batch = ShardBatch { epoch: Epoch(1), shard: kv.map().shards[0].shard, requests: Arc::new(vec![get("a")]) };
    let node = kv.map().shards[0].replicas[0].node;
    let reply = link.execute(node, batch, SECOND).await.expect("answered");
    assert!(matches!(reply, ShardReply::Done { results, .. } if results.len() == 1));
}
