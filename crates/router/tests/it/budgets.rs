//! Retries within a share of what is asked.

use std::time::Duration;

use strata_router::RouterOptions;
use strata_types::{Error, ErrorCode, Outcome};

use crate::model::{Fault, Model, SECOND, get, put};

/// A share of a fifth, nothing by time, and nothing saved up at first.
fn tight() -> RouterOptions {
    RouterOptions { retry_floor: 0, retry_burst: 0, ..RouterOptions::default() }
}

fn overloaded() -> Fault {
    Fault::Refuse(Error::not_applied(ErrorCode::Overloaded, "too many writes wait for this shard"))
}

/// ROUTE-6, ROUTE-2
#[tokio::test(start_paused = true)]
async fn a_request_that_may_not_be_tried_again_gets_the_error_of_its_last_try() {
    let (model, router) = Model::start(1, tight());
    model.script([overloaded()]);
    let error = router.send(put("a"), 10 * SECOND).await.expect_err("nothing was saved up");
    assert_eq!((error.code, error.outcome), (ErrorCode::Overloaded, Outcome::NotApplied));
    let sentence = "too many writes wait for this shard; the write was not applied; too many requests are being tried \
                    again already; retry later";
    assert_eq!(error.message, sentence);
    assert_eq!((model.sent().len(), model.applied()), (1, 0));
    model.script([Fault::LoseRequest]);
    let error = router.send(get("a"), 10 * SECOND).await.expect_err("nothing was saved up");
    assert_eq!((error.code, error.outcome), (ErrorCode::Unavailable, Outcome::NotApplied));
}

/// ROUTE-2: an earlier try may have been applied, and the budget ends the next one.
#[tokio::test(start_paused = true)]
async fn an_exhausted_budget_tells_the_outcome_of_a_write_that_was_tried_before() {
    let options = RouterOptions { sessions: true, retry_floor: 0, retry_burst: 20, ..RouterOptions::default() };
    let (model, router) = Model::start(1, options);
    model.script([Fault::LoseReply, overloaded()]);
    let error = router.send(put("a"), 10 * SECOND).await.expect_err("one retry is saved up at first");
    assert_eq!((error.code, error.outcome), (ErrorCode::Overloaded, Outcome::Unknown));
    assert_eq!((model.sent().len(), model.applied()), (2, 1));
}

/// ROUTE-6: a cluster that refuses everything gets a fifth more than it is asked for, however long callers would wait.
#[tokio::test(start_paused = true)]
async fn retries_are_at_most_a_fifth_of_requests() {
    let (model, router) =
        Model::start(1, RouterOptions { retry_burst: 1_000, retry_floor: 0, ..RouterOptions::default() });
    let (calls, at_start) = (1_000, 50);
    for _ in 0..calls {
        model.always(Some(overloaded()));
        let error = router.send(get("a"), 60 * SECOND).await.expect_err("overloaded");
        assert_eq!(error.code, ErrorCode::Overloaded);
    }
    let retries = model.sent().len() - calls;
    assert!(retries <= calls / 5 + at_start, "{retries} retries of {calls} calls");
    assert!(retries >= calls / 5, "{retries}: what is allowed is used");
    // The shard recovers: nothing of the past is in the way.
    model.always(None);
    router.send(put("a"), SECOND).await.expect("written");
}

/// ROUTE-6: without traffic, the floor is what there is.
#[tokio::test(start_paused = true)]
async fn time_earns_retries_too() {
    let (model, router) =
        Model::start(1, RouterOptions { retry_burst: 100, retry_floor: 1, ..RouterOptions::default() });
    model.always(Some(overloaded()));
    router.send(get("a"), 60 * SECOND).await.expect_err("until what is there at the start is used up");
    model.forget_sent();
    tokio::time::sleep(20 * SECOND).await;
    let begin = tokio::time::Instant::now();
    router.send(get("a"), 60 * SECOND).await.expect_err("until what time earned is used up");
    let (retries, waited) = (model.sent().len() - 1, begin.elapsed());
    assert!(retries >= 20 && retries as u64 <= 20 + waited.as_secs() + 2, "{retries} retries in {waited:?}");
}

/// A failover is waited for: being told "not me" costs a node nothing, and its pace is bounded.
#[tokio::test(start_paused = true)]
async fn refusals_at_the_door_are_not_charged() {
    let (model, router) = Model::start(1, tight());
    model.set_leader(0, None);
    let elects = async {
        tokio::time::sleep(Duration::from_millis(900)).await;
        model.set_leader(0, Some(2));
    };
    let (reply, ()) = tokio::join!(router.send(put("a"), 5 * SECOND), elects);
    reply.expect("written when there is a leader");
    model.set_down([1, 2, 3]);
    let comes_back = async {
        tokio::time::sleep(Duration::from_millis(900)).await;
        model.set_down([]);
    };
    let (reply, ()) = tokio::join!(router.send(put("b"), 5 * SECOND), comes_back);
    reply.expect("written when the nodes are back");
}

/// Whoever has no room has it when the others are answered: that costs no budget, no attempt and no pause.
#[tokio::test(start_paused = true)]
async fn what_does_not_fit_one_answer_is_asked_for_until_all_of_it_is_there() {
    let (model, router) = Model::start(1, RouterOptions { inflight: 1, ..tight() });
    model.always(Some(Fault::Full(3)));
    let before = tokio::time::Instant::now();
    let calls = (0..300).map(|number| {
        let router = router.clone();
        async move { router.send(get(&format!("key {number}")), SECOND).await }
    });
    for reply in futures_util::future::join_all(calls).await {
        reply.expect("read");
    }
    assert_eq!(model.sent().len(), 100);
    assert!(before.elapsed() < SECOND, "at once");
    // If nobody gets an answer, it is overload like any other.
    model.always(Some(Fault::Full(0)));
    let error = router.send(get("a"), SECOND).await.expect_err("nothing is saved up");
    assert_eq!(error.code, ErrorCode::Overloaded);
}

/// ROUTE-3: also of those who wait behind a batch that rests.
#[tokio::test(start_paused = true)]
async fn a_call_behind_a_batch_that_rests_ends_by_its_own_deadline() {
    let options = RouterOptions { inflight: 1, backoff_min: SECOND, backoff_max: SECOND, ..RouterOptions::default() };
    let (model, router) = Model::start(1, options.clone());
    model.script([overloaded()]);
    let first = tokio::spawn({
        let router = router.clone();
        async move { router.send(get("a"), 10 * SECOND).await }
    });
    tokio::time::sleep(Duration::from_millis(10)).await;
    let before = tokio::time::Instant::now();
    let error = router.send(get("b"), Duration::from_millis(100)).await.expect_err("too late");
    assert_eq!(error.code, ErrorCode::DeadlineExceeded);
    assert!(before.elapsed() <= Duration::from_millis(100) + options.sweep, "{error}");
    first.await.expect("joined").expect("read after the rest");
}
