//! Questions for timestamps: shared, tried again, and ended by their deadline.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use strata_router::{Router, RouterOptions, TimestampKind};
use strata_types::{Error, ErrorCode, Outcome, Timestamp};

use crate::model::{Fault, Model, SECOND};

fn start() -> (Arc<Model>, Arc<Router>) {
    Model::start(1, RouterOptions::default())
}

fn refuse(code: ErrorCode) -> Fault {
    Fault::Refuse(Error::not_applied(code, "the meta group has no leader"))
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_shares_the_next_answer() {
    let (model, router) = start();
    let ask = || router.timestamp(TimestampKind::Begin, SECOND);
    let (first, later) = futures_util::future::join(ask(), async {
        tokio::time::sleep(Duration::from_micros(100)).await;
        join_all((0..50).map(|_| ask())).await
    })
    .await;
    assert_eq!(first, Ok(Timestamp(1)));
    // The question under way was sent before they came: its answer is too old for them.
    assert!(later.iter().all(|answer| *answer == Ok(Timestamp(2))), "{later:?}");
    assert_eq!(model.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_kinds_do_not_wait_for_each_other() {
    let (model, router) = start();
    router.timestamp(TimestampKind::Begin, SECOND).await.expect("a timestamp");
    let kinds = [TimestampKind::Begin, TimestampKind::Floor];
    let answers = join_all(kinds.map(|kind| router.timestamp(kind, SECOND))).await;
    assert!(answers.iter().all(Result::is_ok));
    let asked = model.asked();
    assert_eq!(asked[1].1, asked[2].1, "at the same time");
}

#[tokio::test(start_paused = true)]
async fn what_passes_is_waited_for() {
    let (model, router) = start();
    let faults = [ErrorCode::Unavailable, ErrorCode::NotLeader, ErrorCode::DeadlineExceeded].map(refuse);
    model.script_clock(faults.into_iter().chain([Fault::Swallow]));
    assert_eq!(router.timestamp(TimestampKind::Begin, 5 * SECOND).await, Ok(Timestamp(1)));
    assert_eq!(model.asked().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_pass_is_told_at_once() {
    let (model, router) = start();
    model.script_clock([refuse(ErrorCode::InvalidArgument)]);
    let error = router.timestamp(TimestampKind::Begin, SECOND).await.expect_err("refused");
    assert_eq!((error.code, error.outcome), (ErrorCode::InvalidArgument, Outcome::NotApplied));
    assert_eq!(router.timestamp(TimestampKind::Begin, SECOND).await, Ok(Timestamp(1)));
}

/// ROUTE-3
#[tokio::test(start_paused = true)]
async fn a_question_ends_by_its_deadline_with_the_reason() {
    let (model, router) = start();
    model.script_clock((0..1000).map(|_| refuse(ErrorCode::Unavailable)));
    let start = tokio::time::Instant::now();
    let error = router.timestamp(TimestampKind::Begin, SECOND).await.expect_err("nobody answers");
    assert!(start.elapsed() <= SECOND + RouterOptions::default().sweep, "{:?}", start.elapsed());
    assert_eq!(error.code, ErrorCode::Unavailable);
    assert!(error.message.contains("the meta group has no leader"), "{error}");
}

/// One with little time does not wait for an attempt that others have time for.
#[tokio::test(start_paused = true)]
async fn a_short_deadline_is_kept_among_long_ones() {
    let (model, router) = start();
    model.script_clock([Fault::Slow(SECOND / 2)]);
    let start = tokio::time::Instant::now();
    let long = router.timestamp(TimestampKind::Begin, 5 * SECOND);
    let short = async {
        let answer = router.timestamp(TimestampKind::Begin, SECOND / 10).await;
        (answer, start.elapsed())
    };
    let (long, (short, took)) = futures_util::future::join(long, short).await;
    assert!(long.is_ok());
    assert!(short.is_err() && took < SECOND / 4, "{short:?} {took:?}");
}
