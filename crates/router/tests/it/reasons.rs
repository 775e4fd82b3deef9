//! What a caller reads when its time is up: what kept its request, not only that it ended.

use std::sync::Arc;
use std::time::Duration;

use strata_router::{Router, RouterOptions};
use strata_types::{Error, ErrorCode, Outcome, Request};

use crate::model::{Fault, Model, SECOND, get, put};

const OBSTACLE: &str = "no timestamp came: the meta group has no leader";

fn obstacle() -> Fault {
    Fault::Refuse(Error::not_applied(ErrorCode::Unavailable, OBSTACLE))
}

/// What a node says whose time for a batch ends.
fn cut_short() -> Fault {
    Fault::Refuse(Error::unknown(ErrorCode::DeadlineExceeded, "the shard did not finish the batch within 390ms"))
}

/// The error of a request that is refused three times, and then meets this until its deadline.
async fn error_of(request: Request, last: Fault, options: RouterOptions) -> (Error, Arc<Model>) {
    let (model, router): (Arc<Model>, Arc<Router>) = Model::start(1, options);
    model.script((0..3).map(|_| obstacle()));
    model.always(Some(last));
    (router.send(request, SECOND).await.expect_err("nobody carries it out"), model)
}

/// ROUTE-2
#[tokio::test(start_paused = true)]
async fn an_attempt_that_its_node_cut_short_does_not_hide_what_kept_the_ones_before() {
    let (error, model) = error_of(get("a"), cut_short(), RouterOptions::default()).await;
    assert_eq!((error.code, error.outcome), (ErrorCode::DeadlineExceeded, Outcome::NotApplied));
    let reason = format!("the shard did not finish the batch within 390ms; before that: {OBSTACLE}");
    assert!(error.message.ends_with(&reason) && error.message.starts_with("gave up after"), "{error}");
    assert!(model.sent().len() > 4, "it was cut short more than once: {}", model.sent().len());
}

/// ROUTE-2
#[tokio::test(start_paused = true)]
async fn an_attempt_without_an_answer_at_the_deadline_does_not_hide_it_either() {
    // Reads go on to other nodes after a stall; here they do not.
    let patient = || RouterOptions { stall: 10 * SECOND, hedge_percent: 0, ..RouterOptions::default() };
    for (request, outcome) in [(get("a"), Outcome::NotApplied), (put("a"), Outcome::Unknown)] {
        let (error, _) = error_of(request, Fault::Swallow, patient()).await;
        assert_eq!(error.outcome, outcome, "{error}");
        assert!(error.message.contains("did not answer"), "{error}");
        assert!(error.message.contains(&format!("; before that: {OBSTACLE}")), "{error}");
    }
}

/// ROUTE-2
#[tokio::test(start_paused = true)]
async fn a_request_that_moves_on_from_a_silent_node_takes_its_reason_along() {
    let hasty = RouterOptions { stall: SECOND / 10, hedge_percent: 0, ..RouterOptions::default() };
    let (error, model) = error_of(get("a"), Fault::Swallow, hasty).await;
    let asked = model.sent();
    assert!(asked.iter().any(|sent| sent.node != asked[0].node), "others were asked: {asked:?}");
    assert_eq!(error.outcome, Outcome::NotApplied);
    assert!(error.message.contains(OBSTACLE), "{error}");
}

/// ROUTE-2
#[tokio::test(start_paused = true)]
async fn who_waited_for_earlier_requests_reads_what_those_waited_for() {
    let alone = RouterOptions { stall: 10 * SECOND, hedge_percent: 0, inflight: 1, ..RouterOptions::default() };
    let (model, router) = Model::start(1, alone);
    model.script([obstacle(), Fault::Swallow]);
    let first = tokio::spawn({
        let router = router.clone();
        async move { router.send(get("a"), 5 * SECOND).await }
    });
    while model.sent().len() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let error = router.send(get("b"), SECOND).await.expect_err("the shard is busy");
    assert_eq!((error.code, error.outcome), (ErrorCode::DeadlineExceeded, Outcome::NotApplied));
    let reason = format!("waited for earlier requests to shard s0 until the deadline; before that: {OBSTACLE}");
    assert_eq!(error.message, reason);
    first.abort();
}
