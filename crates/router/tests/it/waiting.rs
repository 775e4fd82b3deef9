//! Steps of transactions that a node may let wait.

use std::time::Duration;

use futures_util::future::join_all;
use strata_router::RouterOptions;
use strata_types::{
    Error, ErrorCode, LockWait, Operation, Reply, Request, RequestHeader, SpaceKey, Timestamp, Transaction,
    TransactionCall, TransactionId, TransactionReply,
};

use crate::model::{Fault, Model, SECOND, put};

fn step(call: impl FnOnce(Transaction, SpaceKey) -> TransactionCall) -> Request {
    let key = SpaceKey { space: strata_types::Space::default(), key: "a".into() };
    let timestamp = Timestamp(1);
    let transaction =
        Transaction { id: TransactionId(1), anchor: key.slot(), read_timestamp: timestamp, age: timestamp };
    let operation = Operation::Transact(Box::new(call(transaction, key)));
    Request { header: RequestHeader::default(), operation }
}

fn lock() -> Request {
    step(|transaction, key| TransactionCall::Lock { transaction, key, wait: LockWait::Wait })
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_a_batch_of_its_own_and_holds_up_nobody() {
    let (model, router) = Model::start(1, RouterOptions::default());
    // The first three batches are the locks'.
    model.script((0..3).map(|_| Fault::Slow(SECOND)));
    let locks = join_all((0..3).map(|_| router.send(lock(), 5 * SECOND)));
    let writes = async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let start = tokio::time::Instant::now();
        for _ in 0..10 {
            router.send(put("b"), SECOND).await.expect("written");
        }
        start.elapsed()
    };
    let (locks, took) = futures_util::future::join(locks, writes).await;
    assert!(took < SECOND / 10, "{took:?}");
    assert!(locks.iter().all(|reply| *reply == Ok(Reply::Transact(TransactionReply::Done))), "{locks:?}");
    let sent = model.sent();
    assert_eq!(sent.len(), 13, "nobody was taken for dead because it let a request wait: {sent:?}");
    assert!(sent.iter().all(|sent| sent.count == 1));
}

#[tokio::test(start_paused = true)]
async fn steps_have_no_session() {
    let (model, router) = Model::start(1, RouterOptions { sessions: true, ..RouterOptions::default() });
    router.send(step(|transaction, _| TransactionCall::Abort { transaction }), SECOND).await.expect("answered");
    router.send(put("a"), SECOND).await.expect("written");
    let sessions: Vec<bool> = model.requests().iter().map(|request| request.header.session.is_some()).collect();
    assert_eq!(sessions, [false, true]);
}

/// ROUTE-1: they are known by their transaction.
#[tokio::test(start_paused = true)]
async fn a_step_without_an_answer_is_sent_again() {
    let (model, router) = Model::start(1, RouterOptions::default());
    model.script([Fault::LoseReply, Fault::LoseRequest]);
    let reply = router.send(step(|transaction, _| TransactionCall::Abort { transaction }), SECOND).await;
    assert_eq!(reply, Ok(Reply::Transact(TransactionReply::Done)));
    // Whom it asks after an answer was lost may not lead.
    assert!(model.sent().len() >= 3, "{:?}", model.sent());
}

/// Waiting for a transaction is no failure of a node: it does not use up what retries may cost.
#[tokio::test(start_paused = true)]
async fn a_request_that_is_blocked_is_sent_again_and_costs_no_budget() {
    let options = RouterOptions { retry_floor: 0, retry_percent: 0, retry_burst: 0, ..RouterOptions::default() };
    let (model, router) = Model::start(1, options);
    let blocked = Error::not_applied(ErrorCode::Blocked, "a transaction is in the way");
    model.script((0..20).map(|_| Fault::Refuse(blocked.clone())));
    router.send(put("a"), 5 * SECOND).await.expect("the transaction ends some time");
    assert_eq!(model.sent().len(), 21);
    model.always(Some(Fault::Refuse(blocked)));
    let error = router.send(put("a"), SECOND).await.expect_err("it is never decided");
    assert_eq!(error.code, ErrorCode::Blocked);
    assert!(error.message.contains("the write was not applied"), "{error}");
}
