//! Transactions that a node keeps, over real shards in simulated time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use strata_env::sim::SimWorld;
use strata_router::{KeptElsewhere, KeptStage};
use strata_types::{
    ConflictReason, Decision, Error, ErrorCode, LockWait, NodeId, Outcome, Result, Slot, Timestamp, TransactionId,
    TransactionStatus,
};

use self::shards::{Shards, keys};
use super::{OpenTransactions, OpenWish};
use crate::{Savepoint, TransactionHandle};

mod bounds;
mod elsewhere;
mod ends;
#[allow(dead_code, reason = "the rest is for the tests of the front door, which share it")]
mod shards;

const SECOND: Duration = Duration::from_secs(1);
/// A transaction that nobody has begun.
const STRANGER: TransactionId = TransactionId(0x1234_5678);

fn start() -> (Arc<Shards>, OpenTransactions) {
    let (shards, router) = Shards::start(SimWorld::new(5).node(1).env());
    (shards, OpenTransactions::new(router, NodeId(1)))
}

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn wish(is_reader: bool, at: Option<u64>) -> OpenWish {
    OpenWish { is_reader, at: at.map(Timestamp), ..OpenWish::default() }
}

async fn begin(open: &OpenTransactions, is_reader: bool) -> TransactionHandle {
    open.begin(wish(is_reader, None), SECOND).await.expect("begun").handle
}

async fn get(open: &OpenTransactions, id: TransactionId, key: &Bytes) -> Result<Option<Bytes>> {
    Ok(open.get(id, key.clone(), SECOND).await?.0.map(|item| item.value))
}

async fn put(open: &OpenTransactions, id: TransactionId, key: &Bytes, value: &str) -> Result<TransactionHandle> {
    Ok(open.put(id, key.clone(), text(value), SECOND).await?.handle)
}

async fn commit(open: &OpenTransactions, id: TransactionId, handle: Option<TransactionHandle>) -> Result<Timestamp> {
    open.commit(id, handle, SECOND).await
}

async fn roll_back(open: &OpenTransactions, id: TransactionId) -> Result<()> {
    open.roll_back(id, None, SECOND).await
}

/// `patience`: how long it waits for another one's lock, in milliseconds; 0 for all its time.
async fn lock(open: &OpenTransactions, id: TransactionId, key: &Bytes, patience: u64) -> Result<()> {
    let patience = (patience > 0).then(|| Duration::from_millis(patience));
    open.get_for_update(id, key.clone(), LockWait::Wait, patience, SECOND).await.map(drop)
}

async fn outcome(open: &OpenTransactions, handle: TransactionHandle) -> TransactionStatus {
    open.outcome(handle, SECOND).await.expect("told")
}

async fn settle(open: &OpenTransactions, handle: TransactionHandle) -> TransactionStatus {
    open.settle(handle, SECOND).await.expect("told")
}

fn committed(at: Timestamp) -> TransactionStatus {
    TransactionStatus::Decided(Decision::Committed(at))
}

const ABORTED: TransactionStatus = TransactionStatus::Decided(Decision::Aborted);

fn reason(error: &Error) -> ConflictReason {
    assert_eq!((error.code, error.outcome), (ErrorCode::Conflict, Outcome::NotApplied), "{error}");
    error.conflict.as_ref().expect("typed").reason
}

/// Commits a value of a key by itself.
async fn write(open: &OpenTransactions, key: &Bytes, value: &str) -> Timestamp {
    let writer = begin(open, false).await;
    put(open, writer.id, key, value).await.expect("kept");
    commit(open, writer.id, None).await.expect("committed")
}

#[tokio::test(start_paused = true)]
async fn writes_on_two_shards_are_seen_together_and_only_after_the_commit() {
    let ((_, open), (one, two)) = (start(), keys());
    let begun = open.begin(wish(false, None), SECOND).await.expect("begun");
    assert!(!begun.is_anchored, "it has written nothing yet");
    let writer = begun.handle;
    put(&open, writer.id, &one, "1").await.expect("kept");
    let told = open.put(writer.id, two.clone(), text("2"), SECOND).await.expect("kept");
    assert!(told.is_anchored && told.handle.anchor == Slot::of_key(&one), "the slot of the first key");
    assert_eq!(get(&open, writer.id, &one).await, Ok(Some(text("1"))), "its own write");
    let before = begin(&open, true).await;
    assert_eq!(get(&open, before.id, &one).await, Ok(None));
    let at = commit(&open, writer.id, None).await.expect("committed");
    assert_eq!(get(&open, before.id, &two).await, Ok(None), "a snapshot stays what it was");
    let after = begin(&open, true).await;
    assert!(after.read_timestamp >= at);
    for (key, value) in [(&one, "1"), (&two, "2")] {
        assert_eq!(get(&open, after.id, key).await, Ok(Some(text(value))));
    }
    let past = open.begin(wish(true, Some(at.0 - 1)), SECOND).await.expect("begun").handle;
    assert_eq!(get(&open, past.id, &one).await, Ok(None), "time travel");
}

#[tokio::test(start_paused = true)]
async fn savepoints_take_writes_back() {
    let ((_, open), (one, two)) = (start(), keys());
    let id = begin(&open, false).await.id;
    put(&open, id, &one, "1").await.expect("kept");
    let mark = open.savepoint(id, SECOND).await.expect("marked");
    put(&open, id, &one, "2").await.expect("kept");
    put(&open, id, &two, "2").await.expect("kept");
    open.rollback_to(id, mark, SECOND).await.expect("taken back");
    assert_eq!(get(&open, id, &one).await, Ok(Some(text("1"))));
    assert_eq!(get(&open, id, &two).await, Ok(None));
    let error = open.rollback_to(id, Savepoint::from_number(99), SECOND).await.expect_err("there is none");
    assert_eq!(error.code, ErrorCode::InvalidArgument);
    commit(&open, id, None).await.expect("committed");
    let reader = begin(&open, true).await;
    assert_eq!(get(&open, reader.id, &two).await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn a_scan_has_the_own_writes_in_their_places_and_other_calls_go_on_meanwhile() {
    let ((_, open), (one, two)) = (start(), keys());
    write(&open, &one, "1").await;
    let id = begin(&open, false).await.id;
    put(&open, id, &two, "2").await.expect("kept");
    let mut scan = open.scan(id, Bytes::new(), None, None, SECOND).await.expect("begun");
    let mut found = Vec::new();
    while let Some(page) = scan.next_page(SECOND).await.expect("a page") {
        found.extend(page.into_iter().map(|item| item.value));
        put(&open, id, &text("0"), "behind").await.expect("kept");
    }
    found.sort();
    assert_eq!((found, scan.is_limit_reached()), (vec![text("1"), text("2")], false));
    let mut scan = open.scan(id, Bytes::new(), None, Some(1), SECOND).await.expect("begun");
    let first = scan.next_page(SECOND).await.expect("a page").expect("an item");
    assert_eq!((first[0].value.clone(), scan.is_limit_reached()), (text("behind"), true));
    roll_back(&open, id).await.expect("rolled back");
    let error = scan.next_page(SECOND).await.expect_err("over");
    assert_eq!(error.code, ErrorCode::InvalidArgument, "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_begin_that_its_deadline_ends_says_what_it_waited_for() {
    let ((shards, open), (one, _)) = (start(), keys());
    let reader = begin(&open, true).await;
    // The last attempt is always cut short.
    shards.stop_time(Some(Duration::from_millis(400)));
    for deadline in [SECOND / 2, SECOND, SECOND * 3] {
        for is_reader in [false, true] {
            let start = open.env().now();
            let error = open.begin(wish(is_reader, None), deadline).await.expect_err("nothing to read at");
            assert!(error.message.contains("no majority of the meta group answers"), "{error}");
            assert_eq!(error.outcome, Outcome::NotApplied);
            assert!(open.env().now().since(start) < deadline, "the answer still has to travel");
        }
    }
    assert_eq!(get(&open, reader.id, &one).await, Ok(None), "who has a timestamp goes on");
    shards.stop_time(None);
    begin(&open, true).await;
}

#[tokio::test(start_paused = true)]
async fn an_operator_sees_what_is_open_and_ends_it() {
    let ((_, open), (one, _)) = (start(), keys());
    let writer = begin(&open, false).await;
    let [seen] = open.list()[..] else { panic!("one is open") };
    assert_eq!((seen.anchor, seen.node, seen.stage), (None, NodeId(1), KeptStage::Open));
    put(&open, writer.id, &one, "v").await.expect("kept");
    assert!(open.list()[0].anchor.is_some(), "it has written something");
    let kept = open.abort(seen.id, SECOND).await.kept.expect("it is open here");
    assert_eq!((kept.node, kept.stage), (NodeId(1), KeptStage::Ended(Decision::Aborted)));
    let error = commit(&open, writer.id, None).await.expect_err("aborted");
    assert!(error.message.contains("operator") && reason(&error) == ConflictReason::Aborted, "{error}");
    assert_eq!(open.abort(TransactionId(1), SECOND).await, KeptElsewhere::default(), "nobody knows it");
    write(&open, &one, "v").await;
    assert_eq!(open.list(), []);
}

#[tokio::test(start_paused = true)]
async fn a_transaction_that_only_reads_takes_no_writes_and_reads_nothing_that_lies_ahead() {
    let ((_, open), (one, _)) = (start(), keys());
    let reader = begin(&open, true).await;
    for error in [
        put(&open, reader.id, &one, "v").await.expect_err("it only reads"),
        lock(&open, reader.id, &one, 0).await.expect_err("it only reads"),
    ] {
        assert_eq!((error.code, error.outcome), (ErrorCode::InvalidArgument, Outcome::NotApplied));
    }
    assert_eq!(commit(&open, reader.id, None).await, Ok(reader.read_timestamp));
    let error = open.begin(wish(true, Some(1 << 40)), SECOND).await.expect_err("refused");
    assert_eq!(error.code, ErrorCode::InvalidArgument);
}

#[tokio::test(start_paused = true)]
async fn who_names_a_transaction_that_is_not_here_begins_anew() {
    let (_, open) = start();
    let error = get(&open, STRANGER, &text("k")).await.expect_err("nobody's");
    assert_eq!(reason(&error), ConflictReason::Aborted);
    assert_eq!(open.handle_of(STRANGER), None);
}

#[tokio::test(start_paused = true)]
async fn what_contradicts_itself_is_refused_and_changes_nothing() {
    let ((_, open), (one, _)) = (start(), keys());
    let writer = begin(&open, false).await;
    let of_another = Some(TransactionHandle { id: STRANGER, ..writer });
    for error in [
        open.begin(wish(false, Some(1)), SECOND).await.expect_err("who writes reads what there is now"),
        commit(&open, writer.id, of_another).await.expect_err("the handle of another one"),
        open.roll_back(writer.id, of_another, SECOND).await.expect_err("the handle of another one"),
    ] {
        assert_eq!((error.code, error.outcome), (ErrorCode::InvalidArgument, Outcome::NotApplied), "{error}");
    }
    assert_eq!(get(&open, writer.id, &one).await, Ok(None), "it is open");
}
