//! Requests that get no other attempt: their time is over, or as much was tried again as may be.

use strata_env::Mono;
use strata_types::{Error, ErrorCode, NodeId, Request};

use super::{Flight, Trouble};
use crate::leader::Absence;
use crate::load::{Waiter, outcome};
use crate::verdict::give_up;

impl Flight<'_> {
    /// Keeps as many requests as may be asked again, and answers the others with what went wrong last (ROUTE-6).
    pub(super) fn pay(&mut self) {
        let granted = self.core.retry_budget.spend(self.requests.len(), self.core.env.now());
        if granted == self.requests.len() {
            return;
        }
        self.core.refused_retries.increment((self.requests.len() - granted) as u64);
        for (request, waiter) in self.requests.iter().zip(&mut self.waiters).skip(granted) {
            waiter.answer(Err(too_many_retries(request, waiter, self.trouble.as_deref())));
        }
        let keep: Vec<usize> = (0..granted).collect();
        self.retain(&keep);
    }

    /// Answers what is late (ROUTE-3): in the batch under way, and in the queue behind it.
    pub(super) fn sweep(&mut self, requests: &[Request], node: NodeId, now: Mono) {
        // The deadline cuts the last attempt short; why the one before it failed says more.
        let before = Trouble::suffix(self.trouble.as_deref());
        for (request, waiter) in requests.iter().zip(&mut self.waiters) {
            if waiter.deadline <= now && waiter.is_open() {
                let reason = format!("{node} did not answer by the deadline{before}");
                let outcome = outcome(request, waiter, true);
                let is_read = request.operation.is_read();
                waiter.answer(Err(give_up(ErrorCode::DeadlineExceeded, outcome, &reason, is_read, "")));
            }
        }
        self.sweep_queue(now);
    }

    /// The same for the queue alone.
    pub(super) fn sweep_queue(&mut self, now: Mono) {
        let mut late = self.queue.expired(now);
        for (request, waiter) in late.requests.iter().zip(&mut late.waiters) {
            // Its own trouble, or that of those it waited for.
            let before = Trouble::suffix(waiter.trouble.as_deref().or(self.trouble.as_deref()));
            let reason =
                format!("waited for earlier requests to shard {} until the deadline{before}", self.queue.shard);
            let outcome = outcome(request, waiter, false);
            let is_read = request.operation.is_read();
            waiter.answer(Err(give_up(ErrorCode::DeadlineExceeded, outcome, &reason, is_read, "")));
        }
        if self.core.options.sessions {
            let numbered = late.requests.iter().zip(&late.waiters).filter(|(_, waiter)| waiter.numbered);
            self.queue.close(numbered.map(|(request, _)| request));
        }
    }

    /// Answers requests whose deadline passed between attempts and forgets those that nobody waits for.
    pub(super) fn drop_late(&mut self, now: Mono) {
        let is_spent = self.attempt >= self.core.options.attempts;
        if !is_spent && self.waiters.iter().all(|waiter| waiter.deadline > now && waiter.reply.is_some()) {
            return;
        }
        let routes = self.core.routes.load_full();
        let absence = routes.placement(self.queue).and_then(|placement| self.queue.leader.absence(placement));
        let mut keep = Vec::new();
        for (index, (request, waiter)) in self.requests.iter().zip(&mut self.waiters).enumerate() {
            if waiter.is_open() && waiter.deadline > now && !is_spent {
                keep.push(index);
            } else {
                waiter.answer(Err(too_late(request, waiter, self.attempt, self.trouble.as_deref(), absence.as_ref())));
            }
        }
        self.retain(&keep);
    }
}

/// The error of a request that would be tried again if fewer were (ROUTE-2).
fn too_many_retries(request: &Request, waiter: &Waiter, trouble: Option<&Trouble>) -> Error {
    let code = trouble.map_or(ErrorCode::Unavailable, Trouble::code);
    let reason = trouble.map_or_else(|| "the attempt failed".to_owned(), Trouble::text);
    let advice = "too many requests are being tried again already; retry later";
    give_up(code, outcome(request, waiter, false), &reason, request.operation.is_read(), advice)
}

/// The error of a request that gets no more attempts. `absence`: why there is no leader, if that is what kept it.
fn too_late(
    request: &Request,
    waiter: &Waiter,
    attempts: u32,
    trouble: Option<&Trouble>,
    absence: Option<&Absence>,
) -> Error {
    let code = match trouble.map(Trouble::code) {
        Some(ErrorCode::NotLeader | ErrorCode::StaleRoute | ErrorCode::Corrupt) => ErrorCode::Unavailable,
        Some(code) => code,
        None => ErrorCode::DeadlineExceeded,
    };
    let (outcome, is_read) = (outcome(request, waiter, false), request.operation.is_read());
    let is_routing = code == ErrorCode::Unavailable && !trouble.is_some_and(Trouble::has_before);
    match absence.filter(|_| is_routing) {
        Some(absence) => give_up(code, outcome, &absence.reason, is_read, absence.advice),
        None => {
            let last = trouble.map_or_else(|| "it waited for earlier requests".to_owned(), Trouble::text);
            give_up(code, outcome, &format!("gave up after {attempts} attempts: {last}"), is_read, "")
        }
    }
}
