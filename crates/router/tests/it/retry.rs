//! The retry rules: what is sent again, what is not, and what the caller is told.

use std::time::Duration;

use strata_router::RouterOptions;
use strata_types::{Error, ErrorCode, NodeId, Outcome, Reply};
use tokio::time::Instant;

use crate::model::{Fault, Model, SECOND, get, put};

fn start() -> (std::sync::Arc<Model>, std::sync::Arc<strata_router::Router>) {
    Model::start(1, RouterOptions::default())
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_not_sent_is_sent_again() {
    let (model, router) = start();
    model.script([Fault::NotSent, Fault::NotSent, Fault::NotSent]);
    let reply = router.send(put("a"), SECOND).await;
    assert!(matches!(reply, Ok(Reply::Put { .. })), "{reply:?}");
    assert_eq!(model.applied(), 1);
    let nodes: Vec<_> = model.sent().iter().map(|sent| sent.node.0).collect();
    assert_eq!(nodes, [1, 2, 3, 1], "the replicas in turn, from the preferred one on");
}

/// ROUTE-1
#[tokio::test(start_paused = true)]
async fn a_write_that_may_be_applied_is_never_sent_again() {
    for fault in [Fault::LoseRequest, Fault::LoseReply] {
        let (model, router) = start();
        model.script([fault]);
        let error = router.send(put("a"), SECOND).await.expect_err("nobody can tell");
        assert_eq!((error.code, error.outcome), (ErrorCode::Unavailable, Outcome::Unknown));
        let sentence = "the write was sent to n1, which did not answer (connection reset); whether the write was \
                        applied is unknown";
        assert_eq!(error.message, sentence);
        assert_eq!(model.sent().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_is_always_sent_again() {
    let (model, router) = start();
    model.insert(b"a", b"1");
    model.script([Fault::LoseReply, Fault::NotSent, Fault::LoseRequest]);
    let reply = router.send(get("a"), SECOND).await.expect("a value");
    assert!(matches!(reply, Reply::Get { item: Some(_), .. }), "{reply:?}");
}

#[tokio::test(start_paused = true)]
async fn the_hint_of_a_follower_is_followed_at_once() {
    let (model, router) = start();
    model.set_leader(0, Some(3));
    let start = Instant::now();
    router.send(put("a"), SECOND).await.expect("written");
    let nodes: Vec<_> = model.sent().iter().map(|sent| sent.node.0).collect();
    assert_eq!(nodes, [1, 3]);
    assert_eq!(start.elapsed(), Duration::from_millis(2), "two round trips and no pause");
    router.send(put("b"), SECOND).await.expect("written");
    assert_eq!(model.sent().last().map(|sent| sent.node), Some(NodeId(3)), "the leader is remembered");
}

#[tokio::test(start_paused = true)]
async fn replicas_are_asked_in_turn_when_nobody_knows_the_leader() {
    let (model, router) = start();
    model.set_hints(false);
    model.set_leader(0, Some(3));
    router.send(put("a"), SECOND).await.expect("written");
    let nodes: Vec<_> = model.sent().iter().map(|sent| sent.node.0).collect();
    assert_eq!(nodes, [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_failover_ends_for_the_caller_soon_after_the_election() {
    let (model, router) = start();
    model.set_leader(0, None);
    let call = tokio::spawn({
        let router = router.clone();
        async move { router.send(put("a"), 5 * SECOND).await }
    });
    tokio::time::sleep(Duration::from_millis(700)).await;
    model.set_hints(false);
    model.set_leader(0, Some(2));
    let elected = Instant::now();
    call.await.expect("joined").expect("written");
    assert!(elected.elapsed() < Duration::from_millis(200), "took {:?}", elected.elapsed());
    assert_eq!(model.applied(), 1);
    let pauses: Vec<_> = model.sent().windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    assert!(pauses.iter().all(|pause| *pause < Duration::from_millis(70)), "short pauses: {pauses:?}");
    assert!(model.sent().len() < 60, "but no busy loop: {}", model.sent().len());
}

/// ROUTE-2, ROUTE-3
#[tokio::test(start_paused = true)]
async fn without_a_leader_the_deadline_ends_it_and_says_why() {
    let (model, router) = start();
    model.set_leader(0, None);
    let start = Instant::now();
    let error = router.send(put("a"), SECOND).await.expect_err("no leader");
    assert_eq!((error.code, error.outcome), (ErrorCode::Unavailable, Outcome::NotApplied));
    let sentence = "shard s0 has no leader: 3 of its 3 replicas do not lead (n1, n2, n3); the write was not applied; \
                    retry in a moment";
    assert_eq!(error.message, sentence);
    assert!(start.elapsed() >= SECOND && start.elapsed() < SECOND + Duration::from_millis(60), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn without_a_majority_the_error_names_the_nodes_that_do_not_answer() {
    let (model, router) = start();
    model.set_leader(0, None);
    model.set_down([2, 3]);
    let error = router.send(put("a"), SECOND).await.expect_err("no majority");
    assert_eq!((error.code, error.outcome), (ErrorCode::Unavailable, Outcome::NotApplied));
    assert_eq!(
        error.message,
        "shard s0 has no leader: 2 of its 3 replicas do not answer (n2, n3); the write was not applied; retry when a \
         majority is back"
    );
    let error = router.send(get("a"), SECOND).await.expect_err("no majority");
    assert_eq!(
        error.message,
        "shard s0 has no leader: 2 of its 3 replicas do not answer (n2, n3); retry when a majority is back"
    );
    model.set_down([]);
    model.set_leader(0, Some(3));
    router.send(put("a"), SECOND).await.expect("they are back");
    model.set_leader(0, None);
    let error = router.send(put("a"), SECOND).await.expect_err("no leader");
    assert!(error.message.contains("3 of its 3 replicas do not lead"), "what was is forgotten: {error}");
}

/// ROUTE-2, ROUTE-3
#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_answer_makes_the_outcome_unknown_at_the_deadline() {
    let (model, router) = start();
    model.script([Fault::Hang]);
    let start = Instant::now();
    let error = router.send(put("a"), SECOND).await.expect_err("no answer");
    assert_eq!(error.outcome, Outcome::Unknown);
    assert_eq!(error.message, "n1 did not answer by the deadline; whether the write was applied is unknown");
    assert!(start.elapsed() <= SECOND + Duration::from_millis(60), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_does_not_answer_does_not_hold_up_the_shard() {
    let options = RouterOptions { inflight: 1, ..RouterOptions::default() };
    let (model, router) = Model::start(1, options);
    model.script([Fault::Hang]);
    let stuck = tokio::spawn({
        let router = router.clone();
        async move { router.send(put("stuck"), 5 * SECOND).await }
    });
    tokio::time::sleep(Duration::from_millis(10)).await;
    model.set_leader(0, Some(2));
    let start = Instant::now();
    router.send(put("next"), 5 * SECOND).await.expect("written by the new leader");
    assert!(start.elapsed() < Duration::from_millis(700), "{:?}", start.elapsed());
    let error = stuck.await.expect("joined").expect_err("never answered");
    assert_eq!(error.outcome, Outcome::Unknown);
}

#[tokio::test(start_paused = true)]
async fn a_read_behind_a_silent_node_is_asked_elsewhere() {
    let (model, router) = start();
    model.insert(b"a", b"1");
    model.script([Fault::Hang]);
    let call = tokio::spawn({
        let router = router.clone();
        async move { router.send(get("a"), 5 * SECOND).await }
    });
    tokio::time::sleep(Duration::from_millis(10)).await;
    model.set_leader(0, Some(2));
    let start = Instant::now();
    call.await.expect("joined").expect("read from the new leader");
    assert!(start.elapsed() < Duration::from_millis(700), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_overloaded_node_is_given_a_rest_and_asked_again() {
    let (model, router) = start();
    let overloaded = Error::not_applied(ErrorCode::Overloaded, "too much waits");
    model.script(vec![Fault::Refuse(overloaded); 8]);
    router.send(put("a"), 5 * SECOND).await.expect("written in the end");
    let pauses: Vec<_> = model.sent().windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    assert!(pauses.last() > Some(&Duration::from_millis(150)), "the pauses grow: {pauses:?}");
    assert!(pauses.iter().all(|pause| *pause < Duration::from_millis(320)), "and stay bounded: {pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn errors_that_no_retry_changes_come_at_once() {
    for code in [ErrorCode::InvalidArgument, ErrorCode::TooLarge, ErrorCode::DiskFull, ErrorCode::Internal] {
        let (model, router) = start();
        let refusal = Error::not_applied(code, "because");
        model.script([Fault::Refuse(refusal.clone())]);
        assert_eq!(router.send(put("a"), SECOND).await, Err(refusal));
        assert_eq!(model.sent().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_of_one_write_is_its_answer_while_others_go_on() {
    let (model, router) = start();
    let unknown = Error::unknown(ErrorCode::Unavailable, "lost leadership");
    model.script([Fault::Refuse(unknown.clone())]);
    assert_eq!(router.send(put("a"), SECOND).await, Err(unknown.clone()));
    model.script([Fault::Refuse(unknown)]);
    router.send(get("a"), SECOND).await.expect("a read is asked again");
}

#[tokio::test(start_paused = true)]
async fn attempts_are_bounded() {
    let (model, router) = Model::start(1, RouterOptions { attempts: 3, ..RouterOptions::default() });
    model.set_leader(0, None);
    let error = router.send(put("a"), 60 * SECOND).await.expect_err("given up");
    assert_eq!((error.code, error.outcome), (ErrorCode::Unavailable, Outcome::NotApplied));
    assert_eq!(model.sent().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_reply_of_the_wrong_length_is_a_bug_and_not_an_answer() {
    let (model, router) = start();
    model.script([Fault::Short]);
    let error = router.send(put("a"), SECOND).await.expect_err("no result");
    assert_eq!((error.code, error.outcome), (ErrorCode::Internal, Outcome::Unknown));
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_still_counts() {
    let (model, router) = start();
    model.script([Fault::Slow(2 * SECOND)]);
    router.send(put("a"), 5 * SECOND).await.expect("late but there");
    assert_eq!((model.applied(), model.sent().len()), (1, 1));
}
