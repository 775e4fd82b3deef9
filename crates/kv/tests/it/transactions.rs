//! Transactions over whole nodes: what happens when their coordinators do not do their part.

use std::time::Duration;

use bytes::Bytes;
use strata_router::{Kv as _, Router};
use strata_txn::{BeginOptions, Snapshot, TransactionOptions, Transactions};
use strata_types::{
    ConflictReason, ErrorCode, LockWait, Operation, Outcome, Part, Prepared, ReadPreference, Reply, Request,
    RequestHeader, Result, ShardId, Slot, Space, SpaceKey, SpaceRange, SpaceWrite, Timestamp, Transaction,
    TransactionCall, TransactionId, TransactionReply,
};

use crate::requests::{DEADLINE, Gateway, cluster, get, put, shard_of};

pub(crate) fn transactions(gateway: &Gateway) -> Transactions {
    Transactions::new(gateway.router.clone(), TransactionOptions::default())
}

/// Keys of different shards.
pub(crate) fn keys(gateway: &Gateway) -> [String; 2] {
    let of = |shard| {
        let mut keys = (0..100).map(|number| format!("key {number}"));
        keys.find(|key| shard_of(&gateway.node, key) == ShardId(shard)).expect("a quarter of all keys")
    };
    [of(0), of(1)]
}

pub(crate) async fn value(router: &Router, key: &str) -> Option<Bytes> {
    match router.call(get(key), DEADLINE).await.expect("a healthy cluster") {
        Reply::Get { item, .. } => item.map(|item| item.value),
        other => panic!("{other:?}"),
    }
}

async fn total(snapshot: &Snapshot, keys: &[String]) -> u64 {
    let mut total = 0;
    for key in keys {
        let item = snapshot.get(key.clone()).await.expect("readable");
        total += item.map_or(0, |item| String::from_utf8_lossy(&item.value).parse::<u64>().expect("a number"));
    }
    total
}

/// A coordinator whose steps are taken one by one.
struct ByHand<'a> {
    router: &'a Router,
    transaction: Transaction,
}

impl<'a> ByHand<'a> {
    async fn begin(gateway: &'a Gateway, number: u128, anchor: &str) -> ByHand<'a> {
        let at = gateway.node.timestamps().begin(DEADLINE).await.expect("a timestamp");
        let anchor = Slot::of_key(anchor.as_bytes());
        let transaction = Transaction { id: TransactionId(number), anchor, read_timestamp: at, age: at };
        ByHand { router: &gateway.router, transaction }
    }

    async fn call(&self, call: TransactionCall) -> Result<TransactionReply> {
        let request = Request { header: RequestHeader::default(), operation: Operation::Transact(Box::new(call)) };
        match self.router.call(request, DEADLINE).await? {
            Reply::Transact(reply) => Ok(reply),
            other => panic!("{other:?}"),
        }
    }

    fn part(&self, key: &str, value: &str) -> Part {
        let key = SpaceKey { space: Space::default(), key: Bytes::copy_from_slice(key.as_bytes()) };
        let value = Some(Bytes::copy_from_slice(value.as_bytes()));
        let (transaction, slot) = (self.transaction, key.slot());
        let (reads, ranges, writes) = (Vec::new(), Vec::new(), vec![SpaceWrite { key, value }]);
        Part { transaction, slot, reads, ranges, writes, prepared: Prepared::default() }
    }

    async fn prepare(&self, key: &str, value: &str) -> TransactionReply {
        self.call(TransactionCall::Prepare(self.part(key, value))).await.expect("an answer")
    }

    /// The last part, when another one is prepared.
    async fn commit(&self, key: &str, value: &str, at: Timestamp, other: &str) -> TransactionReply {
        let prepared = Prepared { at, participants: vec![Slot::of_key(other.as_bytes())] };
        self.call(TransactionCall::Commit(Part { prepared, ..self.part(key, value) })).await.expect("an answer")
    }
}

fn is_aborted(reply: &TransactionReply) -> bool {
    matches!(reply, TransactionReply::Conflict(conflict) if conflict.reason == ConflictReason::Aborted)
}

fn prepared(reply: TransactionReply) -> Timestamp {
    match reply {
        TransactionReply::Prepared { at } => at,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_transfer_over_two_shards_is_seen_whole_or_not_at_all_from_every_node() {
    let (_machines, gateways) = cluster(31).await;
    let keys = keys(&gateways[0]);
    for (key, amount) in keys.iter().zip(["70", "30"]) {
        gateways[0].router.call(put(key, amount), DEADLINE).await.expect("written");
    }
    let before = transactions(&gateways[1]).snapshot().await.expect("a snapshot");
    let mut transfer = transactions(&gateways[2]).begin(BeginOptions::default()).await.expect("begun");
    assert!(transfer.get(keys[0].clone()).await.expect("read").is_some());
    transfer.put(keys[0].clone(), "60").await.expect("buffered");
    transfer.put(keys[1].clone(), "40").await.expect("buffered");
    let at = transfer.commit().await.expect("committed");
    for gateway in &gateways {
        assert_eq!(value(&gateway.router, &keys[0]).await.as_deref(), Some(b"60".as_slice()));
        assert_eq!(value(&gateway.router, &keys[1]).await.as_deref(), Some(b"40".as_slice()));
        let now = transactions(gateway).snapshot().await.expect("a snapshot");
        assert!(now.timestamp() >= at, "what was committed before is in the snapshot");
        assert_eq!(total(&now, &keys).await, 100);
        let old = transactions(gateway).snapshot_at(before.timestamp()).await.expect("inside the retention");
        let first = old.get(keys[0].clone()).await.expect("read").expect("there");
        assert_eq!(first.value, "70", "the snapshot was taken before");
    }
    assert_eq!(total(&before, &keys).await, 100);
}

#[tokio::test(start_paused = true)]
async fn who_read_what_was_changed_since_is_told_over_which_key() {
    let (_machines, gateways) = cluster(32).await;
    let keys = keys(&gateways[0]);
    let mut late = transactions(&gateways[0]).begin(BeginOptions::default()).await.expect("begun");
    assert_eq!(late.get(keys[0].clone()).await.expect("read"), None);
    gateways[1].router.call(put(&keys[0], "1"), DEADLINE).await.expect("written");
    late.put(keys[1].clone(), "from an old read").await.expect("buffered");
    let error = late.commit().await.expect_err("what it read has changed");
    assert_eq!((error.code, error.outcome), (ErrorCode::Conflict, Outcome::NotApplied));
    let conflict = error.conflict.expect("says over what");
    assert_eq!(conflict.reason, ConflictReason::Changed);
    assert_eq!(conflict.key.expect("a key").key, keys[0].as_bytes());
    assert_eq!(value(&gateways[2].router, &keys[1]).await, None);
}

/// KV-7
#[tokio::test(start_paused = true)]
async fn what_is_decided_is_seen_though_its_coordinator_died_before_it_said_so_to_all() {
    let (_machines, gateways) = cluster(33).await;
    let keys = keys(&gateways[0]);
    let hand = ByHand::begin(&gateways[0], 7, &keys[0]).await;
    let at = prepared(hand.prepare(&keys[1], "b").await);
    let committed = hand.commit(&keys[0], "a", at, &keys[1]).await;
    assert!(matches!(committed, TransactionReply::Committed { at: last } if last >= at), "{committed:?}, after {at}");
    assert_eq!(hand.commit(&keys[0], "a", at, &keys[1]).await, committed, "a second time is the first one");
    for (gateway, (key, held)) in gateways.iter().zip(keys.iter().zip(["a", "b"])) {
        assert_eq!(value(&gateway.router, key).await.as_deref(), Some(held.as_bytes()));
    }
    // A follower finds it, too.
    let mut anywhere = get(&keys[1]);
    anywhere.header.prefer = ReadPreference::Any;
    for gateway in &gateways {
        let reply = gateway.router.call(anywhere.clone(), DEADLINE).await.expect("readable");
        assert!(matches!(&reply, Reply::Get { item: Some(item), .. } if item.value == "b"), "{reply:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_nobody_finishes_is_aborted_by_who_meets_it() {
    let (_machines, gateways) = cluster(34).await;
    let keys = keys(&gateways[0]);
    let hand = ByHand::begin(&gateways[0], 7, &keys[0]).await;
    let at = prepared(hand.prepare(&keys[1], "never").await);
    let other = ByHand::begin(&gateways[0], 8, &keys[1]).await;
    let elsewhere = prepared(other.prepare(&keys[0], "never").await);
    for (key, gateway) in keys.iter().zip(&gateways) {
        gateway.router.call(put(key, "mine"), DEADLINE).await.expect("the way is free in the end");
        assert_eq!(value(&gateway.router, key).await.as_deref(), Some(b"mine".as_slice()));
    }
    let late = hand.commit(&keys[0], "too late", at, &keys[1]).await;
    assert!(is_aborted(&late), "{late:?}");
    let late = other.commit(&keys[1], "too late", elsewhere, &keys[0]).await;
    assert!(is_aborted(&late), "{late:?}");
    let late = other.prepare(&keys[0], "too late").await;
    assert!(is_aborted(&late), "{late:?}");
    assert_eq!(value(&gateways[0].router, &keys[0]).await.as_deref(), Some(b"mine".as_slice()));
}

#[tokio::test(start_paused = true)]
async fn of_two_that_wait_for_each_other_the_older_one_gets_on() {
    let (_machines, gateways) = cluster(35).await;
    let keys = keys(&gateways[0]);
    let older = ByHand::begin(&gateways[0], 1, &keys[0]).await;
    let younger = ByHand::begin(&gateways[1], 2, &keys[1]).await;
    let [one, other] = &keys;
    let at = [prepared(older.prepare(other, "older").await), prepared(younger.prepare(one, "younger").await)];
    let first = older.commit(one, "older", at[0], other);
    let second = younger.commit(other, "younger", at[1], one);
    let (first, second) = futures_util::future::join(first, second).await;
    assert!(matches!(first, TransactionReply::Committed { .. }), "{first:?}");
    assert!(is_aborted(&second), "{second:?}");
    assert_eq!(value(&gateways[2].router, &keys[1]).await.as_deref(), Some(b"older".as_slice()));
}

#[tokio::test(start_paused = true)]
async fn what_is_left_behind_and_met_by_nobody_goes_away_by_itself() {
    let (_machines, gateways) = cluster(36).await;
    let keys = keys(&gateways[0]);
    let lost = ByHand::begin(&gateways[0], 7, &keys[0]).await;
    prepared(lost.prepare(&keys[1], "never").await);
    let mut more = (100..200).map(|number| format!("key {number}"));
    let anchor = more.find(|key| shard_of(&gateways[0].node, key) == ShardId(1)).expect("a quarter of all keys");
    let decided = ByHand::begin(&gateways[0], 8, &anchor).await;
    let at = prepared(decided.prepare(&keys[0], "kept").await);
    let committed = decided.commit(&anchor, "kept", at, &keys[0]).await;
    assert!(matches!(committed, TransactionReply::Committed { .. }), "{committed:?}");
    tokio::time::sleep(Duration::from_secs(15)).await;
    for gateway in &gateways {
        for group in gateway.node.host().groups().into_iter().filter(|group| group.id().shard().is_some()) {
            let state = group.tablet().get(strata_codec::SHARD_STATE_KEY).expect("readable");
            let state = state.map(|row| strata_codec::ShardState::decode(row).expect("decodes")).unwrap_or_default();
            assert_eq!((state.prepared, state.ranged), (0, 0), "{}", group.id());
        }
        let open = gateway.local.open_transactions().await;
        assert_eq!(open, [], "no record waits to be forgotten");
    }
    assert_eq!(value(&gateways[1].router, &keys[0]).await.as_deref(), Some(b"kept".as_slice()));
}

#[tokio::test(start_paused = true)]
async fn locks_of_a_client_that_died_become_free() {
    let (_machines, gateways) = cluster(37).await;
    let key = keys(&gateways[0])[0].clone();
    let dead = ByHand::begin(&gateways[0], 7, &key).await;
    let name = SpaceKey { space: Space::default(), key: Bytes::copy_from_slice(key.as_bytes()) };
    let lock = TransactionCall::Lock { transaction: dead.transaction, key: name, wait: LockWait::Wait };
    let locked = dead.call(lock).await.expect("an answer");
    assert!(matches!(locked, TransactionReply::Locked { item: None, .. }), "{locked:?}");
    let all = transactions(&gateways[1]);
    let mut refused = all.begin(BeginOptions::default()).await.expect("begun");
    let error = refused.get_for_update(key.clone(), LockWait::NoWait).await.expect_err("locked");
    assert_eq!(error.conflict.expect("a conflict").reason, ConflictReason::Locked);
    let mut waiting = all.begin(BeginOptions::default()).await.expect("begun");
    waiting.with_deadline(Duration::from_secs(20));
    waiting.get_for_update(key.clone(), LockWait::Wait).await.expect("it is free after a while");
    waiting.put(key, "mine").await.expect("buffered");
    waiting.commit().await.expect("committed");
}

/// Every replica has to look at all of it before it applies anything else, and again after each restart.
#[tokio::test(start_paused = true)]
async fn ranges_that_hold_too_much_do_not_get_into_the_log() {
    let (_machines, gateways) = cluster(45).await;
    let [x, _] = keys(&gateways[0]);
    for number in 0..60 {
        gateways[0].router.call(put(&format!("{{{x}}}{number}"), "1"), DEADLINE).await.expect("written");
    }
    let (space, end) = (Space::default(), Bytes::from(format!("{{{x}}}:")));
    let all = SpaceRange { space, start: Bytes::new(), end: Some(end.clone()) };
    let large = SpaceRange { space, start: end, end: None };
    let value = "v".repeat(1024 * 1024);
    gateways[0].router.call(put(&format!("{{{x}}}large"), &value), DEADLINE).await.expect("written");
    let by_hand = ByHand::begin(&gateways[0], 1, &x).await;
    let prepare_with = async |ranges: Vec<SpaceRange>| {
        by_hand.call(TransactionCall::Prepare(Part { ranges, ..by_hand.part(&x, "2") })).await
    };
    let prepare = async |count: usize| prepare_with(vec![all.clone(); count]).await;
    let error = prepare(5_000).await.expect_err("the same rows, again and again");
    assert_eq!((error.code, error.outcome), (ErrorCode::TooLarge, Outcome::NotApplied));
    assert!(error.message.contains("more than 250000 rows or 256 MiB of shard"), "{error}");

    // Every write of the shard would have to look at these bounds.
    let long = |number: usize| {
        let start = Bytes::from(format!("{number:08000}"));
        SpaceRange { space, end: Some(Bytes::from(format!("{number:08000}+"))), start }
    };
    let error = prepare_with((0..66).map(long).collect()).await.expect_err("66 times 16 KB");
    assert_eq!((error.code, error.outcome), (ErrorCode::TooLarge, Outcome::NotApplied));
    assert!(error.message.contains("over the limit of 1048576 bytes"), "{error}");
    let error = prepare_with(vec![large.clone(); 300]).await.expect_err("the same value, again and again");
    assert_eq!((error.code, error.outcome), (ErrorCode::TooLarge, Outcome::NotApplied));
    let commit = TransactionCall::Commit(Part { ranges: vec![large; 300], ..by_hand.part(&x, "2") });
    let error = by_hand.call(commit).await.expect_err("the same");
    assert_eq!((error.code, error.outcome), (ErrorCode::TooLarge, Outcome::NotApplied));
    assert!(matches!(prepare(50).await, Ok(TransactionReply::Prepared { .. })));
}
