//! Work that is done again until its transaction commits.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use strata_env::Mono;
use strata_types::{
    Conflict, ConflictReason, Decision, Error, ErrorCode, Outcome, Result, Retry, Timestamp, TransactionStatus,
};

use crate::{BeginOptions, Transaction, TransactionOptions, Transactions};

/// Pause between two questions for an outcome that nobody could tell.
const OUTCOME_INTERVAL: Duration = Duration::from_millis(100);
/// How long the outcome of a commit without an answer is asked for.
const OUTCOME_PATIENCE: Duration = Duration::from_secs(5);

impl Transactions {
    /// Does some work in a transaction and commits it, again and again as long as others come in between: see
    /// [`Transactions::transact_with`].
    pub async fn transact<T, F>(&self, work: impl FnMut(Attempt) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        self.transact_with(BeginOptions::default(), work).await
    }

    /// Does some work in a transaction and commits it. When another transaction came in between, all is done again in
    /// a new one, which has the age of the first one, so that its turn comes some time. Ends after
    /// [`TransactionOptions::attempts`] or [`TransactionOptions::retry_time`] with the last conflict.
    ///
    /// ```text
    /// transactions.transact(|mut txn| async move { txn.put("k", "v") }).await?;
    /// ```
    ///
    /// `work` may run several times: what it does beside the transaction should bear that. An error of its own that is
    /// no conflict ends it, and nothing is written. A commit without an answer is settled (see [`Transactions::settle`])
    /// before the work is done again; if nobody can do that, the error's outcome is `unknown`.
    pub async fn transact_with<T, F>(&self, options: BeginOptions, mut work: impl FnMut(Attempt) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut attempts = Attempts::new(self.core.env().now());
        let mut age = options.age;
        loop {
            let transaction = Transaction::open(self.core.clone(), BeginOptions { age, ..options });
            let home = Arc::new(Mutex::new(None));
            let done = work(Attempt { transaction: Some(transaction), home: home.clone() }).await;
            let Some(transaction) = home.lock().take() else { return Err(kept()) };
            age = age.or(Some(transaction.age()).filter(|age| *age != Timestamp::default()));
            let error = match done {
                Ok(value) => match self.finish(transaction).await {
                    Ok(()) => return Ok(value),
                    Err(error) => error,
                },
                Err(error) => {
                    // The next attempt should not have to wait for the locks of this one.
                    transaction.rollback().await;
                    error
                }
            };
            if !is_worth_another(&error) {
                return Err(error);
            }
            let Some(pause) = attempts.next(&self.core.options, self.core.env().now()) else {
                return Err(attempts.exhausted(error));
            };
            let pause = pause.mul_f64(self.core.env().random_below(1_000) as f64 / 1_000.0);
            self.core.env().sleep(pause).await;
        }
    }

    /// Commits. If there was no answer, it is made to fail now, or found committed: nobody is at work on it any more.
    async fn finish(&self, mut transaction: Transaction) -> Result<()> {
        if transaction.has_writes() {
            // Before it has a timestamp nobody could be asked for it.
            transaction.begun().await?;
        }
        let handle = transaction.handle();
        let error = match transaction.commit().await {
            Ok(_) => return Ok(()),
            Err(error) if error.outcome != Outcome::Unknown => return Err(error),
            Err(_) if is_mutant!(BlindRetry) => return Err(aborted()),
            Err(error) => error,
        };
        let end = self.core.env().now() + OUTCOME_PATIENCE;
        loop {
            match self.settle(handle).await {
                Ok(TransactionStatus::Decided(Decision::Committed(_))) => return Ok(()),
                Ok(TransactionStatus::Decided(Decision::Aborted)) => return Err(aborted()),
                Ok(TransactionStatus::Unknown) => return Err(error),
                Ok(TransactionStatus::Pending) | Err(_) => {}
            }
            if self.core.env().now() >= end {
                return Err(error);
            }
            self.core.env().sleep(OUTCOME_INTERVAL).await;
        }
    }
}

/// A [`Transaction`] that is lent to some work for one attempt. It is committed when the work is done.
pub struct Attempt {
    transaction: Option<Transaction>,
    /// Where it goes in the end.
    home: Arc<Mutex<Option<Transaction>>>,
}

impl Deref for Attempt {
    type Target = Transaction;

    fn deref(&self) -> &Transaction {
        self.transaction.as_ref().expect("it is here until this is dropped")
    }
}

impl DerefMut for Attempt {
    fn deref_mut(&mut self) -> &mut Transaction {
        self.transaction.as_mut().expect("it is here until this is dropped")
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        *self.home.lock() = self.transaction.take();
    }
}

/// How often it was tried, and since when.
struct Attempts {
    begun: Mono,
    count: u32,
    pause: Duration,
}

impl Attempts {
    fn new(begun: Mono) -> Attempts {
        Attempts { begun, count: 0, pause: Duration::ZERO }
    }

    /// One more failed. The longest pause before the next one; `None` if there is to be none.
    fn next(&mut self, options: &TransactionOptions, now: Mono) -> Option<Duration> {
        self.count += 1;
        self.pause = (self.pause * 2).clamp(options.backoff_min, options.backoff_max);
        let goes_on = self.count < options.attempts && now.since(self.begun) < options.retry_time;
        goes_on.then_some(self.pause)
    }

    fn exhausted(&self, error: Error) -> Error {
        let message = format!("gave up after {} attempts: {}", self.count, error.message);
        Error { message, ..error }
    }
}

/// Whether a new transaction may succeed where this one failed.
fn is_worth_another(error: &Error) -> bool {
    let is_over = error.retry() == Retry::Restart || error.code == ErrorCode::SnapshotTooOld;
    is_over && error.outcome == Outcome::NotApplied
}

fn kept() -> Error {
    let message = "the work is done but its transaction is still in use somewhere; nothing was written";
    Error::not_applied(ErrorCode::InvalidArgument, message)
}

fn aborted() -> Error {
    let at = Timestamp::default();
    Error::of_conflict(Conflict { reason: ConflictReason::Aborted, key: None, rival: None, at })
}
