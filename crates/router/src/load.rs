//! Requests on their way, each with who waits for it.

use std::sync::Arc;

use strata_env::Mono;
use strata_types::{Operation, Outcome, Reply, Request, Result};
use tokio::sync::oneshot;

use crate::verdict::is_repeatable;
use crate::worker::Trouble;

/// A scan page counts this much towards its batch: a few of them fill one, because their answers are large.
const SCAN_WEIGHT: usize = 256 * 1024;
/// Every request counts at least this much: what it takes in memory and in a message beside its keys and values.
const REQUEST_WEIGHT: usize = 64;
/// And so does each thing in it at least this much: thousands of tiny ones are few bytes and much memory.
const PART_WEIGHT: usize = 16;

/// Who waits for an answer.
pub(crate) struct Waiter {
    /// Taken when it is answered.
    pub(crate) reply: Option<oneshot::Sender<Result<Reply>>>,
    /// When it must have one.
    pub(crate) deadline: Mono,
    /// Whether an earlier attempt may have applied it.
    pub(crate) uncertain: bool,
    /// Whether this router's session numbered it.
    pub(crate) numbered: bool,
    /// What kept it, while it waits for another worker.
    pub(crate) trouble: Option<Arc<Trouble>>,
}

impl Waiter {
    pub(crate) fn new(reply: oneshot::Sender<Result<Reply>>, deadline: Mono) -> Waiter {
        Waiter { reply: Some(reply), deadline, uncertain: false, numbered: false, trouble: None }
    }

    /// Whether an answer is still owed.
    pub(crate) fn is_open(&self) -> bool {
        self.reply.as_ref().is_some_and(|reply| !reply.is_closed())
    }

    /// Gives the answer, once.
    pub(crate) fn answer(&mut self, result: Result<Reply>) {
        if let Some(reply) = self.reply.take() {
            // A caller that gave up is nobody's error.
            let _ = reply.send(result);
        }
    }
}

/// Requests with who waits for each, index by index.
#[derive(Default)]
pub(crate) struct Load {
    pub(crate) requests: Vec<Request>,
    pub(crate) waiters: Vec<Waiter>,
}

impl Load {
    /// Pairs, taken apart.
    pub(crate) fn from_pairs(pairs: Vec<(Request, Waiter)>) -> Load {
        let (requests, waiters) = pairs.into_iter().unzip();
        Load { requests, waiters }
    }
}

/// What a request counts for in queues and batches.
pub(crate) fn weight(request: &Request) -> usize {
    let extra = if matches!(request.operation, Operation::Scan { .. }) { SCAN_WEIGHT } else { REQUEST_WEIGHT };
    request.operation.size() + request.operation.parts() * PART_WEIGHT + extra
}

/// The outcome of a request that gets no more attempts (ROUTE-2).
pub(crate) fn outcome(request: &Request, waiter: &Waiter, is_under_way: bool) -> Outcome {
    if !request.operation.is_read() && (waiter.uncertain || is_under_way) {
        Outcome::Unknown
    } else {
        Outcome::NotApplied
    }
}

/// Whether a waiting request may be sent elsewhere while this attempt is under way.
pub(crate) fn can_move(request: &Request, waiter: &Waiter) -> bool {
    waiter.is_open() && is_repeatable(request)
}
