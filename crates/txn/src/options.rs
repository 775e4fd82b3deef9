//! What transactions may be told.

use std::time::Duration;

use strata_types::{ReadPreference, Space, Timestamp, limits};

/// Bounds and delays of [`crate::Transactions`].
#[derive(Clone, Debug)]
pub struct TransactionOptions {
    /// Deadline of each call whose caller named none.
    pub deadline: Duration,
    /// Which replicas may carry out reads.
    pub prefer: ReadPreference,
    /// Attempts after which [`crate::Transactions::transact`] gives up.
    pub attempts: u32,
    /// It begins no attempt after this time.
    pub retry_time: Duration,
    /// Longest pause before its second attempt; doubles up to `backoff_max`.
    pub backoff_min: Duration,
    /// Longest pause between two attempts.
    pub backoff_max: Duration,
    /// Transactions whose ends (intents, locks) are tidied up in the background at once. Past it the nodes do it when
    /// somebody meets them.
    pub background: usize,
}

impl Default for TransactionOptions {
    fn default() -> TransactionOptions {
        TransactionOptions {
            deadline: limits::REQUEST_DEADLINE_DEFAULT,
            prefer: ReadPreference::Leader,
            attempts: 100,
            retry_time: Duration::from_secs(30),
            backoff_min: Duration::from_millis(2),
            backoff_max: Duration::from_millis(100),
            background: 4096,
        }
    }
}

/// How a transaction begins.
#[derive(Clone, Copy, Debug, Default)]
pub struct BeginOptions {
    /// The age of an earlier attempt ([`crate::Transaction::age`]): who is older gets locks first. `None`: it is new.
    pub age: Option<Timestamp>,
    /// Where its keys are.
    pub space: Space,
    /// Deadline of each of its calls; `None` for the usual one.
    pub deadline: Option<Duration>,
}
