//! Messages that get lost while a transaction commits.

use strata_txn::{BeginOptions, Transaction, TransactionHandle};
use strata_types::{
    Conflict, ConflictReason, Decision, Error, ErrorCode, Outcome, Timestamp, TransactionReply, TransactionStatus,
};

use crate::committing::{apart, read};
use crate::model::{Fault, Model, SECOND};

async fn over_two(model: &Model, transactions: &strata_txn::Transactions) -> (Transaction, [String; 2]) {
    let (one, other) = apart(model);
    let mut txn = transactions.begin(BeginOptions::default()).await.expect("begun");
    txn.put(one.clone(), "1").await.expect("buffered");
    txn.put(other.clone(), "2").await.expect("buffered");
    (txn, [one, other])
}

/// Each step may be sent twice: the second one changes nothing and gets the same answer.
#[tokio::test(start_paused = true)]
async fn lost_messages_only_cost_time() {
    for step in ["prepare", "commit", "resolve", "forget"] {
        for fault in [Fault::NotSent, Fault::LoseRequest, Fault::LoseReply] {
            let (model, transactions) = Model::start(4);
            let (txn, keys) = over_two(&model, &transactions).await;
            model.script([(step, fault.clone()), (step, fault.clone())]);
            txn.commit().await.unwrap_or_else(|error| panic!("{step} {fault:?}: {error}"));
            model.env().sleep(SECOND).await;
            assert_eq!(model.unfinished(), 0, "{step} {fault:?}");
            for (key, expected) in keys.iter().zip(["1", "2"]) {
                assert_eq!(read(&transactions, key).await.as_deref(), Some(expected));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_without_an_answer_is_unknown_and_can_be_asked_for() {
    let (model, transactions) = Model::start(4);
    let (txn, keys) = over_two(&model, &transactions).await;
    model.always(Some(("commit", Fault::LoseReply)));
    let handle = txn.handle();
    let error = txn.commit().await.expect_err("no answer");
    assert_eq!(error.outcome, Outcome::Unknown);
    let told = error.message.rsplit(' ').next().expect("a word");
    assert_eq!(told.parse::<TransactionHandle>(), Ok(handle), "the sentence names it: {error}");
    model.always(None);
    let status = transactions.outcome(handle).await.expect("answered");
    assert!(matches!(status, TransactionStatus::Decided(Decision::Committed(_))), "{status:?}");
    assert_eq!(read(&transactions, &keys[1]).await.as_deref(), Some("2"), "whoever meets it finds out");
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_never_arrives_is_unknown_until_somebody_aborts_it() {
    let (model, transactions) = Model::start(4);
    let (txn, keys) = over_two(&model, &transactions).await;
    model.always(Some(("commit", Fault::LoseRequest)));
    let handle = txn.handle();
    assert_eq!(txn.commit().await.expect_err("no answer").outcome, Outcome::Unknown);
    assert_eq!(transactions.outcome(handle).await, Ok(TransactionStatus::Unknown), "there is no record yet");
    assert_eq!(read(&transactions, &keys[0]).await, None, "where the record would be, nothing is held");
    assert_eq!(transactions.outcome(handle).await, Ok(TransactionStatus::Unknown));
    assert_eq!(read(&transactions, &keys[1]).await, None, "a reader waits, and then has it aborted");
    assert_eq!(transactions.outcome(handle).await, Ok(TransactionStatus::Decided(Decision::Aborted)));
}

#[tokio::test(start_paused = true)]
async fn one_without_an_answer_is_settled_once_and_for_all() {
    for (fault, is_committed) in [(Fault::LoseRequest, false), (Fault::LoseReply, true)] {
        let (model, transactions) = Model::start(4);
        let (txn, keys) = over_two(&model, &transactions).await;
        model.always(Some(("commit", fault)));
        let handle = txn.handle();
        assert_eq!(txn.commit().await.expect_err("no answer").outcome, Outcome::Unknown);
        model.always(None);
        let status = transactions.settle(handle).await.expect("its record's shard is there");
        assert_eq!(matches!(status, TransactionStatus::Decided(Decision::Committed(_))), is_committed, "{status:?}");
        assert_eq!(transactions.settle(handle).await, Ok(status), "asked again, it says the same");
        assert_eq!(transactions.outcome(handle).await, Ok(status));
        let expected = is_committed.then_some("1");
        assert_eq!(read(&transactions, &keys[0]).await.as_deref(), expected);
    }
}

/// The commit is lost until it is too late: somebody who waited had it aborted.
#[tokio::test(start_paused = true)]
async fn one_that_keeps_others_waiting_is_aborted_and_told_so() {
    let (model, transactions) = Model::start(4);
    let (mut txn, keys) = over_two(&model, &transactions).await;
    txn.with_deadline(20 * SECOND);
    model.always(Some(("commit", Fault::LoseRequest)));
    let (committed, seen) = futures_util::future::join(txn.commit(), async {
        model.env().sleep(SECOND / 10).await;
        let seen = read(&transactions, &keys[1]).await;
        model.always(None);
        seen
    })
    .await;
    assert_eq!(seen, None);
    let error = committed.expect_err("it was aborted");
    assert_eq!((error.code, error.outcome), (ErrorCode::Conflict, Outcome::NotApplied));
    assert_eq!(error.conflict.expect("typed").reason, ConflictReason::Aborted);
    model.settle().await;
    assert_eq!(model.unfinished(), 0);
}

fn refusal(reason: ConflictReason) -> Fault {
    Fault::Answer(TransactionReply::Conflict(Conflict { reason, key: None, rival: None, at: Timestamp(0) }))
}

/// TXN-26: an earlier copy may have been applied, and its record collected since.
#[tokio::test(start_paused = true)]
async fn a_commit_that_is_too_old_tells_nothing() {
    let (model, transactions) = Model::start(4);
    let (txn, _) = over_two(&model, &transactions).await;
    model.script([("commit", refusal(ConflictReason::TooOld))]);
    assert_eq!(txn.commit().await.expect_err("nobody knows").outcome, Outcome::Unknown);
}

/// COORD-4
#[tokio::test(start_paused = true)]
async fn what_cannot_be_prepared_is_certainly_not_committed() {
    let (model, transactions) = Model::start(4);
    let (mut txn, keys) = over_two(&model, &transactions).await;
    txn.with_deadline(SECOND);
    model.always(Some(("prepare", Fault::LoseReply)));
    let error = txn.commit().await.expect_err("no answer");
    assert_eq!(error.outcome, Outcome::NotApplied, "{error}");
    assert!(error.message.contains("could not prepare") && !error.message.contains("unknown"), "{error}");
    model.settle().await;
    assert_eq!(model.unfinished(), 0, "aborted and resolved");
    assert_eq!(read(&transactions, &keys[0]).await, None);
}

/// Only one part is late: what it would have prepared is refused when it arrives.
#[tokio::test(start_paused = true)]
async fn a_part_that_arrives_late_is_not_prepared() {
    let (model, transactions) = Model::start(4);
    let (anchor, one) = apart(&model);
    let is_third = |key: &String| ![&anchor, &one].iter().any(|known| model.shard_of(known) == model.shard_of(key));
    let other = (0..100).map(|number| format!("b{number}")).find(is_third).expect("there are four shards");
    let mut txn = transactions.begin(BeginOptions::default()).await.expect("begun");
    txn.put(anchor, "0").await.expect("buffered");
    txn.get(one.clone()).await.expect("read");
    txn.put(one.clone(), "1").await.expect("buffered");
    txn.put(other.clone(), "2").await.expect("buffered");
    model.put(&one, "meanwhile");
    // The first batch with a part is the one of the smaller shard; either may be late.
    model.script([("prepare", Fault::Slow(3 * SECOND))]);
    assert!(txn.commit().await.is_err());
    model.env().sleep(10 * SECOND).await;
    assert_eq!(model.unfinished(), 0);
    assert_eq!(read(&transactions, &other).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_commit_goes_on_when_its_caller_goes_away() {
    let (model, transactions) = Model::start(4);
    let (txn, keys) = over_two(&model, &transactions).await;
    let given_up = model.env().timeout(SECOND / 1000, txn.commit()).await;
    assert!(given_up.is_err(), "it takes longer");
    model.settle().await;
    assert_eq!(model.unfinished(), 0);
    let seen = [read(&transactions, &keys[0]).await, read(&transactions, &keys[1]).await];
    assert_eq!(seen, [Some("1".to_owned()), Some("2".to_owned())]);
}

/// COORD-4: a leader refuses from memory, while an earlier sending of the same commit stands in the log.
#[tokio::test(start_paused = true)]
async fn a_refusal_that_is_not_in_the_log_is_made_sure() {
    for is_applied in [true, false] {
        let (model, transactions) = Model::start(4);
        let mut txn = transactions.begin(BeginOptions::default()).await.expect("begun");
        txn.put("k", "mine").await.expect("buffered");
        let first = if is_applied { Fault::LoseReply } else { Fault::LoseRequest };
        let refused = match is_applied {
            true => refusal(ConflictReason::Wounded),
            false => Fault::Slow(SECOND / 100),
        };
        model.script([("commit", first), ("commit", refused)]);
        let result = txn.commit().await;
        assert!(result.is_ok(), "{result:?}");
        assert_eq!(read(&transactions, "k").await.as_deref(), Some("mine"));
    }
}

/// COORD-4: the same of the last of several parts.
#[tokio::test(start_paused = true)]
async fn a_last_part_that_was_wounded_after_it_was_committed_is_found_committed() {
    let (model, transactions) = Model::start(4);
    let (txn, keys) = over_two(&model, &transactions).await;
    model.script([("commit", Fault::LoseReply), ("commit", refusal(ConflictReason::Wounded))]);
    txn.commit().await.expect("the record says so");
    model.settle().await;
    assert_eq!(model.unfinished(), 0, "the other shard was told");
    assert_eq!(read(&transactions, &keys[1]).await.as_deref(), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn a_refused_step_is_an_error_with_its_reason() {
    let (model, transactions) = Model::start(4);
    let mut txn = transactions.begin(BeginOptions::default()).await.expect("begun");
    txn.put("k", "mine").await.expect("buffered");
    let refusal = Error::not_applied(ErrorCode::DiskFull, "the disk of n1 is full");
    model.script([("commit", Fault::Refuse(refusal.clone()))]);
    assert_eq!(txn.commit().await, Err(refusal));
}
