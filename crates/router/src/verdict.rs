//! The retry rules, as pure functions of what was asked and what came back, and what a caller reads at their end.

use std::time::Duration;

use strata_env::Env;
use strata_types::{Error, ErrorCode, Operation, Outcome, Request, Retry};

use crate::RouterOptions;

/// How soon to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pace {
    /// There is news: at once.
    Now,
    /// The shard is electing or a node is away: soon.
    Soon,
    /// The node asks for a rest.
    Later,
}

/// Whether sending the request twice does no harm (ROUTE-1).
pub(crate) fn is_repeatable(request: &Request) -> bool {
    // Steps of transactions are known by the transaction's id: the second one changes nothing.
    let is_step = matches!(request.operation, Operation::Transact(_));
    is_step || request.operation.is_read() || request.header.session.is_some()
}

/// Whether a request that got this error goes for another attempt. `None`: the error is the answer.
pub(crate) fn judge(request: &Request, error: &Error) -> Option<Pace> {
    if error.outcome == Outcome::Applied || (error.outcome == Outcome::Unknown && !is_repeatable(request)) {
        return None;
    }
    if error.code == ErrorCode::DiskFull {
        // Room comes back in minutes, if at all: the caller should hear of it now.
        return None;
    }
    match error.retry() {
        Retry::Reroute => Some(Pace::Soon),
        Retry::Backoff if error.code == ErrorCode::Overloaded => Some(Pace::Later),
        Retry::Backoff => Some(Pace::Soon),
        // Only the caller can read again and decide again.
        Retry::Restart => None,
        // The other side's own deadline passed, ours did not.
        Retry::No => (error.code == ErrorCode::DeadlineExceeded).then_some(Pace::Soon),
    }
}

/// Whether trying again after this error asks a node for work again: what was only refused at the door is not counted,
/// because the pace of such attempts bounds them. Nor is waiting for a transaction: that must end some time.
pub(crate) fn is_charged(code: ErrorCode) -> bool {
    let is_free = matches!(
        code,
        ErrorCode::NotLeader | ErrorCode::StaleRoute | ErrorCode::NotReady | ErrorCode::Corrupt | ErrorCode::Blocked
    );
    !is_free
}

/// The error of a request that gets no more attempts: what kept it, what became of it (ROUTE-2), and when to try again.
pub(crate) fn give_up(code: ErrorCode, outcome: Outcome, reason: &str, is_read: bool, advice: &str) -> Error {
    let result = match outcome {
        _ if is_read => "",
        Outcome::Applied => "; the write was applied",
        Outcome::NotApplied => "; the write was not applied",
        Outcome::Unknown => "; whether the write was applied is unknown",
    };
    let (separator, advice) = if advice.is_empty() { ("", "") } else { ("; ", advice) };
    Error::new(code, outcome, format!("{reason}{result}{separator}{advice}"))
}

/// The pause number `number` of a request (the first one is 1).
pub(crate) fn pause(env: &Env, options: &RouterOptions, pace: Pace, number: u32) -> Duration {
    let doubled = |max: Duration| {
        let factor = 1u32.checked_shl(number.saturating_sub(1)).unwrap_or(u32::MAX);
        env.jittered(options.backoff_min.saturating_mul(factor).min(max))
    };
    match pace {
        Pace::Now | Pace::Soon => doubled(options.election_backoff_max),
        Pace::Later => doubled(options.backoff_max),
    }
}
