//! Two nodes, each with transactions of its own clients.

use std::sync::Weak;

use super::super::registry::Registry;
use super::shards::{Others, SILENT};
use super::*;

/// The shards, the node where transactions begin, and another one.
fn two_nodes() -> (Arc<Shards>, OpenTransactions, OpenTransactions) {
    let (shards, first) = start();
    let second = OpenTransactions::among(first.router().clone(), NodeId(2), Arc::new(Others(first.keeper())));
    (shards, first, second)
}

/// COORD-8
#[tokio::test(start_paused = true)]
async fn a_commit_that_is_under_way_at_another_node_is_not_decided() {
    let ((shards, first, second), (one, _)) = (two_nodes(), keys());
    let writer = begin(&first, false).await;
    let handle = put(&first, writer.id, &one, "v").await.expect("kept");
    assert_eq!(outcome(&second, handle).await, TransactionStatus::Pending, "it may yet be committed");
    shards.delay(Duration::from_millis(300));
    let (committing, asking) = (commit(&first, writer.id, None), async {
        first.env().sleep(SECOND / 10).await;
        assert_eq!(first.list()[0].stage, KeptStage::Committing);
        let again = commit(&second, writer.id, Some(handle)).await.expect_err("nobody knows yet");
        assert_eq!((again.outcome, again.code), (Outcome::Unknown, ErrorCode::Unavailable), "{again}");
        assert!(again.message.contains("not decided yet"), "{again}");
        outcome(&second, handle).await
    });
    let (at, asked) = tokio::join!(committing, asking);
    assert_eq!(asked, TransactionStatus::Pending);
    let at = at.expect("committed");
    for open in [&first, &second] {
        assert_eq!(outcome(open, handle).await, committed(at));
    }
    // Nobody knows of one that was never here.
    let nobody = TransactionHandle { id: STRANGER, ..handle };
    assert_eq!(outcome(&second, nobody).await, TransactionStatus::Unknown);
}

/// The first node was told to commit, and is gone before its message reaches the shard: another one makes sure.
#[tokio::test(start_paused = true)]
async fn a_commit_of_a_node_that_is_gone_is_settled_by_its_repetition() {
    for is_sent in [false, true] {
        let (shards, first) = start();
        let ((one, two), gone) = (keys(), Arc::new(Others(Weak::<Registry>::new())));
        let second = OpenTransactions::among(first.router().clone(), NodeId(2), gone);
        let writer = begin(&first, false).await;
        put(&first, writer.id, &one, "v").await.expect("kept");
        let handle = put(&first, writer.id, &two, "v").await.expect("kept");
        let done = match is_sent {
            true => Some(commit(&first, writer.id, None).await.expect("committed")),
            false => None,
        };
        let again = commit(&second, writer.id, Some(handle)).await;
        match done {
            Some(at) => assert_eq!(again, Ok(at)),
            None => assert_eq!(reason(&again.expect_err("it never will be")), ConflictReason::Aborted),
        }
        assert_eq!(outcome(&second, handle).await, done.map_or(ABORTED, committed));
        let give_up = second.roll_back(writer.id, Some(handle), SECOND).await;
        assert_eq!(give_up.is_err(), is_sent, "not if it is committed");
        // What the first node does later changes nothing.
        assert_eq!(commit(&first, writer.id, None).await.ok(), done);
        let reader = begin(&first, true).await;
        assert_eq!(get(&first, reader.id, &one).await, Ok(done.map(|_| text("v"))));
        // The shard of the record does not answer: that says nothing about the transaction.
        shards.refuse(Some(Error::not_applied(ErrorCode::DiskFull, "the disk of n1 is full")));
        let error = commit(&second, writer.id, Some(handle)).await.expect_err("nobody tells");
        assert_eq!(error.outcome, Outcome::Unknown, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_owns_a_transaction_settles_it_from_any_node() {
    let ((shards, first, second), (one, two)) = (two_nodes(), keys());
    // Open at the other node: it ends there.
    let writer = begin(&first, false).await;
    lock(&first, writer.id, &one, 0).await.expect("free");
    let handle = put(&first, writer.id, &two, "v").await.expect("kept");
    assert_eq!(settle(&second, handle).await, ABORTED);
    first.env().sleep(SECOND / 10).await;
    assert_eq!(shards.locked(), 0, "its locks are free");
    assert_eq!(reason(&commit(&first, writer.id, None).await.expect_err("over")), ConflictReason::Aborted);
    // Its commit is on its way: the shard of the record decides.
    shards.delay(Duration::from_millis(300));
    let writer = begin(&first, false).await;
    let handle = put(&first, writer.id, &one, "v").await.expect("kept");
    let (ended, told) = tokio::join!(commit(&first, writer.id, None), async {
        first.env().sleep(SECOND / 10).await;
        settle(&second, handle).await
    });
    assert_eq!(told, ended.map_or(ABORTED, committed));
    shards.delay(Duration::ZERO);
    // Nobody knows it, nobody ever will.
    let nobody = TransactionHandle { id: STRANGER, ..handle };
    assert_eq!(outcome(&second, nobody).await, TransactionStatus::Unknown);
    assert_eq!(settle(&second, nobody).await, ABORTED);
    assert_eq!(outcome(&second, nobody).await, ABORTED);
}

#[tokio::test(start_paused = true)]
async fn who_keeps_a_transaction_knows_the_timestamp_with_which_it_is_settled() {
    let ((shards, first, second), (one, _)) = (two_nodes(), keys());
    shards.mute(true);
    let writer = begin(&first, false).await;
    let handle = put(&first, writer.id, &one, "v").await.expect("kept");
    let error = commit(&first, writer.id, None).await.expect_err("no answer");
    assert_eq!(error.outcome, Outcome::Unknown);
    shards.mute(false);
    // As from before it began to read.
    let early = TransactionHandle { read_timestamp: Timestamp::default(), ..handle };
    let told = settle(&second, early).await;
    assert!(matches!(told, TransactionStatus::Decided(_)), "{told:?}");
    assert_eq!(told, outcome(&second, handle).await);
}

/// Without an answer to its commit, a client may also give it up.
#[tokio::test(start_paused = true)]
async fn a_rollback_after_a_commit_without_an_answer_settles_it() {
    let ((shards, first, _), (one, _)) = (two_nodes(), keys());
    shards.mute(true);
    let writer = begin(&first, false).await;
    put(&first, writer.id, &one, "v").await.expect("kept");
    let error = commit(&first, writer.id, None).await.expect_err("no answer");
    assert_eq!(error.outcome, Outcome::Unknown);
    first.env().sleep(SECOND * 90).await;
    shards.refuse(Some(Error::not_applied(ErrorCode::DiskFull, "the disk of n1 is full")));
    let (rolled_back, again) = (roll_back(&first, writer.id).await, commit(&first, writer.id, None).await);
    for again in [rolled_back, again.map(drop)] {
        assert_eq!(again.expect_err("nobody tells").outcome, Outcome::Unknown);
    }
    shards.refuse(None);
    let error = roll_back(&first, writer.id).await.expect_err("its first copy was applied");
    assert!(error.message.contains("committed at"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_operator_ends_at_one_node_what_another_one_keeps() {
    let ((shards, first, second), (one, _)) = (two_nodes(), keys());
    let writer = begin(&first, false).await;
    lock(&first, writer.id, &one, 0).await.expect("free");
    assert_eq!(second.list(), [], "it is not kept here");
    let kept = second.abort(writer.id, SECOND).await.kept.expect("it is open at the other node");
    assert_eq!((kept.node, kept.stage), (NodeId(1), KeptStage::Ended(Decision::Aborted)));
    first.env().sleep(SECOND / 10).await;
    assert_eq!(shards.locked(), 0, "its locks are free");
    let error = commit(&first, writer.id, None).await.expect_err("aborted");
    assert!(error.message.contains("operator"), "{error}");
    let again = second.abort(writer.id, SECOND).await.kept.expect("it is remembered");
    assert_eq!(again.stage, kept.stage);
    let nobody = second.abort(STRANGER, SECOND).await;
    assert_eq!(nobody, KeptElsewhere { kept: None, silent: vec![SILENT] });
}

#[tokio::test(start_paused = true)]
async fn what_is_under_way_is_not_ended_in_the_middle() {
    let ((shards, first, second), (one, two)) = (two_nodes(), keys());
    let (owner, writer) = (begin(&first, false).await, begin(&first, false).await);
    lock(&first, owner.id, &one, 0).await.expect("free");
    put(&first, writer.id, &two, "v").await.expect("kept");
    let entered = first.enter(writer.id, SECOND).await.expect("open");
    let kept = second.abort(writer.id, SECOND).await.kept.expect("open");
    assert_eq!(kept.stage, KeptStage::Open, "a call goes on, and nobody waits for it for ever");
    drop(entered);
    shards.delay(Duration::from_millis(300));
    let (at, kept) = tokio::join!(commit(&first, writer.id, None), async {
        first.env().sleep(SECOND / 10).await;
        second.abort(writer.id, SECOND).await.kept.expect("open")
    });
    assert_eq!(
        (kept.stage, kept.anchor.is_some()),
        (KeptStage::Committing, true),
        "who can say is where its record is"
    );
    let at = at.expect("committed");
    let kept = second.abort(writer.id, SECOND).await.kept.expect("it is remembered");
    assert_eq!(kept.stage, KeptStage::Ended(Decision::Committed(at)));
}
