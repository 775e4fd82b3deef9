//! Transactions that a node keeps, over real shards in simulated time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use strata_env::sim::SimWorld;
use strata_proto::v1::{self, decision, transaction_status::Status};
use strata_router::{KeptElsewhere, KeptStage, KeptTransaction};
use strata_types::{ConflictReason, Decision, Error, ErrorCode, NodeId, Outcome, Result, TransactionId};

use self::shards::{Shards, keys};
use super::{OpenTransactions, calls};

mod bounds;
mod elsewhere;
#[path = "../../tests/it/shards.rs"]
mod shards;

const SECOND: Duration = Duration::from_secs(1);

fn start() -> (Arc<Shards>, OpenTransactions) {
    let (shards, router) = Shards::start(SimWorld::new(5).node(1).env());
    (shards, OpenTransactions::new(router, NodeId(1)))
}

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

async fn begin(open: &OpenTransactions, read_only: bool) -> v1::TransactionHandle {
    let request = v1::TxnBeginRequest { read_only, ..v1::TxnBeginRequest::default() };
    calls::begin(open, request, SECOND).await.expect("begun").handle.expect("told")
}

async fn get(open: &OpenTransactions, id: &Bytes, key: &Bytes) -> Result<Option<Bytes>> {
    let request = v1::TxnGetRequest { id: id.clone(), key: key.clone() };
    Ok(calls::get(open, request, SECOND).await?.item.map(|item| item.value))
}

async fn put(open: &OpenTransactions, id: &Bytes, key: &Bytes, value: &str) -> Result<v1::TransactionHandle> {
    let request = v1::TxnPutRequest { id: id.clone(), key: key.clone(), value: text(value) };
    Ok(calls::put(open, request, SECOND).await?.handle.expect("told"))
}

async fn commit(open: &OpenTransactions, id: &Bytes, handle: Option<v1::TransactionHandle>) -> Result<u64> {
    let request = v1::TxnCommitRequest { id: id.clone(), handle };
    Ok(calls::commit(open, request, SECOND).await?.timestamp)
}

async fn lock(open: &OpenTransactions, id: &Bytes, key: &Bytes, timeout_millis: u32) -> Result<()> {
    let wait = v1::LockWait::Wait.into();
    let request = v1::TxnGetForUpdateRequest { id: id.clone(), key: key.clone(), wait, timeout_millis };
    calls::get_for_update(open, request, SECOND).await.map(drop)
}

async fn outcome(open: &OpenTransactions, handle: &v1::TransactionHandle) -> Status {
    ask(open, handle, false).await
}

async fn settle(open: &OpenTransactions, handle: &v1::TransactionHandle) -> Status {
    ask(open, handle, true).await
}

async fn ask(open: &OpenTransactions, handle: &v1::TransactionHandle, settle: bool) -> Status {
    let request = v1::TxnOutcomeRequest { handle: Some(handle.clone()), settle };
    calls::outcome(open, request, SECOND).await.expect("told").status.and_then(|status| status.status).expect("set")
}

fn committed(at: u64) -> Status {
    Status::Decided(v1::Decision { decision: Some(decision::Decision::Committed(at)) })
}

fn aborted() -> Status {
    Status::Decided(v1::Decision { decision: Some(decision::Decision::Aborted(decision::Aborted {})) })
}

fn reason(error: &Error) -> ConflictReason {
    assert_eq!((error.code, error.outcome), (ErrorCode::Conflict, Outcome::NotApplied), "{error}");
    error.conflict.as_ref().expect("typed").reason
}

/// Commits a value of a key by itself.
async fn write(open: &OpenTransactions, key: &Bytes, value: &str) -> u64 {
    let writer = begin(open, false).await;
    put(open, &writer.id, key, value).await.expect("kept");
    commit(open, &writer.id, None).await.expect("committed")
}

#[tokio::test(start_paused = true)]
async fn writes_on_two_shards_are_seen_together_and_only_after_the_commit() {
    let ((_, open), (one, two)) = (start(), keys());
    let writer = begin(&open, false).await;
    assert_eq!(writer.anchor, None, "it has written nothing yet");
    put(&open, &writer.id, &one, "1").await.expect("kept");
    let handle = put(&open, &writer.id, &two, "2").await.expect("kept");
    assert!(handle.anchor.is_some_and(|slot| slot < 8_192), "the slot of the first key");
    assert_eq!(get(&open, &writer.id, &one).await, Ok(Some(text("1"))), "its own write");
    let before = begin(&open, true).await;
    assert_eq!(get(&open, &before.id, &one).await, Ok(None));
    let at = commit(&open, &writer.id, None).await.expect("committed");
    assert_eq!(get(&open, &before.id, &two).await, Ok(None), "a snapshot stays what it was");
    let after = begin(&open, true).await;
    assert!(after.read_timestamp >= at);
    for (key, value) in [(&one, "1"), (&two, "2")] {
        assert_eq!(get(&open, &after.id, key).await, Ok(Some(text(value))));
    }
    let past = v1::TxnBeginRequest { read_only: true, at: Some(at - 1), ..v1::TxnBeginRequest::default() };
    let past = calls::begin(&open, past, SECOND).await.expect("begun").handle.expect("told");
    assert_eq!(get(&open, &past.id, &one).await, Ok(None), "time travel");
}

#[tokio::test(start_paused = true)]
async fn who_read_what_another_one_changed_gets_a_typed_conflict() {
    let ((_, open), (one, _)) = (start(), keys());
    let loser = begin(&open, false).await;
    assert_eq!(get(&open, &loser.id, &one).await, Ok(None));
    let at = write(&open, &one, "winner").await;
    put(&open, &loser.id, &one, "loser").await.expect("kept");
    let error = commit(&open, &loser.id, None).await.expect_err("changed");
    assert_eq!(reason(&error), ConflictReason::Changed);
    let conflict = error.conflict.as_deref().expect("typed");
    assert_eq!((conflict.key.as_ref().map(|key| &key.key), conflict.at.0), (Some(&one), at));
    assert_eq!(commit(&open, &loser.id, None).await, Err(error), "asked again, it says the same");
    assert_eq!(outcome(&open, &loser).await, aborted());
    let error = get(&open, &loser.id, &one).await.expect_err("over");
    assert_eq!(error.code, ErrorCode::Conflict);
}

/// GRPC-5
#[tokio::test(start_paused = true)]
async fn a_commit_without_an_answer_is_unknown_and_its_repetition_tells() {
    let ((shards, open), (one, two)) = (start(), keys());
    for keys in [vec![&one], vec![&one, &two]] {
        shards.mute(true);
        let writer = begin(&open, false).await;
        let mut handle = writer.clone();
        for key in &keys {
            handle = put(&open, &writer.id, key, "v").await.expect("kept");
        }
        let error = commit(&open, &writer.id, None).await.expect_err("no answer");
        assert_eq!(error.outcome, Outcome::Unknown, "{error}");
        shards.mute(false);
        // The coordinator still asks for itself.
        open.env().sleep(SECOND * 90).await;
        let at = commit(&open, &writer.id, None).await.expect("it was committed");
        let Status::Decided(_) = outcome(&open, &handle).await else { panic!("it is decided") };
        // The node forgets; another one never knew.
        open.env().sleep(SECOND * 200).await;
        let error = commit(&open, &writer.id, None).await.expect_err("forgotten");
        assert_eq!((error.outcome, error.retry()), (Outcome::Unknown, strata_types::Retry::No), "{error}");
        assert_eq!(commit(&open, &writer.id, Some(handle.clone())).await, Ok(at), "the shard knows");
        assert_eq!(outcome(&open, &handle).await, committed(at));
        let elsewhere = OpenTransactions::new(open.router().clone(), NodeId(2));
        assert_eq!(commit(&elsewhere, &writer.id, Some(handle)).await, Ok(at));
    }
}

/// GRPC-5
#[tokio::test(start_paused = true)]
async fn a_commit_goes_on_when_its_client_has_left() {
    let ((shards, open), (one, _)) = (start(), keys());
    shards.delay(Duration::from_millis(300));
    let writer = begin(&open, false).await;
    let handle = put(&open, &writer.id, &one, "v").await.expect("kept");
    let request = v1::TxnCommitRequest { id: writer.id.clone(), handle: None };
    let left = open.env().timeout(SECOND / 10, calls::commit(&open, request, SECOND)).await;
    assert!(left.is_err(), "the client did not wait");
    assert!(matches!(outcome(&open, &handle).await, Status::Pending(_)), "nobody says that it is not committed");
    let again = v1::TxnCommitRequest { id: writer.id.clone(), handle: None };
    let error = calls::commit(&open, again, SECOND / 20).await.expect_err("it does not wait for long");
    assert_eq!((error.outcome, error.code), (Outcome::Unknown, ErrorCode::DeadlineExceeded), "{error}");
    let give_up = v1::TxnRollbackRequest { id: writer.id.clone(), handle: None };
    let error = calls::rollback(&open, give_up, SECOND / 20).await.expect_err("too late for that");
    assert_eq!(error.outcome, Outcome::Unknown, "{error}");
    let at = commit(&open, &writer.id, None).await.expect("it waits for the first answer");
    assert_eq!(outcome(&open, &handle).await, committed(at));
    assert_eq!(open.list(), []);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_may_be_repeated_and_gives_locks_back() {
    let ((shards, open), (one, _)) = (start(), keys());
    let writer = begin(&open, false).await;
    lock(&open, &writer.id, &one, 0).await.expect("free");
    put(&open, &writer.id, &one, "v").await.expect("kept");
    let other = begin(&open, false).await;
    let error = lock(&open, &other.id, &one, 50).await.expect_err("taken");
    assert_eq!(reason(&error), ConflictReason::Locked);
    assert_eq!(error.conflict.expect("typed").key.expect("named").key, one);
    let request = || v1::TxnRollbackRequest { id: writer.id.clone(), handle: None };
    calls::rollback(&open, request(), SECOND).await.expect("rolled back");
    calls::rollback(&open, request(), SECOND).await.expect("again");
    lock(&open, &other.id, &one, 0).await.expect("free now");
    assert_eq!(shards.locked(), 1);
    let error = get(&open, &writer.id, &one).await.expect_err("over");
    assert_eq!(error.code, ErrorCode::InvalidArgument);
    assert_eq!(outcome(&open, &writer).await, aborted());
    let error = commit(&open, &writer.id, None).await.expect_err("over");
    assert_eq!(error.outcome, Outcome::NotApplied, "{error}");
    let nobody = v1::TxnRollbackRequest { id: text("0123456789abcdef"), handle: None };
    let error = calls::rollback(&open, nobody, SECOND).await.expect_err("it may have been committed and forgotten");
    assert_eq!(error.outcome, Outcome::Unknown, "{error}");
}

#[tokio::test(start_paused = true)]
async fn savepoints_take_writes_back() {
    let ((_, open), (one, two)) = (start(), keys());
    let id = begin(&open, false).await.id;
    put(&open, &id, &one, "1").await.expect("kept");
    let mark = calls::savepoint(&open, v1::TxnSavepointRequest { id: id.clone() }, SECOND).await.expect("marked");
    put(&open, &id, &one, "2").await.expect("kept");
    put(&open, &id, &two, "2").await.expect("kept");
    let back = |savepoint| v1::TxnRollbackToRequest { id: id.clone(), savepoint };
    calls::rollback_to(&open, back(mark.savepoint), SECOND).await.expect("taken back");
    assert_eq!(get(&open, &id, &one).await, Ok(Some(text("1"))));
    assert_eq!(get(&open, &id, &two).await, Ok(None));
    let error = calls::rollback_to(&open, back(99), SECOND).await.expect_err("there is none");
    assert_eq!(error.code, ErrorCode::InvalidArgument);
    commit(&open, &id, None).await.expect("committed");
    let reader = begin(&open, true).await;
    assert_eq!(get(&open, &reader.id, &two).await, Ok(None));
}

/// GRPC-4
/// GRPC-4
/// GRPC-4
/// GRPC-4
/// GRPC-4
/// GRPC-3
#[tokio::test(start_paused = true)]
async fn a_call_that_its_deadline_ends_says_what_it_waited_for() {
    let ((shards, open), (one, _)) = (start(), keys());
    let reader = begin(&open, true).await;
    // The last attempt is always cut short.
    shards.stop_time(Some(Duration::from_millis(400)));
    for deadline in [SECOND / 2, SECOND, SECOND * 3] {
        let start = open.env().now();
        let in_time = |error: Error, start| {
            assert!(error.message.contains("no majority of the meta group answers"), "{error}");
            assert_eq!(error.outcome, Outcome::NotApplied);
            assert!(open.env().now().since(start) < deadline, "the answer still has to travel");
        };
        let request = v1::TxnBeginRequest { read_only: true, ..v1::TxnBeginRequest::default() };
        in_time(calls::begin(&open, request, deadline).await.expect_err("no snapshot"), start);

        let start = open.env().now();
        let request = v1::TxnBeginRequest::default();
        in_time(calls::begin(&open, request, deadline).await.expect_err("nothing to read at"), start);

        let start = open.env().now();
        let request = v1::TimestampRequest { kind: v1::TimestampKind::Floor.into(), hold: 0 };
        in_time(calls::timestamp(&open, request, deadline).await.expect_err("no timestamp"), start);
    }
    assert_eq!(get(&open, &reader.id, &one).await, Ok(None), "who has a timestamp goes on");
    shards.stop_time(None);
    begin(&open, true).await;
}

#[tokio::test(start_paused = true)]
async fn an_operator_sees_what_is_open_and_ends_it() {
    let ((_, open), (one, _)) = (start(), keys());
    let writer = begin(&open, false).await;
    let [seen] = &open.list()[..] else { panic!("one is open") };
    assert_eq!((seen.anchor, seen.node, seen.shard), (None, NodeId(1), None));
    put(&open, &writer.id, &one, "v").await.expect("kept");
    assert!(open.list()[0].anchor.is_some(), "it has written something");
    let id = seen.id;
    let kept = open.abort(id, SECOND).await.kept.expect("it is open here");
    assert_eq!((kept.node, kept.stage), (NodeId(1), KeptStage::Ended(Decision::Aborted)));
    let error = commit(&open, &writer.id, None).await.expect_err("aborted");
    assert!(error.message.contains("operator") && reason(&error) == ConflictReason::Aborted, "{error}");
    assert_eq!(open.abort(TransactionId(1), SECOND).await, KeptElsewhere::default(), "nobody knows it");
    let at = write(&open, &one, "v").await;
    assert_eq!(open.list(), []);
    assert!(at > 0);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_only_reads_takes_no_writes_and_one_that_writes_no_timestamp() {
    let ((shards, open), (one, _)) = (start(), keys());
    let reader = begin(&open, true).await;
    for error in [
        put(&open, &reader.id, &one, "v").await.expect_err("it only reads"),
        lock(&open, &reader.id, &one, 0).await.expect_err("it only reads"),
    ] {
        assert_eq!((error.code, error.outcome), (ErrorCode::InvalidArgument, Outcome::NotApplied));
    }
    assert_eq!(commit(&open, &reader.id, None).await, Ok(reader.read_timestamp));
    for (read_only, at) in [(false, 1), (true, 1 << 40)] {
        let request = v1::TxnBeginRequest { read_only, at: Some(at), ..v1::TxnBeginRequest::default() };
        let error = calls::begin(&open, request, SECOND).await.expect_err("refused");
        assert_eq!(error.code, ErrorCode::InvalidArgument);
    }
    let hold = |kind: v1::TimestampKind, hold| v1::TimestampRequest { kind: kind.into(), hold };
    let begun = calls::timestamp(&open, hold(v1::TimestampKind::Begin, 0), SECOND).await.expect("a new one");
    let floor = calls::timestamp(&open, hold(v1::TimestampKind::Floor, 7), SECOND).await.expect("the newest");
    assert_eq!(begun.timestamp, floor.timestamp);
    let none = calls::timestamp(&open, hold(v1::TimestampKind::None, 8), SECOND).await.expect("renewed");
    assert_eq!(none.timestamp, 0);
    assert!(shards.holds().ends_with(&[strata_types::Timestamp(7), strata_types::Timestamp(8)]));
}

#[tokio::test(start_paused = true)]
async fn ids_that_are_none_are_refused_and_strange_ones_begin_anew() {
    let (_, open) = start();
    let error = get(&open, &text("short"), &text("k")).await.expect_err("no id");
    assert_eq!(error.code, ErrorCode::InvalidArgument);
    let error = get(&open, &text("0123456789abcdef"), &text("k")).await.expect_err("nobody's");
    assert_eq!(reason(&error), ConflictReason::Aborted);
    let handle = v1::TransactionHandle { id: text("0123456789abcdef"), ..v1::TransactionHandle::default() };
    let request = v1::TxnOutcomeRequest { handle: Some(handle), settle: false };
    let error = calls::outcome(&open, request, SECOND).await.expect_err("where?");
    assert!(error.message.contains("no anchor"), "{error}");
}
