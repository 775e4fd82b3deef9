//! Two nodes, each with transactions of its own clients.

use std::sync::Weak;

use async_trait::async_trait;
use strata_meta::{MetaCommand, MetaReply};
use strata_router::{Keeper, Keepers};
use strata_types::ShardMap;

use super::*;
use crate::txn::registry::Registry;
use crate::{ClusterOverview, ClusterView, transaction_admin};

/// All other nodes: one that answers, and one that does not.
struct Others(Weak<dyn Keeper>);

const SILENT: NodeId = NodeId(3);

impl Others {
    fn told(kept: Option<KeptTransaction>) -> KeptElsewhere {
        let silent = if kept.is_some() { Vec::new() } else { vec![SILENT] };
        KeptElsewhere { kept, silent }
    }
}

#[async_trait]
impl Keepers for Others {
    async fn find(&self, id: TransactionId, _deadline: Duration) -> KeptElsewhere {
        Others::told(self.0.upgrade().and_then(|keeper| keeper.find(id)))
    }

    async fn abort(&self, id: TransactionId, deadline: Duration) -> KeptElsewhere {
        match self.0.upgrade() {
            Some(keeper) => Others::told(keeper.abort(id, deadline).await),
            None => Others::told(None),
        }
    }
}

/// The shards, the node where transactions begin, and another one.
fn two_nodes() -> (Arc<Shards>, OpenTransactions, OpenTransactions) {
    let (shards, first) = start();
    let second = OpenTransactions::among(first.router().clone(), NodeId(2), Arc::new(Others(first.keeper())));
    (shards, first, second)
}

/// GRPC-5
#[tokio::test(start_paused = true)]
async fn a_commit_that_is_under_way_at_another_node_is_not_decided() {
    let ((shards, first, second), (one, _)) = (two_nodes(), keys());
    let writer = begin(&first, false).await;
    let handle = put(&first, &writer.id, &one, "v").await.expect("kept");
    assert!(matches!(outcome(&second, &handle).await, Status::Pending(_)), "it may yet be committed");
    shards.delay(Duration::from_millis(300));
    let (committing, asking) = (commit(&first, &writer.id, None), async {
        first.env().sleep(SECOND / 10).await;
        assert_eq!(first.list()[0].phase, crate::TransactionPhase::Committing);
        let again = commit(&second, &writer.id, Some(handle.clone())).await.expect_err("nobody knows yet");
        assert_eq!((again.outcome, again.code), (Outcome::Unknown, ErrorCode::Unavailable), "{again}");
        assert!(again.message.contains("not decided yet"), "{again}");
        outcome(&second, &handle).await
    });
    let (at, asked) = tokio::join!(committing, asking);
    assert!(matches!(asked, Status::Pending(_)), "{asked:?}");
    let at = at.expect("committed");
    for open in [&first, &second] {
        assert_eq!(outcome(open, &handle).await, committed(at));
    }
    // Nobody knows of one that was never here.
    let nobody = v1::TransactionHandle { id: text("0123456789abcdef"), ..handle };
    assert!(matches!(outcome(&second, &nobody).await, Status::Unknown(_)));
}

/// The first node was told to commit, and is gone before its message reaches the shard: another one makes sure.
#[tokio::test(start_paused = true)]
async fn a_commit_of_a_node_that_is_gone_is_settled_by_its_repetition() {
    for is_sent in [false, true] {
        let (shards, first) = start();
        let ((one, two), gone) = (keys(), Arc::new(Others(Weak::<Registry>::new())));
        let second = OpenTransactions::among(first.router().clone(), NodeId(2), gone);
        let writer = begin(&first, false).await;
        put(&first, &writer.id, &one, "v").await.expect("kept");
        let handle = put(&first, &writer.id, &two, "v").await.expect("kept");
        let done = match is_sent {
            true => Some(commit(&first, &writer.id, None).await.expect("committed")),
            false => None,
        };
        let again = commit(&second, &writer.id, Some(handle.clone())).await;
        match done {
            Some(at) => assert_eq!(again, Ok(at)),
            None => assert_eq!(reason(&again.expect_err("it never will be")), ConflictReason::Aborted),
        }
        assert_eq!(outcome(&second, &handle).await, done.map_or_else(aborted, committed));
        let give_up = v1::TxnRollbackRequest { id: writer.id.clone(), handle: Some(handle.clone()) };
        assert_eq!(calls::rollback(&second, give_up, SECOND).await.is_err(), is_sent, "not if it is committed");
        // What the first node does later changes nothing.
        assert_eq!(commit(&first, &writer.id, None).await.ok(), done);
        let reader = begin(&first, true).await;
        assert_eq!(get(&first, &reader.id, &one).await, Ok(done.map(|_| text("v"))));
        // The shard of the record does not answer: that says nothing about the transaction.
        shards.refuse(Some(Error::not_applied(ErrorCode::DiskFull, "the disk of n1 is full")));
        let error = commit(&second, &writer.id, Some(handle)).await.expect_err("nobody tells");
        assert_eq!(error.outcome, Outcome::Unknown, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_owns_a_transaction_settles_it_from_any_node() {
    let ((shards, first, second), (one, two)) = (two_nodes(), keys());
    // Open at the other node: it ends there.
    let writer = begin(&first, false).await;
    lock(&first, &writer.id, &one, 0).await.expect("free");
    let handle = put(&first, &writer.id, &two, "v").await.expect("kept");
    assert_eq!(settle(&second, &handle).await, aborted());
    first.env().sleep(SECOND / 10).await;
    assert_eq!(shards.locked(), 0, "its locks are free");
    assert_eq!(reason(&commit(&first, &writer.id, None).await.expect_err("over")), ConflictReason::Aborted);
    // Its commit is on its way: the shard of the record decides.
    shards.delay(Duration::from_millis(300));
    let writer = begin(&first, false).await;
    let handle = put(&first, &writer.id, &one, "v").await.expect("kept");
    let (ended, told) = tokio::join!(commit(&first, &writer.id, None), async {
        first.env().sleep(SECOND / 10).await;
        settle(&second, &handle).await
    });
    assert_eq!(told, ended.map_or_else(|_| aborted(), committed));
    shards.delay(Duration::ZERO);
    // Nobody knows it, nobody ever will.
    let nobody = v1::TransactionHandle { id: text("0123456789abcdef"), ..handle };
    assert!(matches!(outcome(&second, &nobody).await, Status::Unknown(_)));
    assert_eq!(settle(&second, &nobody).await, aborted());
    assert_eq!(outcome(&second, &nobody).await, aborted());
}

#[tokio::test(start_paused = true)]
async fn who_keeps_a_transaction_knows_the_timestamp_with_which_it_is_settled() {
    let ((shards, first, second), (one, _)) = (two_nodes(), keys());
    shards.mute(true);
    let writer = begin(&first, false).await;
    let handle = put(&first, &writer.id, &one, "v").await.expect("kept");
    let error = commit(&first, &writer.id, None).await.expect_err("no answer");
    assert_eq!(error.outcome, Outcome::Unknown);
    shards.mute(false);
    // As from before it began to read.
    let early = v1::TransactionHandle { read_timestamp: 0, ..handle.clone() };
    let told = settle(&second, &early).await;
    assert!(matches!(told, Status::Decided(_)), "{told:?}");
    assert_eq!(told, outcome(&second, &handle).await);
}

/// Without an answer to its commit, a client may also give it up.
#[tokio::test(start_paused = true)]
async fn a_rollback_after_a_commit_without_an_answer_settles_it() {
    let ((shards, first, _), (one, _)) = (two_nodes(), keys());
    shards.mute(true);
    let writer = begin(&first, false).await;
    put(&first, &writer.id, &one, "v").await.expect("kept");
    let error = commit(&first, &writer.id, None).await.expect_err("no answer");
    assert_eq!(error.outcome, Outcome::Unknown);
    first.env().sleep(SECOND * 90).await;
    shards.refuse(Some(Error::not_applied(ErrorCode::DiskFull, "the disk of n1 is full")));
    let request = || v1::TxnRollbackRequest { id: writer.id.clone(), handle: None };
    let (rolled_back, again) =
        (calls::rollback(&first, request(), SECOND).await, commit(&first, &writer.id, None).await);
    for again in [rolled_back.map(drop), again.map(drop)] {
        assert_eq!(again.expect_err("nobody tells").outcome, Outcome::Unknown);
    }
    shards.refuse(None);
    let error = calls::rollback(&first, request(), SECOND).await.expect_err("its first copy was applied");
    assert!(error.message.contains("committed at"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_operator_ends_at_one_node_what_another_one_keeps() {
    let ((shards, first, second), (one, _)) = (two_nodes(), keys());
    let writer = begin(&first, false).await;
    lock(&first, &writer.id, &one, 0).await.expect("free");
    let id = first.list()[0].id;
    assert_eq!(second.list(), [], "it is not kept here");
    let kept = second.abort(id, SECOND).await.kept.expect("it is open at the other node");
    assert_eq!((kept.node, kept.stage), (NodeId(1), KeptStage::Ended(Decision::Aborted)));
    first.env().sleep(SECOND / 10).await;
    assert_eq!(shards.locked(), 0, "its locks are free");
    let error = commit(&first, &writer.id, None).await.expect_err("aborted");
    assert!(error.message.contains("operator"), "{error}");
    let again = second.abort(id, SECOND).await.kept.expect("it is remembered");
    assert_eq!(again.stage, kept.stage);
    let nobody = second.abort(TransactionId(1), SECOND).await;
    assert_eq!(nobody, KeptElsewhere { kept: None, silent: vec![SILENT] });
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_is_not_ended_in_the_middle() {
    let ((shards, first, second), (one, two)) = (two_nodes(), keys());
    let (owner, writer) = (begin(&first, false).await, begin(&first, false).await);
    lock(&first, &owner.id, &one, 0).await.expect("free");
    put(&first, &writer.id, &two, "v").await.expect("kept");
    let id = strata_proto::transaction_id_of(&writer.id).expect("an id");
    let entered = first.enter(id, SECOND).await.expect("open");
    let kept = second.abort(id, SECOND).await.kept.expect("open");
    assert_eq!(kept.stage, KeptStage::Open, "a call goes on, and nobody waits for it for ever");
    drop(entered);
    shards.delay(Duration::from_millis(300));
    let (at, kept) = tokio::join!(commit(&first, &writer.id, None), async {
        first.env().sleep(SECOND / 10).await;
        second.abort(id, SECOND).await.kept.expect("open")
    });
    assert_eq!(
        (kept.stage, kept.anchor.is_some()),
        (KeptStage::Committing, true),
        "who can say is where its record is"
    );
    let at = at.expect("committed");
    let kept = second.abort(id, SECOND).await.kept.expect("it is remembered");
    assert_eq!(kept.stage, KeptStage::Ended(Decision::Committed(strata_types::Timestamp(at))));
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
        put(&first, &writer.id, &one, "v").await.expect("kept");
        let (ended, told) = tokio::join!(commit(&first, &writer.id, None), async {
            first.env().sleep(SECOND / 10).await;
            abort(open, &writer.id).await
        });
        assert_eq!(told, Ok(aborted()), "the shard of the record has written it down");
        assert_eq!(reason(&ended.expect_err("aborted")), ConflictReason::Aborted);
        shards.delay(Duration::ZERO);
        let reader = begin(&first, true).await;
        assert_eq!(get(&first, &reader.id, &one).await, Ok(None));
    }
}

#[tokio::test(start_paused = true)]
async fn an_operator_is_told_who_has_not_been_asked() {
    let (_, first, second) = two_nodes();
    let error = abort(&second, &text("0123456789abcdef")).await.expect_err("nobody knows it");
    assert_eq!((error.code, error.outcome), (ErrorCode::Unavailable, Outcome::NotApplied));
    assert!(error.message.contains("n3 may keep it"), "{error}");
    let error = abort(&first, &text("0123456789abcdef")).await.expect_err("nobody knows it, and all were asked");
    assert_eq!(error.code, ErrorCode::InvalidArgument);
    let writer = begin(&first, false).await;
    let id = strata_proto::transaction_id_of(&writer.id).expect("an id");
    let entered = first.enter(id, SECOND).await.expect("open");
    let error = abort(&second, &writer.id).await.expect_err("a call is under way");
    assert_eq!((error.code, error.outcome), (ErrorCode::DeadlineExceeded, Outcome::NotApplied));
    assert!(error.message.contains("under way at n1"), "{error}");
    drop(entered);
    assert_eq!(abort(&second, &writer.id).await, Ok(aborted()));
}
