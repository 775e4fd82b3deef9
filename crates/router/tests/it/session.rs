//! Sessions: writes are retried and still applied once.

use std::time::Duration;

use strata_router::RouterOptions;
use strata_types::limits::SESSION_RESULTS_MAX;
use strata_types::{ClientId, Error, ErrorCode, LogIndex, Outcome, SessionRequest};

use crate::model::{Fault, Model, SECOND, put};

fn with_sessions() -> RouterOptions {
    RouterOptions { sessions: true, ..RouterOptions::default() }
}

/// ROUTE-1
#[tokio::test(start_paused = true)]
async fn a_write_with_a_session_is_retried_and_applied_once() {
    let (model, router) = Model::start(1, with_sessions());
    model.script([Fault::LoseReply, Fault::LoseReply, Fault::LoseRequest]);
    router.send(put("a"), SECOND).await.expect("written");
    assert_eq!(model.applied(), 1);
    let sessions: Vec<_> = model.requests().iter().map(|request| request.header.session).collect();
    assert_eq!(sessions.len(), 4);
    assert!(sessions.iter().all(|session| session.is_some() && *session == sessions[0]), "one number: {sessions:?}");
}

#[tokio::test(start_paused = true)]
async fn a_session_of_the_caller_is_kept() {
    let (model, router) = Model::start(1, RouterOptions::default());
    model.script([Fault::LoseReply]);
    let mut request = put("a");
    let session = SessionRequest { client: ClientId(9), sequence: 4, floor: 1, opened: LogIndex(3) };
    request.header.session = Some(session);
    router.send(request, SECOND).await.expect("written");
    assert_eq!(model.applied(), 1);
    assert!(model.requests().iter().all(|request| request.header.session == Some(session)));
}

/// SESSION-1
#[tokio::test(start_paused = true)]
async fn numbers_stay_within_what_the_shard_remembers() {
    let options = RouterOptions { inflight: 3, batch_requests: 10, ..with_sessions() };
    let (model, router) = Model::start(1, options);
    model.script([Fault::Slow(Duration::from_millis(50)), Fault::LoseReply, Fault::Slow(Duration::from_millis(20))]);
    let calls = (0..500).map(|number| {
        let router = router.clone();
        async move { router.send(put(&format!("key {number}")), 5 * SECOND).await }
    });
    for reply in futures_util::future::join_all(calls).await {
        reply.expect("written");
    }
    assert_eq!(model.applied(), 500);
    for session in model.requests().iter().map(|request| request.header.session.expect("every write has one")) {
        assert!(session.sequence - session.floor < SESSION_RESULTS_MAX as u64, "{session:?}");
    }
}

/// SESSION-2
#[tokio::test(start_paused = true)]
async fn a_floor_never_passes_a_write_that_may_be_repeated() {
    let options = RouterOptions { inflight: 2, ..with_sessions() };
    let (model, router) = Model::start(1, options);
    model.script([Fault::Slow(Duration::from_millis(100))]);
    let slow = tokio::spawn({
        let router = router.clone();
        async move { router.send(put("slow"), 5 * SECOND).await }
    });
    tokio::time::sleep(Duration::from_millis(10)).await;
    for number in 0..10 {
        router.send(put(&format!("{number}")), SECOND).await.expect("written");
    }
    let floors: Vec<_> =
        model.requests().iter().filter_map(|r| r.header.session).map(|session| session.floor).collect();
    assert!(floors.iter().all(|floor| *floor == 1), "the first one is still open: {floors:?}");
    slow.await.expect("joined").expect("written");
    router.send(put("last"), SECOND).await.expect("written");
    let last = model.requests().last().and_then(|request| request.header.session).expect("a session");
    assert_eq!((last.sequence, last.floor), (12, 12));
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_session_is_renewed_for_a_write_that_was_never_sent() {
    let (model, router) = Model::start(1, with_sessions());
    router.send(put("a"), SECOND).await.expect("written");
    let position = model.forget_sessions();
    router.send(put("b"), SECOND).await.expect("written under a new session");
    assert_eq!(model.applied(), 2);
    let sessions: Vec<_> = model.requests().iter().map(|request| request.header.session.expect("a session")).collect();
    let [first, refused, renewed] = sessions[..] else { panic!("one attempt more: {sessions:?}") };
    assert_eq!((first.opened, refused.opened), (LogIndex(0), LogIndex(0)));
    assert_eq!(first.client, refused.client);
    assert_ne!(first.client, renewed.client, "a number that the shard never saw");
    assert_eq!((renewed.sequence, renewed.floor, renewed.opened), (1, 1, position));
}

/// A shard that has forgotten sessions cannot tell the first write of a router that knows nothing of it from a late
/// retry. It costs one more attempt, and the write is still one that may be repeated.
#[tokio::test(start_paused = true)]
async fn the_first_write_to_a_shard_that_forgot_sessions_is_refused_once_and_applied_once() {
    let (model, router) = Model::start(1, with_sessions());
    model.insert(b"x", b"1");
    let position = model.forget_sessions();
    model.script([Fault::Slow(Duration::ZERO), Fault::LoseReply]);
    let calls = ["a", "b", "c"].map(|key| router.send(put(key), SECOND));
    for reply in futures_util::future::join_all(calls).await {
        reply.expect("written");
    }
    assert_eq!(model.applied(), 3, "the reply that was lost is answered from the session");
    let sessions: Vec<_> = model.requests().iter().filter_map(|request| request.header.session).collect();
    let (refused, renewed) = sessions.split_at(3);
    assert!(refused.iter().all(|session| session.opened == LogIndex(0)), "{refused:?}");
    for attempt in renewed.chunks(3) {
        assert!(attempt.iter().all(|session| session.opened == position), "{attempt:?}");
        assert!(attempt.iter().all(|session| session.client == renewed[0].client), "renewed once: {attempt:?}");
        assert_eq!(attempt.iter().map(|session| session.sequence).collect::<Vec<_>>(), [1, 2, 3]);
    }
}

/// SHARD-4 from the other side: the client of a forgotten session that never heard an answer looks like a new one.
#[tokio::test(start_paused = true)]
async fn a_first_write_that_may_be_applied_is_unknown_when_its_session_was_forgotten() {
    let (model, router) = Model::start(1, with_sessions());
    model.script([Fault::LoseReply]);
    let call = tokio::spawn({
        let router = router.clone();
        async move { router.send(put("a"), SECOND).await }
    });
    tokio::time::sleep(Duration::from_micros(1500)).await;
    let position = model.forget_sessions();
    let error = call.await.expect("joined").expect_err("nobody can tell");
    assert_eq!((error.code, error.outcome), (ErrorCode::SessionExpired, Outcome::Unknown));
    assert_eq!(model.applied(), 1, "and it was not applied again");
    router.send(put("b"), SECOND).await.expect("the next one has a new session");
    let session = model.requests().last().and_then(|request| request.header.session).expect("a session");
    assert_eq!((session.sequence, session.opened), (1, position));
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_session_leaves_the_outcome_of_a_repeated_write_unknown() {
    let (model, router) = Model::start(1, with_sessions());
    router.send(put("a"), SECOND).await.expect("written");
    model.script([Fault::LoseReply]);
    let call = tokio::spawn({
        let router = router.clone();
        async move { router.send(put("b"), SECOND).await }
    });
    tokio::time::sleep(Duration::from_micros(1500)).await;
    model.forget_sessions();
    let error = call.await.expect("joined").expect_err("nobody can tell");
    assert_eq!((error.code, error.outcome), (ErrorCode::SessionExpired, Outcome::Unknown));
    assert_eq!(model.applied(), 2, "and it was not applied again");
    router.send(put("c"), SECOND).await.expect("the next one has a new session");
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_a_write_that_may_be_applied_is_unknown() {
    let (model, router) = Model::start(1, with_sessions());
    model.script([Fault::LoseReply]);
    let call = tokio::spawn({
        let router = router.clone();
        async move { router.send(put("a"), SECOND).await }
    });
    tokio::time::sleep(Duration::from_micros(1500)).await;
    model.set_leader(0, None);
    let error = call.await.expect("joined").expect_err("no leader any more");
    assert_eq!(error.outcome, Outcome::Unknown, "although the last attempts applied nothing");
}

#[tokio::test(start_paused = true)]
async fn a_full_window_behind_a_silent_node_moves_on() {
    let options = RouterOptions { inflight: 1, ..with_sessions() };
    let (model, router) = Model::start(1, options);
    model.script([Fault::Hang]);
    let calls: Vec<_> = (0..200)
        .map(|number| {
            let router = router.clone();
            tokio::spawn(async move { router.send(put(&format!("key {number}")), 5 * SECOND).await })
        })
        .collect();
    for call in calls {
        call.await.expect("joined").expect("written");
    }
    assert_eq!(model.applied(), 200);
}

/// The shard knows that it was not written, and no more: that is no reason for doubt, nor for another session.
#[tokio::test(start_paused = true)]
async fn a_refusal_that_is_remembered_without_its_answer_is_told_as_it_is() {
    let (model, router) = Model::start(1, with_sessions());
    router.send(put("0"), SECOND).await.expect("written");
    let refusal = Error::not_applied(ErrorCode::SessionExpired, "write 2 was not made because its condition failed");
    model.script([Fault::LoseRequest, Fault::Refuse(refusal.clone())]);
    assert_eq!(router.send(put("a"), SECOND).await, Err(refusal));
    router.send(put("b"), SECOND).await.expect("written");
    let sessions: Vec<_> = model.requests().iter().filter_map(|request| request.header.session).collect();
    assert!(sessions.iter().all(|session| session.client == sessions[0].client), "{sessions:?}");
}
