//! How transactions end, also where an answer gets lost or a client leaves.

use super::*;

#[tokio::test(start_paused = true)]
async fn who_read_what_another_one_changed_gets_a_typed_conflict() {
    let ((_, open), (one, _)) = (start(), keys());
    let loser = begin(&open, false).await;
    assert_eq!(get(&open, loser.id, &one).await, Ok(None));
    let at = write(&open, &one, "winner").await;
    put(&open, loser.id, &one, "loser").await.expect("kept");
    let error = commit(&open, loser.id, None).await.expect_err("changed");
    assert_eq!(reason(&error), ConflictReason::Changed);
    let conflict = error.conflict.as_deref().expect("typed");
    assert_eq!((conflict.key.as_ref().map(|key| &key.key), conflict.at), (Some(&one), at));
    assert_eq!(commit(&open, loser.id, None).await, Err(error), "asked again, it says the same");
    assert_eq!(outcome(&open, loser).await, ABORTED);
    let error = get(&open, loser.id, &one).await.expect_err("over");
    assert_eq!(error.code, ErrorCode::Conflict);
}

/// COORD-8
#[tokio::test(start_paused = true)]
async fn a_commit_without_an_answer_is_unknown_and_its_repetition_tells() {
    let ((shards, open), (one, two)) = (start(), keys());
    for keys in [vec![&one], vec![&one, &two]] {
        shards.mute(true);
        let writer = begin(&open, false).await;
        let mut handle = writer;
        for key in &keys {
            handle = put(&open, writer.id, key, "v").await.expect("kept");
        }
        let error = commit(&open, writer.id, None).await.expect_err("no answer");
        assert_eq!(error.outcome, Outcome::Unknown, "{error}");
        shards.mute(false);
        // The coordinator still asks for itself.
        open.env().sleep(SECOND * 90).await;
        let at = commit(&open, writer.id, None).await.expect("it was committed");
        assert!(matches!(outcome(&open, handle).await, TransactionStatus::Decided(_)));
        // The node forgets; another one never knew.
        open.env().sleep(SECOND * 200).await;
        let error = commit(&open, writer.id, None).await.expect_err("forgotten");
        assert_eq!((error.outcome, error.retry()), (Outcome::Unknown, strata_types::Retry::No), "{error}");
        assert_eq!(commit(&open, writer.id, Some(handle)).await, Ok(at), "the shard knows");
        assert_eq!(outcome(&open, handle).await, committed(at));
        let elsewhere = OpenTransactions::new(open.router().clone(), NodeId(2));
        assert_eq!(commit(&elsewhere, writer.id, Some(handle)).await, Ok(at));
    }
}

/// COORD-8
#[tokio::test(start_paused = true)]
async fn a_commit_goes_on_when_its_client_has_left() {
    let ((shards, open), (one, _)) = (start(), keys());
    shards.delay(Duration::from_millis(300));
    let writer = begin(&open, false).await;
    let handle = put(&open, writer.id, &one, "v").await.expect("kept");
    let left = open.env().timeout(SECOND / 10, commit(&open, writer.id, None)).await;
    assert!(left.is_err(), "the client did not wait");
    assert_eq!(outcome(&open, handle).await, TransactionStatus::Pending, "nobody says that it is not committed");
    let error = open.commit(writer.id, None, SECOND / 20).await.expect_err("it does not wait for long");
    assert_eq!((error.outcome, error.code), (Outcome::Unknown, ErrorCode::DeadlineExceeded), "{error}");
    let error = open.roll_back(writer.id, None, SECOND / 20).await.expect_err("too late for that");
    assert_eq!(error.outcome, Outcome::Unknown, "{error}");
    let at = commit(&open, writer.id, None).await.expect("it waits for the first answer");
    assert_eq!(outcome(&open, handle).await, committed(at));
    assert_eq!(open.list(), []);
}

#[tokio::test(start_paused = true)]
async fn a_rollback_may_be_repeated_and_gives_locks_back() {
    let ((shards, open), (one, _)) = (start(), keys());
    let writer = begin(&open, false).await;
    lock(&open, writer.id, &one, 0).await.expect("free");
    put(&open, writer.id, &one, "v").await.expect("kept");
    let other = begin(&open, false).await;
    let error = lock(&open, other.id, &one, 50).await.expect_err("taken");
    assert_eq!(reason(&error), ConflictReason::Locked);
    assert_eq!(error.conflict.expect("typed").key.expect("named").key, one);
    roll_back(&open, writer.id).await.expect("rolled back");
    roll_back(&open, writer.id).await.expect("again");
    lock(&open, other.id, &one, 0).await.expect("free now");
    assert_eq!(shards.locked(), 1);
    let error = get(&open, writer.id, &one).await.expect_err("over");
    assert_eq!(error.code, ErrorCode::InvalidArgument);
    assert_eq!(outcome(&open, writer).await, ABORTED);
    let error = commit(&open, writer.id, None).await.expect_err("over");
    assert_eq!(error.outcome, Outcome::NotApplied, "{error}");
    let error = roll_back(&open, STRANGER).await.expect_err("it may have been committed and forgotten");
    assert_eq!(error.outcome, Outcome::Unknown, "{error}");
}
