//! What messages about transactions ask for, and what operators are told, over real shards in simulated time. What a
//! node does with transactions is tested in `strata-txn`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use strata_env::sim::SimWorld;
use strata_meta::{MetaCommand, MetaReply};
use strata_proto::v1::{self, decision, transaction_status::Status};
use strata_txn::OpenTransactions;
use strata_types::{ConflictReason, Error, ErrorCode, NodeId, Outcome, Result, ShardMap, Timestamp};

use self::shards::{Others, Shards, keys};
use super::calls;
use crate::{ClusterOverview, ClusterView, transaction_admin};

#[allow(dead_code, reason = "the rest is for the tests of the inside, which it belongs to")]
#[path = "../../../txn/src/open/tests/shards.rs"]
mod shards;

const SECOND: Duration = Duration::from_secs(1);

fn start() -> (Arc<Shards>, OpenTransactions) {
    let (shards, router) = Shards::start(SimWorld::new(5).node(1).env());
    (shards, OpenTransactions::new(router, NodeId(1)))
}

/// The shards, the node where transactions begin, and another one.
fn two_nodes() -> (Arc<Shards>, OpenTransactions, OpenTransactions) {
    let (shards, first) = start();
    let second = OpenTransactions::among(first.router().clone(), NodeId(2), Arc::new(Others(first.keeper())));
    (shards, first, second)
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

async fn put(open: &OpenTransactions, id: &Bytes, key: &Bytes, value: &str) -> v1::TransactionHandle {
    let request = v1::TxnPutRequest { id: id.clone(), key: key.clone(), value: text(value) };
    calls::put(open, request, SECOND).await.expect("kept").handle.expect("told")
}

async fn commit(open: &OpenTransactions, id: &Bytes, handle: Option<v1::TransactionHandle>) -> Result<u64> {
    let request = v1::TxnCommitRequest { id: id.clone(), handle };
    Ok(calls::commit(open, request, SECOND).await?.timestamp)
}

async fn lock(open: &OpenTransactions, id: &Bytes, key: &Bytes, deadline: Duration) -> Result<()> {
    let wait = v1::LockWait::Wait.into();
    let request = v1::TxnGetForUpdateRequest { id: id.clone(), key: key.clone(), wait, timeout_millis: 0 };
    calls::get_for_update(open, request, deadline).await.map(drop)
}

async fn outcome(open: &OpenTransactions, handle: v1::TransactionHandle, settle: bool) -> Result<Status> {
    let request = v1::TxnOutcomeRequest { handle: Some(handle), settle };
    Ok(calls::outcome(open, request, SECOND).await?.status.and_then(|status| status.status).expect("set"))
}

fn aborted() -> Status {
    Status::Decided(v1::Decision { decision: Some(decision::Decision::Aborted(decision::Aborted {})) })
}

fn invalid<T: std::fmt::Debug>(result: Result<T>) -> Error {
    let error = result.expect_err("refused");
    assert_eq!((error.code, error.outcome), (ErrorCode::InvalidArgument, Outcome::NotApplied), "{error}");
    error
}

#[tokio::test(start_paused = true)]
async fn a_handle_has_its_anchor_from_the_first_write_on_and_any_node_can_be_asked_with_it() {
    let ((_, first, second), (one, two)) = (two_nodes(), keys());
    let begun = begin(&first, false).await;
    assert_eq!(begun.anchor, None, "it has written nothing yet");
    let error = invalid(outcome(&second, begun.clone(), false).await);
    assert!(error.message.contains("no anchor"), "{error}");
    assert!(matches!(outcome(&first, begun.clone(), false).await, Ok(Status::Pending(_))), "its id is enough here");
    put(&first, &begun.id, &one, "1").await;
    let handle = put(&first, &begun.id, &two, "2").await;
    assert!(handle.anchor.is_some_and(|slot| slot < 8_192), "the slot of the first key");
    let at = commit(&first, &begun.id, None).await.expect("committed");
    assert_eq!(commit(&second, &begun.id, Some(handle.clone())).await, Ok(at), "the shard knows");
    for settle in [false, true] {
        let told = outcome(&second, handle.clone(), settle).await;
        let decision = Some(decision::Decision::Committed(at));
        assert_eq!(told, Ok(Status::Decided(v1::Decision { decision })));
    }
    let other = v1::TransactionHandle { id: text("0123456789abcdef"), ..handle };
    let error = invalid(commit(&second, &begun.id, Some(other)).await);
    assert!(error.message.contains("of another transaction"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn ids_that_are_none_are_refused_and_strange_ones_begin_anew() {
    let (_, open) = start();
    invalid(get(&open, &text("short"), &text("k")).await);
    let error = get(&open, &text("0123456789abcdef"), &text("k")).await.expect_err("nobody's");
    assert_eq!(error.conflict.expect("typed").reason, ConflictReason::Aborted);
}

#[tokio::test(start_paused = true)]
async fn only_who_reads_only_names_a_timestamp() {
    let ((_, open), (one, _)) = (start(), keys());
    let past = |read_only, at| v1::TxnBeginRequest { read_only, at: Some(at), ..v1::TxnBeginRequest::default() };
    invalid(calls::begin(&open, past(false, 1), SECOND).await);
    let writer = begin(&open, false).await;
    put(&open, &writer.id, &one, "1").await;
    let at = commit(&open, &writer.id, None).await.expect("committed");
    for (at, value) in [(at - 1, None), (at, Some(text("1")))] {
        let reader = calls::begin(&open, past(true, at), SECOND).await.expect("begun").handle.expect("told");
        assert_eq!(get(&open, &reader.id, &one).await, Ok(value), "{at}");
    }
}

#[tokio::test(start_paused = true)]
async fn timestamps_are_asked_for_and_held() {
    let (shards, open) = start();
    let ask = async |kind: v1::TimestampKind, hold| {
        let request = v1::TimestampRequest { kind: kind.into(), hold };
        calls::timestamp(&open, request, SECOND).await.expect("told").timestamp
    };
    let begun = ask(v1::TimestampKind::Begin, 0).await;
    assert_eq!(ask(v1::TimestampKind::Floor, 7).await, begun, "the newest");
    assert_eq!(ask(v1::TimestampKind::None, 8).await, 0, "renewed");
    assert!(shards.holds().ends_with(&[Timestamp(7), Timestamp(8)]));
}

/// GRPC-3
#[tokio::test(start_paused = true)]
async fn a_question_for_a_timestamp_that_its_deadline_ends_says_what_it_waited_for() {
    let (shards, open) = start();
    // The last attempt is always cut short.
    shards.stop_time(Some(Duration::from_millis(400)));
    for deadline in [SECOND / 2, SECOND, SECOND * 3] {
        let start = open.env().now();
        let request = v1::TimestampRequest { kind: v1::TimestampKind::Floor.into(), hold: 0 };
        let error = calls::timestamp(&open, request, deadline).await.expect_err("no timestamp");
        assert!(error.message.contains("no majority of the meta group answers"), "{error}");
        assert_eq!(error.outcome, Outcome::NotApplied);
        assert!(open.env().now().since(start) < deadline, "the answer still has to travel");
    }
}

/// A cluster whose shards have nothing of any transaction.
struct Nothing;

#[async_trait]
impl ClusterView for Nothing {
    async fn overview(&self) -> Result<ClusterOverview> {
        Err(Error::not_applied(ErrorCode::NotReady, "nobody asks for this"))
    }

    fn map(&self) -> Arc<ShardMap> {
        Arc::default()
    }

    async fn command(&self, _command: MetaCommand, _deadline: Duration) -> Result<MetaReply> {
        Err(Error::not_applied(ErrorCode::NotReady, "nobody asks for this"))
    }
}

/// What an operator is told who asks a node to end a transaction.
async fn abort(open: &OpenTransactions, id: &Bytes) -> Result<Status> {
    let request = v1::AbortTransactionRequest { id: id.clone() };
    let (env, kv) = (open.env(), open.router().as_ref());
    let reply = transaction_admin::abort(env, kv, &Nothing, Some(open), request, SECOND).await?;
    Ok(reply.status.and_then(|status| status.status).expect("set"))
}

#[tokio::test(start_paused = true)]
async fn an_operator_stops_a_commit_that_is_on_its_way_from_any_node() {
    let ((shards, first, second), (one, _)) = (two_nodes(), keys());
    for open in [&first, &second] {
        shards.delay(Duration::from_millis(300));
        let writer = begin(&first, false).await;
        put(&first, &writer.id, &one, "v").await;
        let (ended, told) = tokio::join!(commit(&first, &writer.id, None), async {
            first.env().sleep(SECOND / 10).await;
            abort(open, &writer.id).await
        });
        assert_eq!(told, Ok(aborted()), "the shard of the record has written it down");
        let error = ended.expect_err("aborted");
        assert_eq!(error.conflict.expect("typed").reason, ConflictReason::Aborted);
        shards.delay(Duration::ZERO);
        let reader = begin(&first, true).await;
        assert_eq!(get(&first, &reader.id, &one).await, Ok(None));
    }
}

#[tokio::test(start_paused = true)]
async fn an_operator_is_told_who_has_not_been_asked() {
    let ((_, first, second), (one, _)) = (two_nodes(), keys());
    let error = abort(&second, &text("0123456789abcdef")).await.expect_err("nobody knows it");
    assert_eq!((error.code, error.outcome), (ErrorCode::Unavailable, Outcome::NotApplied));
    assert!(error.message.contains("n3 may keep it"), "{error}");
    let error = abort(&first, &text("0123456789abcdef")).await.expect_err("nobody knows it, and all were asked");
    assert_eq!(error.code, ErrorCode::InvalidArgument);
    let (owner, writer) = (begin(&first, false).await, begin(&first, false).await);
    lock(&first, &owner.id, &one, SECOND).await.expect("free");
    let (locked, told) = tokio::join!(lock(&first, &writer.id, &one, 2 * SECOND), async {
        first.env().sleep(SECOND / 10).await;
        abort(&second, &writer.id).await
    });
    let error = told.expect_err("a call is under way");
    assert_eq!((error.code, error.outcome), (ErrorCode::DeadlineExceeded, Outcome::NotApplied));
    assert!(error.message.contains("under way at n1"), "{error}");
    assert!(locked.is_err(), "it waited for its rival");
    assert_eq!(abort(&second, &writer.id).await, Ok(aborted()));
}
