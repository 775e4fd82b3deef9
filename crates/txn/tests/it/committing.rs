//! Commits on one shard and on several, and conflicts.

use strata_txn::{BeginOptions, Transactions};
use strata_types::{
    Conflict, ConflictReason, Decision, ErrorCode, Operation, Outcome, Part, Request, Retry, Slot, Space, SpaceKey,
    Timestamp, TransactionCall, TransactionId, TransactionStatus,
};

use crate::model::{Model, SECOND, bytes, value};

/// Two keys on different shards.
pub(crate) fn apart(model: &Model) -> (String, String) {
    let first = "a0".to_owned();
    let other = (1..100).map(|number| format!("a{number}")).find(|key| model.shard_of(key) != model.shard_of(&first));
    (first, other.expect("there are several shards"))
}

pub(crate) async fn read(transactions: &Transactions, key: &str) -> Option<String> {
    let snapshot = transactions.snapshot().await.expect("a snapshot");
    value(snapshot.get(bytes(key)).await.expect("read"))
}

fn conflict(error: &strata_types::Error) -> &Conflict {
    assert_eq!((error.code, error.outcome, error.retry()), (ErrorCode::Conflict, Outcome::NotApplied, Retry::Restart));
    error.conflict.as_ref().expect("typed")
}

#[tokio::test(start_paused = true)]
async fn what_lies_on_one_shard_is_committed_in_one_step() {
    let (model, transactions) = Model::start(4);
    model.put("{x}1", "old");
    let mut txn = transactions.begin(BeginOptions::default()).await.expect("begun");
    assert_eq!(value(txn.get("{x}1").await.expect("read")).as_deref(), Some("old"));
    txn.put("{x}1", "new").await.expect("buffered");
    txn.put("{x}2", "new").await.expect("buffered");
    let before = transactions.snapshot().await.expect("a snapshot");
    assert_eq!(value(before.get("{x}1").await.expect("read")).as_deref(), Some("old"));
    let begun = txn.read_timestamp();
    let at = txn.commit().await.expect("committed");
    assert!(at > begun, "{at} {begun}");
    assert_eq!(model.sent_but(&["get"]), ["commit"]);
    assert_eq!(read(&transactions, "{x}1").await.as_deref(), Some("new"));
    assert_eq!(read(&transactions, "{x}2").await.as_deref(), Some("new"));
    assert_eq!(value(before.get("{x}1").await.expect("read")).as_deref(), Some("old"));
    assert_eq!(before.get("{x}2").await.expect("read"), None);
}

/// COORD-3
#[tokio::test(start_paused = true)]
async fn what_lies_on_two_shards_is_committed_in_two_phases_and_tidied_up() {
    let (model, transactions) = Model::start(4);
    let (one, other) = apart(&model);
    let mut txn = transactions.begin(BeginOptions::default()).await.expect("begun");
    txn.put(one.clone(), "1").await.expect("buffered");
    txn.put(other.clone(), "2").await.expect("buffered");
    let handle = txn.handle();
    let at = txn.commit().await.expect("committed");
    let sent = model.sent();
    assert_eq!(model.sent_but(&["get"])[..2], ["prepare", "commit"], "the anchor's shard is asked last, and once");
    let parts: Vec<&Part> = sent.iter().filter_map(part).collect();
    let [prepared, last] = parts[..] else { panic!("{parts:?}") };
    assert_eq!((prepared.slot, last.slot), (Slot::of_key(other.as_bytes()), Slot::of_key(one.as_bytes())));
    assert_eq!(last.prepared.participants, [prepared.slot]);
    assert!(last.prepared.at > last.transaction.read_timestamp && at >= last.prepared.at, "{at} {last:?}");
    model.settle().await;
    assert_eq!(model.unfinished(), 0, "resolved and forgotten");
    for (key, expected) in [(&one, "1"), (&other, "2")] {
        assert_eq!(read(&transactions, key).await.as_deref(), Some(expected));
    }
    let status = transactions.outcome(handle).await.expect("answered");
    assert_eq!(status, TransactionStatus::Decided(Decision::Committed(at)));
    let item = transactions.snapshot().await.expect("a snapshot").get(one).await.expect("read").expect("written");
    assert_eq!(item.timestamp, at, "every write has the timestamp of the commit");
}

/// COORD-6
#[tokio::test(start_paused = true)]
async fn who_was_told_of_a_first_write_finds_the_commit_though_it_was_taken_back() {
    let (model, transactions) = Model::start(4);
    let (one, other) = apart(&model);
    let mut txn = transactions.begin(BeginOptions::default()).await.expect("begun");
    let start = txn.savepoint();
    txn.put(one.clone(), "1").await.expect("buffered");
    let told = txn.handle();
    txn.rollback_to(start).expect("it is there");
    txn.put(other.clone(), "2").await.expect("buffered");
    let at = txn.commit().await.expect("committed");
    for _ in 0..2 {
        assert_eq!(transactions.settle(told).await, Ok(TransactionStatus::Decided(Decision::Committed(at))));
        model.settle().await;
    }
    assert_eq!(model.unfinished(), 0);
    assert_eq!(read(&transactions, &one).await, None);
    assert_eq!(read(&transactions, &other).await.as_deref(), Some("2"));
    // Without any write there is nothing to decide.
    let mut txn = transactions.begin(BeginOptions::default()).await.expect("begun");
    let start = txn.savepoint();
    txn.put(one, "1").await.expect("buffered");
    txn.rollback_to(start).expect("it is there");
    let reads_at = txn.read_timestamp();
    model.sent_but(&[]);
    assert_eq!(txn.commit().await, Ok(reads_at));
    assert_eq!(model.sent_but(&[]), [""; 0]);
}

fn part(request: &Request) -> Option<&Part> {
    let Operation::Transact(call) = &request.operation else { return None };
    match &**call {
        TransactionCall::Commit(part) | TransactionCall::Prepare(part) => Some(part),
        _ => None,
    }
}

/// All that is prepared elsewhere is given up when the last part is refused.
#[tokio::test(start_paused = true)]
async fn what_the_last_shard_refuses_leaves_nothing_on_the_others() {
    let (model, transactions) = Model::start(4);
    let (one, other) = apart(&model);
    let mut txn = transactions.begin(BeginOptions::default()).await.expect("begun");
    assert_eq!(txn.get(one.clone()).await, Ok(None));
    txn.put(one.clone(), "1").await.expect("buffered");
    txn.put(other.clone(), "2").await.expect("buffered");
    model.put(&one, "meanwhile");
    let handle = txn.handle();
    let error = txn.commit().await.expect_err("what it has read was changed");
    assert_eq!(conflict(&error).reason, ConflictReason::Changed);
    model.settle().await;
    assert_eq!(model.unfinished(), 0, "resolved");
    assert_eq!(transactions.outcome(handle).await, Ok(TransactionStatus::Decided(Decision::Aborted)));
    assert_eq!(read(&transactions, &other).await, None);
}

#[tokio::test(start_paused = true)]
async fn records_of_several_transactions_are_given_up_together() {
    let (model, transactions) = Model::start(4);
    let (one, other) = apart(&model);
    // It is told every 50 ms: just after that, there is time for all of them.
    let past = model.env().now().0.as_millis() % 50;
    model.env().sleep(SECOND / 1_000 * (51 - past) as u32).await;
    for number in 0..3 {
        let mut txn = transactions.begin(BeginOptions::default()).await.expect("begun");
        for tag in [&one, &other] {
            txn.put(format!("{{{tag}}}{number}"), "1").await.expect("buffered");
        }
        txn.commit().await.expect("committed");
    }
    let before = model.sent_but(&["get", "prepare", "commit", "resolve"]);
    assert_eq!(before, [""; 0], "not each on its own");
    let mut moments = Vec::new();
    for _ in 0..300 {
        model.env().sleep(SECOND / 1_000).await;
        let sent = model.sent_but(&["get", "prepare", "commit", "resolve"]);
        assert!(sent.iter().all(|name| *name == "forget"), "{sent:?}");
        moments.push(sent.len());
    }
    moments.retain(|sent| *sent > 0);
    assert_eq!(moments, [3], "in one moment, though they were committed one after the other");
    assert_eq!(model.unfinished(), 0);
}

/// COORD-1: a shard that was only read has a part, too; else a write there, before the commit, would be overlooked.
#[tokio::test(start_paused = true)]
async fn a_shard_that_was_only_read_is_prepared() {
    let (model, transactions) = Model::start(4);
    let (one, other) = apart(&model);
    let mut txn = transactions.begin(BeginOptions::default()).await.expect("begun");
    assert_eq!(txn.get(one.clone()).await, Ok(None));
    txn.put(other.clone(), "2").await.expect("buffered");
    model.put(&one, "meanwhile");
    let error = txn.commit().await.expect_err("what it has read was changed");
    let key = SpaceKey { space: Space::default(), key: bytes(&one) };
    assert_eq!((conflict(&error).reason, &conflict(&error).key), (ConflictReason::Changed, &Some(key)));
    assert!(error.message.contains(&one) && error.message.contains("try again"), "{error}");
    model.settle().await;
    assert_eq!(model.unfinished(), 0, "nothing is left of it");
    assert_eq!(read(&transactions, &other).await, None);
}

#[tokio::test(start_paused = true)]
async fn of_two_that_read_and_write_the_same_one_commits() {
    let (model, transactions) = Model::start(4);
    model.put("n", "0");
    let (mut first, mut second) = (
        transactions.begin(BeginOptions::default()).await.expect("begun"),
        transactions.begin(BeginOptions::default()).await.expect("begun"),
    );
    for txn in [&mut first, &mut second] {
        txn.get("n").await.expect("read");
        txn.put("n", "1").await.expect("buffered");
    }
    first.commit().await.expect("committed");
    let error = second.commit().await.expect_err("lost update");
    assert_eq!(conflict(&error).reason, ConflictReason::Changed);
}

#[tokio::test(start_paused = true)]
async fn write_skew_over_two_shards_does_not_happen() {
    let (model, transactions) = Model::start(4);
    let (one, other) = apart(&model);
    let (mut first, mut second) = (
        transactions.begin(BeginOptions::default()).await.expect("begun"),
        transactions.begin(BeginOptions::default()).await.expect("begun"),
    );
    for (txn, written) in [(&mut first, &one), (&mut second, &other)] {
        txn.get(one.clone()).await.expect("read");
        txn.get(other.clone()).await.expect("read");
        txn.put(written.clone(), "on call no more").await.expect("buffered");
    }
    let (first, second) = futures_util::future::join(first.commit(), second.commit()).await;
    assert!(first.is_err() || second.is_err(), "both committed");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_appears_in_a_range_that_was_read_is_a_conflict() {
    let (model, transactions) = Model::start(4);
    let mut txn = transactions.begin(BeginOptions::default()).await.expect("begun");
    assert!(txn.scan_all("a", Some(bytes("b")), None).await.expect("scanned").is_empty());
    txn.put("z", "1").await.expect("buffered");
    model.put("a5", "phantom");
    let error = txn.commit().await.expect_err("a phantom");
    assert_eq!(conflict(&error).reason, ConflictReason::Changed);
}

/// COORD-1: what was not looked at may change: a scan that ended early has read less.
#[tokio::test(start_paused = true)]
async fn only_what_a_scan_returned_was_read() {
    let (model, transactions) = Model::start(4);
    for key in ["a1", "a2", "a3", "a4"] {
        model.put(key, "1");
    }
    let begin = || transactions.begin(BeginOptions::default());
    let mut txn = begin().await.expect("begun");
    let items = txn.scan_all("a", Some(bytes("b")), Some(2)).await.expect("scanned");
    assert_eq!(crate::model::shown(&items), "a1=1 a2=1");
    txn.put("z", "1").await.expect("buffered");
    model.put("a3", "2");
    txn.commit().await.expect("it has not read that far");
    model.settle().await;

    let mut txn = begin().await.expect("begun");
    txn.scan_all("a", Some(bytes("b")), Some(2)).await.expect("scanned");
    txn.put("z", "2").await.expect("buffered");
    model.put("a15", "2");
    txn.commit().await.expect_err("it lies between what it has read");
}

#[tokio::test(start_paused = true)]
async fn one_that_only_reads_asks_nobody_to_commit() {
    let (model, transactions) = Model::start(4);
    model.put("k", "1");
    let mut txn = transactions.begin(BeginOptions::default()).await.expect("begun");
    txn.get("k").await.expect("read");
    model.put("k", "2");
    let begun = txn.read_timestamp();
    assert_eq!(txn.commit().await, Ok(begun));
    assert_eq!(model.sent_but(&["get"]), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn spaces_are_apart() {
    let (_, transactions) = Model::start(4);
    let other = Space { database: strata_types::DatabaseId(7), ..Space::default() };
    let mut txn = transactions.begin(BeginOptions::default()).await.expect("begun");
    txn.put("k", "here").await.expect("buffered");
    txn.with_space(other).put("k", "there").await.expect("buffered");
    assert_eq!(value(txn.get("k").await.expect("read")).as_deref(), Some("there"));
    txn.commit().await.expect("committed");
    let snapshot = transactions.snapshot().await.expect("a snapshot");
    assert_eq!(value(snapshot.get("k").await.expect("read")).as_deref(), Some("here"));
    let snapshot = snapshot.with_space(other);
    assert_eq!(value(snapshot.get("k").await.expect("read")).as_deref(), Some("there"));
}

#[tokio::test(start_paused = true)]
async fn the_age_is_that_of_the_first_attempt() {
    let (_, transactions) = Model::start(4);
    let first = transactions.begin(BeginOptions::default()).await.expect("begun");
    assert_eq!(first.age(), first.read_timestamp());
    let age = Some(first.age());
    let second = transactions.begin(BeginOptions { age, ..BeginOptions::default() }).await.expect("begun");
    assert_eq!(second.age(), first.age());
    assert!(second.read_timestamp() > first.read_timestamp());
    assert_ne!(second.handle().id, first.handle().id);
    assert_ne!(second.handle().id, TransactionId::default());
    assert_ne!(second.age(), Timestamp::default());
}
