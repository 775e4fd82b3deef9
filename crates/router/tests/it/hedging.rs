//! Reads that are asked of a second replica.

use std::time::Duration;

use strata_router::RouterOptions;
use strata_types::{NodeId, ReadPreference, Reply};
use tokio::time::Instant;

use crate::model::{Fault, Model, SECOND, get, put};

const SLOW: Duration = Duration::from_millis(300);

#[tokio::test(start_paused = true)]
async fn a_read_whose_answer_is_late_is_asked_of_a_second_replica() {
    let (model, router) = Model::start(1, RouterOptions::default());
    router.send(put("a"), SECOND).await.expect("written");
    for _ in 0..40 {
        router.send(get("a"), SECOND).await.expect("a value");
    }
    model.forget_sent();
    model.script([Fault::Slow(SLOW)]);
    let begin = Instant::now();
    let reply = router.send(get("a"), SECOND).await.expect("a value");
    assert!(matches!(reply, Reply::Get { item: Some(_), .. }), "{reply:?}");
    // Answers take a millisecond, so that the floor decides: 10 ms, and one for the second answer.
    assert_eq!(begin.elapsed(), Duration::from_millis(11));
    let sent = model.sent();
    assert_eq!(sent.len(), 2);
    assert!(sent[0].node == NodeId(1) && sent[1].node != NodeId(1), "{sent:?}");
    let prefers: Vec<_> = model.requests().iter().map(|request| request.header.prefer).collect();
    assert_eq!(prefers, [ReadPreference::Leader, ReadPreference::Any], "the second one reads by read index");
}

#[tokio::test(start_paused = true)]
async fn what_is_late_follows_what_answers_took_lately() {
    let (model, router) = Model::start(1, RouterOptions::default());
    let usual = Duration::from_millis(40);
    for _ in 0..40 {
        model.script([Fault::Slow(usual)]);
        router.send(get("a"), SECOND).await.expect("an answer");
    }
    model.forget_sent();
    model.script([Fault::Slow(usual)]);
    router.send(get("a"), SECOND).await.expect("an answer");
    assert_eq!(model.sent().len(), 1, "as long as usual is not late");
    model.script([Fault::Slow(SLOW)]);
    let begin = Instant::now();
    router.send(get("a"), SECOND).await.expect("an answer");
    assert_eq!(begin.elapsed(), usual + Duration::from_millis(2));
}

/// ROUTE-6
#[tokio::test(start_paused = true)]
async fn at_most_one_read_of_twenty_is_hedged() {
    let options = RouterOptions::default();
    let percent = options.hedge_percent as usize;
    let (model, router) = Model::start(1, options);
    let reads = 400;
    for _ in 0..reads {
        // All are late by the floor, at first.
        model.script([Fault::Slow(Duration::from_millis(200)), Fault::Slow(Duration::from_millis(200))]);
        router.send(get("a"), 2 * SECOND).await.expect("an answer");
        model.clear_script();
    }
    let hedged = model.sent().len() - reads;
    assert!(hedged <= reads * percent / 100, "{hedged} of {reads}");
    let (off, router) = Model::start(1, RouterOptions { hedge_percent: 0, ..RouterOptions::default() });
    for _ in 0..100 {
        off.script([Fault::Slow(SLOW)]);
        router.send(get("a"), SECOND).await.expect("an answer");
    }
    assert_eq!(off.sent().len(), 100);
}

/// ROUTE-1: asking twice would write twice.
#[tokio::test(start_paused = true)]
async fn writes_are_never_hedged() {
    let (model, router) = Model::start(1, RouterOptions::default());
    for _ in 0..100 {
        router.send(get("a"), SECOND).await.expect("an answer");
    }
    model.forget_sent();
    model.script([Fault::Slow(SLOW)]);
    router.send(put("a"), SECOND).await.expect("written");
    assert_eq!((model.sent().len(), model.applied()), (1, 1));
}

/// A second replica that is of no use changes nothing: the first answer counts.
#[tokio::test(start_paused = true)]
async fn a_hedge_that_fails_is_nobodys_error() {
    let (model, router) = Model::start(1, RouterOptions::default());
    for _ in 0..40 {
        router.send(get("a"), SECOND).await.expect("an answer");
    }
    model.forget_sent();
    model.script([Fault::Slow(SLOW), Fault::NotSent]);
    let begin = Instant::now();
    router.send(get("a"), SECOND).await.expect("the leader answers in the end");
    assert_eq!(begin.elapsed(), SLOW + Duration::from_millis(1));
    assert_eq!(model.sent().len(), 2);
}
