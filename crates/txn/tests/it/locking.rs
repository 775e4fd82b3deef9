//! Keys that are read in order to be written: locks, and going on with newer data.

use strata_txn::{BeginOptions, Transaction, TransactionOptions, Transactions};
use strata_types::{ConflictReason, ErrorCode, LockWait};

use crate::model::{Fault, Model, SECOND, bytes, value};

async fn begin(transactions: &Transactions) -> Transaction {
    transactions.begin(BeginOptions::default()).await.expect("begun")
}

fn reason(error: &strata_types::Error) -> ConflictReason {
    error.conflict.as_ref().expect("a conflict").reason
}

#[tokio::test(start_paused = true)]
async fn a_locked_key_keeps_others_out_until_the_commit() {
    let (model, transactions) = Model::start(4);
    model.put("n", "0");
    let mut first = begin(&transactions).await;
    assert_eq!(value(first.get_for_update("n", LockWait::Wait).await.expect("locked")).as_deref(), Some("0"));
    let mut second = begin(&transactions).await;
    let error = second.get_for_update("n", LockWait::NoWait).await.expect_err("it is locked");
    assert_eq!((error.code, reason(&error)), (ErrorCode::Conflict, ConflictReason::Locked));
    assert!(error.message.contains(&first.handle().id.to_string()), "the rival is named: {error}");
    assert_eq!(second.get_for_update("n", LockWait::SkipLocked).await, Ok(None));
    let waiting = async {
        let item = second.get_for_update("n", LockWait::Wait).await.expect("locked in the end");
        (value(item), second)
    };
    let committing = async {
        model.env().sleep(2 * SECOND).await;
        first.put("n", "1").await.expect("buffered");
        first.commit().await.expect("committed")
    };
    let ((seen, mut second), _) = futures_util::future::join(waiting, committing).await;
    assert_eq!(seen.as_deref(), Some("1"), "it sees what the first one wrote");
    second.put("n", "2").await.expect("buffered");
    second.commit().await.expect("nobody came in between");
}

#[tokio::test(start_paused = true)]
async fn waiting_ends_with_the_deadline() {
    let (_, transactions) = Model::start(4);
    let mut first = begin(&transactions).await;
    first.get_for_update("n", LockWait::Wait).await.expect("locked");
    let mut second = begin(&transactions).await;
    let error = second.with_deadline(3 * SECOND).get_for_update("n", LockWait::Wait).await.expect_err("too long");
    assert_eq!(reason(&error), ConflictReason::Locked);
    assert_eq!(value(second.get("n").await.expect("it goes on")), None);
}

/// COORD-5
#[tokio::test(start_paused = true)]
async fn locks_are_given_back_when_it_ends_however_that_is() {
    let (model, transactions) = Model::start(4);
    let mut txn = begin(&transactions).await;
    for key in ["a", "b", "c", "d"] {
        txn.get_for_update(key, LockWait::Wait).await.expect("locked");
    }
    assert_eq!(model.locked(), 4);
    drop(txn);
    model.settle().await;
    assert_eq!(model.locked(), 0, "dropped");

    let mut txn = begin(&transactions).await;
    txn.get_for_update("a", LockWait::Wait).await.expect("locked");
    txn.rollback().await;
    assert_eq!(model.locked(), 0, "rolled back");

    let mut txn = begin(&transactions).await;
    txn.get_for_update("a", LockWait::Wait).await.expect("locked");
    txn.put("b", "1").await.expect("buffered");
    txn.commit().await.expect("committed");
    model.settle().await;
    assert_eq!(model.locked(), 0, "committed");
}

/// Its question may arrive after the transaction is gone: then the lock is given back after that.
#[tokio::test(start_paused = true)]
async fn a_lock_nobody_waits_for_any_more_is_given_back() {
    let (model, transactions) = Model::start(4);
    let mut txn = begin(&transactions).await;
    model.script([("lock", Fault::Slow(SECOND))]);
    let asked = model.env().timeout(SECOND / 2, txn.get_for_update("a", LockWait::Wait)).await;
    assert!(asked.is_err(), "it takes longer");
    drop(txn);
    model.env().sleep(3 * SECOND).await;
    assert_eq!(model.locked(), 0);
    let unlock = model.sent_but(&["get"]).into_iter().rposition(|name| name == "unlock");
    assert!(unlock.is_some());
}

#[tokio::test(start_paused = true)]
async fn the_owner_of_a_lock_says_that_it_is_there() {
    let (model, transactions) = Model::start(4);
    let mut txn = begin(&transactions).await;
    txn.get_for_update("a", LockWait::Wait).await.expect("locked");
    model.sent_but(&[]);
    model.env().sleep(9 * SECOND).await;
    assert_eq!(model.sent_but(&[]), ["lock"; 4], "every two seconds");
    drop(txn);
    model.settle().await;
    assert_eq!(model.sent_but(&[]), ["unlock"]);
    model.env().sleep(9 * SECOND).await;
    assert_eq!(model.sent_but(&[]), [""; 0]);
}

/// COORD-5: also where there is no room for giving them back, which is then left to their leaders.
#[tokio::test(start_paused = true)]
async fn nobody_says_for_one_who_has_left_that_it_is_there() {
    let options = TransactionOptions { background: 0, ..TransactionOptions::default() };
    let (model, transactions) = Model::with_options(4, options);
    for (key, commits) in [("a", false), ("b", true)] {
        let mut txn = begin(&transactions).await;
        txn.get_for_update(key, LockWait::Wait).await.expect("locked");
        if commits {
            txn.put(key, "1").await.expect("buffered");
            txn.commit().await.expect("committed");
        } else {
            drop(txn);
        }
        model.sent_but(&[]);
        model.env().sleep(9 * SECOND).await;
        assert_eq!(model.sent_but(&[]), [""; 0], "commits: {commits}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_changed_since_moves_the_transaction_on() {
    let (model, transactions) = Model::start(4);
    model.put("n", "0");
    let mut txn = begin(&transactions).await;
    assert_eq!(txn.get("other").await, Ok(None));
    let begun = txn.read_timestamp();
    // Somebody reads and writes: the change has a timestamp above ours.
    increment(&transactions, "n").await.expect("committed");
    assert_eq!(value(txn.get_for_update("n", LockWait::Wait).await.expect("locked")).as_deref(), Some("1"));
    assert!(txn.read_timestamp() > begun);
    assert_eq!(txn.age(), begun, "its age stays");
    txn.put("n", "2").await.expect("buffered");
    txn.commit().await.expect("all of it is true at the newer timestamp");
}

/// COORD-2
#[tokio::test(start_paused = true)]
async fn it_does_not_move_on_if_something_else_was_changed_too() {
    let (model, transactions) = Model::start(4);
    model.put("n", "0");
    model.put("other", "0");
    let mut txn = begin(&transactions).await;
    txn.get("other").await.expect("read");
    let begun = txn.read_timestamp();
    increment(&transactions, "n").await.expect("committed");
    increment(&transactions, "other").await.expect("committed");
    let error = txn.get_for_update("n", LockWait::Wait).await.expect_err("what it has read is no more");
    assert_eq!(reason(&error), ConflictReason::Changed);
    assert_eq!(
        error.conflict.as_ref().and_then(|conflict| conflict.key.clone()).map(|key| key.key),
        Some(bytes("other"))
    );
    assert_eq!(txn.read_timestamp(), begun, "it stays where it was");
}

#[tokio::test(start_paused = true)]
async fn it_does_not_move_on_after_reading_a_range() {
    let (model, transactions) = Model::start(4);
    model.put("n", "0");
    let mut txn = begin(&transactions).await;
    txn.scan_all("x", Some(bytes("y")), None).await.expect("scanned");
    increment(&transactions, "n").await.expect("committed");
    let error = txn.get_for_update("n", LockWait::Wait).await.expect_err("too much to look at again");
    assert_eq!(reason(&error), ConflictReason::Changed);
}

/// A lock binds only those who ask for locks. A write that does not is noticed when it comes after the read.
#[tokio::test(start_paused = true)]
async fn a_single_write_under_a_lock_is_a_conflict() {
    let (model, transactions) = Model::start(4);
    model.put("n", "0");
    let mut txn = begin(&transactions).await;
    txn.get_for_update("n", LockWait::Wait).await.expect("locked");
    model.put("n", "100");
    txn.put("n", "1").await.expect("buffered");
    assert_eq!(reason(&txn.commit().await.expect_err("lost update")), ConflictReason::Changed);
}

/// The same, but the write comes between the lock and the read: it may have a timestamp below that of the transaction,
/// and what the lock found is no longer true there.
#[tokio::test(start_paused = true)]
async fn what_is_read_is_what_there_is_at_the_timestamp_not_what_the_lock_found() {
    let (model, transactions) = Model::start(4);
    model.put("n", "0");
    for _ in 0..5 {
        // Timestamps rise, the clock of the shard does not.
        begin(&transactions).await.rollback().await;
    }
    let mut txn = begin(&transactions).await;
    model.script([("get", Fault::Slow(SECOND / 10))]);
    let (locked, _) = futures_util::future::join(txn.get_for_update("n", LockWait::Wait), async {
        model.env().sleep(SECOND / 20).await;
        model.put("n", "100");
    })
    .await;
    assert_eq!(value(locked.expect("locked")).as_deref(), Some("100"));
    txn.put("n", "101").await.expect("buffered");
    txn.commit().await.expect("committed");
}

async fn increment(transactions: &Transactions, key: &'static str) -> strata_types::Result<u32> {
    let mut attempts = 0;
    transactions
        .transact(|mut txn| {
            attempts += 1;
            async move {
                let old = value(txn.get_for_update(key, LockWait::Wait).await?);
                let count: u32 = old.as_deref().unwrap_or("0").parse().expect("a number");
                txn.put(key, (count + 1).to_string()).await
            }
        })
        .await?;
    Ok(attempts)
}

#[tokio::test(start_paused = true)]
async fn a_hot_key_is_changed_by_one_after_the_other() {
    let (model, transactions) = Model::start(4);
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let transactions = transactions.clone();
            tokio::spawn(async move {
                let mut attempts = 0;
                for _ in 0..25 {
                    attempts += increment(&transactions, "hot").await.expect("committed");
                }
                attempts
            })
        })
        .collect();
    let mut attempts = 0;
    for task in tasks {
        attempts += task.await.expect("no panic");
    }
    let total = transactions.snapshot().await.expect("a snapshot").get("hot").await.expect("read");
    assert_eq!(value(total).as_deref(), Some("200"));
    assert!(attempts < 300, "{attempts} attempts for 200 changes");
    model.settle().await;
    assert_eq!(model.locked(), 0);
}

/// Each of them is a batch of its own, so that nobody waits behind one who waits.
#[tokio::test(start_paused = true)]
async fn who_waits_for_a_lock_holds_up_nobody() {
    let (model, transactions) = Model::start(1);
    let mut first = begin(&transactions).await;
    first.get_for_update("a", LockWait::Wait).await.expect("locked");
    let waiting: Vec<_> = (0..10)
        .map(|_| {
            let transactions = transactions.clone();
            tokio::spawn(async move {
                let mut txn = begin(&transactions).await;
                txn.get_for_update("a", LockWait::Wait).await.map(drop)
            })
        })
        .collect();
    model.settle().await;
    let start = model.env().now();
    let mut other = begin(&transactions).await;
    other.get("b").await.expect("read");
    let took = model.env().now().since(start);
    assert!(took < SECOND / 10, "{took:?}");
    first.rollback().await;
    for task in waiting {
        task.await.expect("no panic").expect("locked in the end");
    }
}
