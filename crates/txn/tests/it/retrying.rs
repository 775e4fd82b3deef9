//! The helper that does it again.

use parking_lot::Mutex;
use strata_txn::{Attempt, TransactionOptions};
use strata_types::{Error, ErrorCode, LockWait, Operation, Outcome, Timestamp, TransactionCall};

use crate::committing::{apart, read};
use crate::model::{Fault, Model, SECOND, value};

#[tokio::test(start_paused = true)]
async fn it_is_done_again_until_nobody_comes_in_between_and_keeps_its_age() {
    let (model, transactions) = Model::start(4);
    let seen: Mutex<Vec<(Timestamp, Timestamp)>> = Mutex::default();
    let result = transactions
        .transact(|mut txn| {
            let (model, seen) = (&model, &seen);
            async move {
                txn.get("k").await?;
                let attempts = {
                    let mut seen = seen.lock();
                    seen.push((txn.age(), txn.read_timestamp()));
                    seen.len()
                };
                if attempts < 4 {
                    model.put("k", "other");
                }
                txn.put("k", "mine").await?;
                Ok(attempts)
            }
        })
        .await;
    assert_eq!(result, Ok(4));
    assert_eq!(read(&transactions, "k").await.as_deref(), Some("mine"));
    let seen = seen.into_inner();
    assert!(seen.iter().all(|(age, _)| *age == seen[0].1), "{seen:?}");
    assert!(seen.is_sorted_by(|one, other| one.1 < other.1), "each reads newer data: {seen:?}");
}

/// Without its age a transaction that waits for a hot key would be the youngest again, each time.
#[tokio::test(start_paused = true)]
async fn the_age_goes_with_the_lock() {
    let (model, transactions) = Model::start(4);
    let mut attempts = 0;
    transactions
        .transact(|mut txn| {
            attempts += 1;
            let (attempt, model) = (attempts, &model);
            async move {
                txn.get_for_update("k", LockWait::Wait).await?;
                if attempt == 1 {
                    model.put("k", "other");
                }
                txn.put("k", "mine").await
            }
        })
        .await
        .expect("committed");
    let ages: Vec<Timestamp> = model
        .sent()
        .iter()
        .filter_map(|request| match &request.operation {
            Operation::Transact(call) => match &**call {
                TransactionCall::Lock { transaction, .. } => Some(transaction.age),
                _ => None,
            },
            _ => None,
        })
        .collect();
    assert_eq!(ages.len(), 2);
    assert!(ages[0] == ages[1] && ages[0] > Timestamp(0), "{ages:?}");
}

#[tokio::test(start_paused = true)]
async fn it_gives_up_after_so_many_attempts() {
    let options = TransactionOptions { attempts: 7, ..TransactionOptions::default() };
    let (model, transactions) = Model::with_options(4, options);
    let mut attempts = 0;
    let error = transactions
        .transact(|mut txn| {
            attempts += 1;
            let model = &model;
            async move {
                txn.get("k").await?;
                model.put("k", "other");
                txn.put("k", "mine").await
            }
        })
        .await
        .expect_err("somebody always comes in between");
    assert_eq!((error.code, error.outcome, attempts), (ErrorCode::Conflict, Outcome::NotApplied, 7));
    assert!(error.message.contains("gave up after 7 attempts") && error.message.contains("key `k`"), "{error}");
    assert!(error.conflict.is_some());
}

#[tokio::test(start_paused = true)]
async fn it_gives_up_after_a_while() {
    let (model, transactions) = Model::start(4);
    let start = model.env().now();
    let error = transactions
        .transact(|mut txn| {
            let model = &model;
            async move {
                txn.get("k").await?;
                model.env().sleep(SECOND).await;
                model.put("k", "other");
                txn.put("k", "mine").await
            }
        })
        .await
        .expect_err("somebody always comes in between");
    let took = model.env().now().since(start);
    assert!(took >= 30 * SECOND && took < 33 * SECOND, "{took:?}");
    assert_eq!(error.code, ErrorCode::Conflict);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_work_ends_it_and_nothing_is_written() {
    let (model, transactions) = Model::start(4);
    let mut attempts = 0;
    let result: Result<(), Error> = transactions
        .transact(|mut txn| {
            attempts += 1;
            async move {
                txn.get_for_update("k", LockWait::Wait).await?;
                txn.put("k", "mine").await?;
                Err(Error::not_applied(ErrorCode::InvalidArgument, "not enough money"))
            }
        })
        .await;
    assert_eq!(result.expect_err("its own").message, "not enough money");
    assert_eq!((attempts, model.locked()), (1, 0));
    assert_eq!(read(&transactions, "k").await, None);
}

/// A commit that got no answer may be committed: doing it again could do it twice.
#[tokio::test(start_paused = true)]
async fn a_commit_without_an_answer_is_not_done_twice() {
    for several in [false, true] {
        let (model, transactions) = Model::start(4);
        let (one, other) = apart(&model);
        let step = if several { "decide" } else { "commit" };
        model.always(Some((step, Fault::LoseReply)));
        let mut attempts = 0;
        let result = transactions
            .transact(|mut txn| {
                attempts += 1;
                let (one, other) = (one.clone(), other.clone());
                async move {
                    let old = value(txn.get(one.clone()).await?);
                    let count: u32 = old.map_or(0, |text| text.parse().expect("a number"));
                    txn.put(one, (count + 1).to_string()).await?;
                    if several { txn.put(other, "1").await } else { Ok(()) }
                }
            })
            .await;
        assert_eq!((result, attempts), (Ok(()), 1), "several: {several}");
        model.always(None);
        assert_eq!(read(&transactions, &one).await.as_deref(), Some("1"));
    }
}

/// One that never arrived cannot arrive later: then it is safe to do it again.
#[tokio::test(start_paused = true)]
async fn a_commit_that_was_lost_is_settled_and_done_again() {
    let (model, transactions) = Model::start(4);
    model.always(Some(("commit", Fault::LoseRequest)));
    let mut attempts = 0;
    let result = transactions
        .transact(|mut txn| {
            attempts += 1;
            if attempts == 2 {
                model.always(None);
            }
            async move { txn.put("k", "mine").await }
        })
        .await;
    assert_eq!((result, attempts), (Ok(()), 2));
    assert_eq!(read(&transactions, "k").await.as_deref(), Some("mine"));
    // What keeps the lost one out names the time when it began: only so long it has to last.
    let aborted = model.sent().into_iter().find_map(|request| match request.operation {
        Operation::Transact(call) => match *call {
            TransactionCall::Abort { transaction } => Some(transaction.read_timestamp),
            _ => None,
        },
        _ => None,
    });
    assert!(aborted.expect("it was settled") > Timestamp(0));
    let mut unread = transactions.open(strata_txn::BeginOptions::default());
    unread.put("k", "other").await.expect("buffered");
    let error = transactions.settle(unread.handle()).await.expect_err("it has not begun");
    assert_eq!(error.code, ErrorCode::InvalidArgument);
}

#[tokio::test(start_paused = true)]
async fn when_nobody_can_tell_it_says_so() {
    let (model, transactions) = Model::start(4);
    let silent = Error::unknown(ErrorCode::Unavailable, "nobody answers");
    model.always(Some(("abort", Fault::Refuse(silent))));
    model.script((0..1_000).map(|_| ("commit", Fault::LoseRequest)));
    let mut attempts = 0;
    let error = transactions
        .transact(|mut txn| {
            attempts += 1;
            async move { txn.put("k", "mine").await }
        })
        .await
        .expect_err("no answer");
    assert_eq!((error.outcome, attempts), (Outcome::Unknown, 1));
    assert!(error.message.contains("ask for the outcome of transaction "), "{error}");
}

/// The future can be sent to another thread: programs spawn such work.
#[tokio::test(start_paused = true)]
async fn it_runs_in_a_task_of_its_own() {
    let (_, transactions) = Model::start(4);
    let task = tokio::spawn(async move {
        let name = "k".to_owned();
        let work = |mut txn: Attempt| {
            let name = &name;
            async move {
                let old = txn.get(name.clone()).await?;
                txn.put(name.clone(), "mine").await?;
                Ok(old)
            }
        };
        transactions.transact(work).await
    });
    assert_eq!(task.await.expect("no panic"), Ok(None));
}
