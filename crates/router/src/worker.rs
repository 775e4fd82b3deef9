//! The one retry loop: takes batches of one shard and stays with each until every request of it is answered.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use strata_env::{Elapsed, Mono};
use strata_types::{
    Error, ErrorCode, NodeId, Outcome, Reply, Request, Result, ShardPlacement, limits::REQUEST_DEADLINE_MAX,
};

use crate::hedge::{Arrived, Asked, Hedge, race};
use crate::leader::{Absence, Miss};
use crate::queue::{Load, Path, ShardQueue, Waiter, can_move, outcome};
use crate::router::Core;
use crate::verdict::{Pace, give_up, is_charged, judge, pause};
use crate::{LinkError, ShardReply};

/// A newer map is asked for after this many attempts in vain, and then after as many again.
const REFRESH_ATTEMPTS: u32 = 4;

/// Works on batches of a queue until it is empty.
pub(crate) async fn run(core: Arc<Core>, queue: Arc<ShardQueue>) {
    while let Some(load) = queue.take(&core.options) {
        core.requests.increment(load.requests.len() as u64);
        core.retry_budget.earn(load.requests.len());
        let mut flight = Flight::new(&core, &queue, load);
        flight.land().await;
        if flight.is_released {
            // Its place was given to another worker, which goes on in its stead.
            let wake = queue.wake(&core.options);
            core.start(&queue, wake);
            return;
        }
    }
}

/// One batch, through all its attempts.
struct Flight<'c> {
    core: &'c Arc<Core>,
    queue: &'c Arc<ShardQueue>,
    requests: Vec<Request>,
    waiters: Vec<Waiter>,
    attempt: u32,
    /// What went wrong last: the explanation that a caller gets at its deadline.
    trouble: Option<Error>,
    /// The node that did not answer last: others may still believe that it leads.
    silent: Option<NodeId>,
    /// The node that was asked last.
    last: Option<NodeId>,
    /// Where the turns of this flight begin, if replicas take turns.
    turn: usize,
    /// Whether the next attempt asks a node for work that one has begun already, or was too busy for.
    is_charged: bool,
    is_released: bool,
}

impl<'c> Flight<'c> {
    fn new(core: &'c Arc<Core>, queue: &'c Arc<ShardQueue>, load: Load) -> Flight<'c> {
        let Load { requests, waiters } = load;
        let turn = if queue.path == Path::Any { queue.turn() } else { 0 };
        Flight {
            core,
            queue,
            requests,
            waiters,
            attempt: 0,
            trouble: None,
            silent: None,
            last: None,
            turn,
            is_charged: false,
            is_released: false,
        }
    }

    async fn land(&mut self) {
        loop {
            self.drop_late(self.core.env.now());
            if self.requests.is_empty() {
                return;
            }
            let routes = self.core.routes.load_full();
            let Some(placement) = routes.placement(self.queue) else { return self.leave() };
            let Some(node) = self.target(placement) else { return self.leave() };
            self.last = Some(node);
            let Some(result) = self.attempt(node, routes.map.epoch, placement).await else { return };
            let pace = self.digest(node, placement, result);
            if std::mem::take(&mut self.is_charged) {
                self.pay();
            }
            if self.requests.is_empty() {
                return;
            }
            self.rest(pace).await;
        }
    }

    fn target(&self, placement: &ShardPlacement) -> Option<NodeId> {
        match self.queue.path {
            Path::Leader | Path::Dated | Path::Waiting => self.queue.leader.target(placement),
            Path::Any => {
                let own = self.core.link.own_node().filter(|_| self.attempt == 0);
                let turn = self.turn + self.attempt as usize;
                self.core.shunned.choose(placement, own, turn, self.last, self.core.env.now())
            }
        }
    }

    /// One attempt. `None` when every request got its answer before the attempt ended.
    async fn attempt(
        &mut self,
        node: NodeId,
        epoch: strata_types::Epoch,
        placement: &ShardPlacement,
    ) -> Option<std::result::Result<ShardReply, LinkError>> {
        let options = &self.core.options;
        let now = self.core.env.now();
        let limit = self.waiters.iter().map(|waiter| waiter.deadline.since(now)).max().unwrap_or(REQUEST_DEADLINE_MAX);
        let mut requests = std::mem::take(&mut self.requests);
        self.core.seen.mark(&mut requests);
        let batch = self.queue.batch(epoch, requests);
        let requests = batch.requests.clone();
        self.core.batches.increment(1);
        let reads = requests.iter().filter(|request| request.operation.is_read()).count();
        let asked = Asked { node, epoch, placement, requests: &requests, reads, limit };
        let mut hedge = self.hedge(&asked);
        let mut call = pin!(self.core.link.execute(node, batch, limit));
        let mut is_stalled = false;
        let result = loop {
            match self.core.env.timeout(options.sweep, race(call.as_mut(), &mut hedge)).await {
                Ok(Arrived::Answer(result)) => {
                    result.iter().for_each(|reply| self.core.seen.note_reply(reply));
                    break Some(result);
                }
                Ok(Arrived::Hedged(reply)) => {
                    reply.iter().for_each(|reply| self.core.seen.note_reply(reply));
                    let answered = hedge.take().map_or(0, |hedge| hedge.settle(reply, &mut self.waiters));
                    self.core.won_hedges.increment(answered as u64);
                }
                Err(Elapsed) => {
                    let time = self.core.env.now();
                    self.sweep(&requests, node, time);
                    if !is_stalled && time.since(now) >= self.queue.path.stall(options) {
                        is_stalled = true;
                        self.stall(&requests, node, placement);
                    }
                }
            }
            if !self.waiters.iter().any(Waiter::is_open) {
                break None;
            }
        };
        // An answer that a hedge overtook took at least this long.
        if reads > 0 && !matches!(result, Some(Err(_) | Ok(ShardReply::NotLeader { .. } | ShardReply::StaleRoute(_)))) {
            self.queue.latencies(reads < requests.len()).record(self.core.env.now().since(now));
        }
        drop(hedge);
        self.requests = match Arc::try_unwrap(requests) {
            Ok(requests) => requests,
            // The link still holds the batch, which it may do after a failure.
            Err(shared) => shared.as_ref().clone(),
        };
        if result.is_none() {
            // Nobody waits for it any more, and that may be the node's fault: whoever comes next would wait in vain, too.
            if !is_stalled && self.core.env.now().since(now) >= options.stall / 2 {
                self.suspect(node, placement);
            }
            self.retain(&[]);
        }
        result
    }

    /// A second question for the reads of a batch that is sent for the first time.
    fn hedge(&self, asked: &Asked<'_>) -> Option<Hedge> {
        if self.attempt > 0 {
            return None;
        }
        self.core.hedge_budget.earn(asked.reads);
        Hedge::plan(self.core, self.queue, asked)
    }

    /// Keeps as many requests as may be asked again, and answers the others with what went wrong last (ROUTE-6).
    fn pay(&mut self) {
        let granted = self.core.retry_budget.spend(self.requests.len(), self.core.env.now());
        if granted == self.requests.len() {
            return;
        }
        self.core.refused_retries.increment((self.requests.len() - granted) as u64);
        for (request, waiter) in self.requests.iter().zip(&mut self.waiters).skip(granted) {
            waiter.answer(Err(too_many_retries(request, waiter, self.trouble.as_ref())));
        }
        let keep: Vec<usize> = (0..granted).collect();
        self.retain(&keep);
    }

    /// Answers what is late (ROUTE-3): in the batch under way, and in the queue behind it.
    fn sweep(&mut self, requests: &[Request], node: NodeId, now: Mono) {
        // The deadline cuts the last attempt short; why the one before it failed says more.
        let before = self.trouble.as_ref().map_or_else(String::new, |it| format!("; before that: {}", it.message));
        for (request, waiter) in requests.iter().zip(&mut self.waiters) {
            if waiter.deadline <= now && waiter.is_open() {
                let reason = format!("{node} did not answer by the deadline{before}");
                let outcome = outcome(request, waiter, true);
                let is_read = request.operation.is_read();
                waiter.answer(Err(give_up(ErrorCode::DeadlineExceeded, outcome, &reason, is_read, "")));
            }
        }
        let mut late = self.queue.expired(now);
        for (request, waiter) in late.requests.iter().zip(&mut late.waiters) {
            let reason = format!("waited for earlier requests to shard {} until the deadline", self.queue.shard);
            let outcome = outcome(request, waiter, false);
            let is_read = request.operation.is_read();
            waiter.answer(Err(give_up(ErrorCode::DeadlineExceeded, outcome, &reason, is_read, "")));
        }
        if self.core.options.sessions {
            let numbered = late.requests.iter().zip(&late.waiters).filter(|(_, waiter)| waiter.numbered);
            self.queue.close(numbered.map(|(request, _)| request));
        }
    }

    /// The node is slow or gone: others are asked next, and a newer map.
    fn suspect(&self, node: NodeId, placement: &ShardPlacement) {
        self.queue.leader.note(node, Miss::Silent);
        self.queue.leader.miss(node, placement);
        self.core.shunned.note(node, self.core.env.now());
        self.core.refresh();
    }

    /// The node is slow or gone: lets the next batch go, and takes along what may be sent again.
    fn stall(&mut self, requests: &[Request], node: NodeId, placement: &ShardPlacement) {
        self.suspect(node, placement);
        let movable = requests.iter().zip(&self.waiters).filter(|(request, waiter)| can_move(request, waiter)).count();
        let granted = self.core.retry_budget.spend(movable, self.core.env.now());
        let mut moved = Load::default();
        for (request, waiter) in requests.iter().zip(&mut self.waiters) {
            // Those that may not be asked again go on waiting.
            if moved.requests.len() < granted && can_move(request, waiter) {
                let reply = waiter.reply.take();
                moved.requests.push(request.clone());
                moved.waiters.push(Waiter { reply, uncertain: !request.operation.is_read(), ..*waiter });
                // Its number stays open: the queue owns it again.
                waiter.numbered = false;
            }
        }
        self.core.retries.increment(moved.requests.len() as u64);
        let wake = self.queue.put_back(&self.core.options, moved);
        self.core.start(self.queue, wake);
        if !self.is_released {
            self.is_released = true;
            let wake = self.queue.release(&self.core.options);
            self.core.start(self.queue, wake);
        }
    }

    /// Answers what can be answered and keeps the rest for the next attempt. Tells how soon that may be.
    fn digest(
        &mut self,
        node: NodeId,
        placement: &ShardPlacement,
        result: std::result::Result<ShardReply, LinkError>,
    ) -> Pace {
        let leader = &self.queue.leader;
        match &result {
            Ok(_) => self.core.shunned.forgive(node),
            Err(_) => self.core.shunned.note(node, self.core.env.now()),
        }
        match result {
            Ok(ShardReply::Done { results, .. }) => self.settle(node, placement, results),
            Ok(ShardReply::NotLeader { leader: hint }) => {
                leader.note(node, Miss::Follows);
                let hint = hint.filter(|hint| Some(*hint) != self.silent);
                let is_news = hint.is_some_and(|hint| leader.hint(node, hint, placement));
                if !is_news {
                    leader.miss(node, placement);
                }
                let known = hint.map_or_else(|| "knows no leader".to_owned(), |hint| format!("says that {hint} does"));
                self.note(ErrorCode::NotLeader, format!("{node} does not lead shard {} and {known}", placement.shard));
                if is_news { Pace::Now } else { Pace::Soon }
            }
            Ok(ShardReply::StaleRoute(map)) => {
                let epoch = map.epoch;
                self.note(ErrorCode::StaleRoute, format!("{node} refused the route; its shard map is {epoch}"));
                if self.core.install(map) { Pace::Now } else { Pace::Soon }
            }
            Err(LinkError::NotSent { detail }) => {
                leader.note(node, Miss::Silent);
                leader.miss(node, placement);
                self.silent = Some(node);
                self.note(ErrorCode::Unavailable, format!("{node} cannot be reached ({detail})"));
                Pace::Soon
            }
            Err(LinkError::Unknown { detail }) => {
                leader.note(node, Miss::Silent);
                leader.miss(node, placement);
                self.silent = Some(node);
                self.note(ErrorCode::Unavailable, format!("{node} did not answer ({detail})"));
                self.answer_unrepeatable(node, &detail);
                self.is_charged = true;
                Pace::Soon
            }
        }
    }

    /// The batch was carried out; single requests of it may still have failed.
    fn settle(&mut self, node: NodeId, placement: &ShardPlacement, results: Vec<Result<Reply>>) -> Pace {
        if results.len() != self.requests.len() {
            let (got, asked) = (results.len(), self.requests.len());
            let detail = format!("{node} sent {got} results for {asked} requests");
            self.answer_all(|request, waiter| {
                Error::new(ErrorCode::Internal, outcome(request, waiter, true), detail.clone())
            });
            return Pace::Soon;
        }
        let mut pace = Pace::Now;
        let mut is_leading = true;
        let mut keep = Vec::new();
        for (index, (result, waiter)) in results.into_iter().zip(&mut self.waiters).enumerate() {
            let error = match result {
                Ok(reply) => {
                    waiter.answer(Ok(reply));
                    continue;
                }
                Err(error) => error,
            };
            let request = &mut self.requests[index];
            if error.code == ErrorCode::SessionExpired && waiter.numbered {
                if let Some(session) = request.header.session.take() {
                    let (fresh, is_wanted) = (self.core.fresh_client(), !waiter.uncertain);
                    request.header.session = self.queue.renew_session(session.client, fresh, error.position, is_wanted);
                }
                waiter.numbered = request.header.session.is_some();
                // The shard did not apply it now: if this was the first attempt, nothing was done.
                if !waiter.uncertain {
                    keep.push(index);
                    continue;
                }
            }
            match judge(request, &error).filter(|_| waiter.is_open()) {
                Some(wanted) => {
                    pace = pace.max(wanted);
                    waiter.uncertain |= error.outcome == Outcome::Unknown && !request.operation.is_read();
                    is_leading &= !matches!(error.code, ErrorCode::NotLeader | ErrorCode::Corrupt);
                    self.is_charged |= is_charged(error.code);
                    keep.push(index);
                    self.trouble = Some(error);
                }
                None => {
                    let outcome = worse(error.outcome, outcome(request, waiter, false));
                    waiter.answer(Err(Error { outcome, ..error }));
                }
            }
        }
        match is_leading {
            true => self.queue.leader.confirm(node),
            false => self.queue.leader.miss(node, placement),
        }
        self.retain(&keep);
        pace
    }

    /// After an attempt without an answer: what may be repeated stays, the rest is answered.
    fn answer_unrepeatable(&mut self, node: NodeId, detail: &str) {
        let mut keep = Vec::new();
        for (index, (request, waiter)) in self.requests.iter().zip(&mut self.waiters).enumerate() {
            if can_move(request, waiter) {
                waiter.uncertain |= !request.operation.is_read();
                keep.push(index);
                continue;
            }
            let reason = format!("the write was sent to {node}, which did not answer ({detail})");
            waiter.answer(Err(give_up(ErrorCode::Unavailable, Outcome::Unknown, &reason, false, "")));
        }
        self.retain(&keep);
    }

    /// Answers requests whose deadline passed between attempts and forgets those that nobody waits for.
    fn drop_late(&mut self, now: Mono) {
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
                waiter.answer(Err(too_late(request, waiter, self.attempt, self.trouble.as_ref(), absence.as_ref())));
            }
        }
        self.retain(&keep);
    }

    async fn rest(&mut self, pace: Pace) {
        self.attempt += 1;
        self.core.retries.increment(self.requests.len() as u64);
        if self.attempt.is_multiple_of(REFRESH_ATTEMPTS) {
            self.core.refresh();
        }
        let now = self.core.env.now();
        let left = self.waiters.iter().map(|waiter| waiter.deadline.since(now)).min().unwrap_or_default();
        let delay = pause(&self.core.env, &self.core.options, pace, self.attempt).min(left);
        if delay > Duration::ZERO {
            self.core.env.sleep(delay).await;
        }
    }

    /// The shard is not what it was: every request looks for its place again.
    fn leave(&mut self) {
        for (request, waiter) in self.requests.drain(..).zip(self.waiters.drain(..)) {
            self.core.reroute(request, waiter);
        }
    }

    fn answer_all(&mut self, error: impl Fn(&Request, &Waiter) -> Error) {
        for (request, waiter) in self.requests.iter().zip(&mut self.waiters) {
            let error = error(request, waiter);
            waiter.answer(Err(error));
        }
        self.retain(&[]);
    }

    /// Keeps the requests at these positions, which rise.
    fn retain(&mut self, keep: &[usize]) {
        if keep.len() == self.requests.len() {
            return;
        }
        if self.core.options.sessions {
            let gone = (0..self.requests.len()).filter(|index| keep.binary_search(index).is_err());
            let numbered = gone.filter(|index| self.waiters[*index].numbered);
            self.queue.close(numbered.map(|index| &self.requests[index]));
        }
        keep_positions(&mut self.requests, keep);
        keep_positions(&mut self.waiters, keep);
    }

    fn note(&mut self, code: ErrorCode, message: String) {
        self.trouble = Some(Error::not_applied(code, message));
    }
}

/// The error of a request that would be tried again if fewer were (ROUTE-2).
fn too_many_retries(request: &Request, waiter: &Waiter, trouble: Option<&Error>) -> Error {
    let code = trouble.map_or(ErrorCode::Unavailable, |trouble| trouble.code);
    let reason = trouble.map_or("the attempt failed", |trouble| trouble.message.as_str());
    let advice = "too many requests are being tried again already; retry later";
    give_up(code, outcome(request, waiter, false), reason, request.operation.is_read(), advice)
}

/// The error of a request that gets no more attempts. `absence`: why there is no leader, if that is what kept it.
fn too_late(
    request: &Request,
    waiter: &Waiter,
    attempts: u32,
    trouble: Option<&Error>,
    absence: Option<&Absence>,
) -> Error {
    let code = match trouble.map(|trouble| trouble.code) {
        Some(ErrorCode::NotLeader | ErrorCode::StaleRoute | ErrorCode::Corrupt) => ErrorCode::Unavailable,
        Some(code) => code,
        None => ErrorCode::DeadlineExceeded,
    };
    let (outcome, is_read) = (outcome(request, waiter, false), request.operation.is_read());
    match absence.filter(|_| code == ErrorCode::Unavailable) {
        Some(absence) => give_up(code, outcome, &absence.reason, is_read, absence.advice),
        None => {
            let last = trouble.map_or("it waited for earlier requests", |trouble| trouble.message.as_str());
            give_up(code, outcome, &format!("gave up after {attempts} attempts: {last}"), is_read, "")
        }
    }
}

/// Keeps the items at these positions, which rise.
fn keep_positions<T>(items: &mut Vec<T>, keep: &[usize]) {
    for (to, from) in keep.iter().enumerate() {
        items.swap(to, *from);
    }
    items.truncate(keep.len());
}

fn worse(left: Outcome, right: Outcome) -> Outcome {
    match (left, right) {
        (Outcome::Applied, _) | (_, Outcome::Applied) => Outcome::Applied,
        (Outcome::Unknown, _) | (_, Outcome::Unknown) => Outcome::Unknown,
        (Outcome::NotApplied, Outcome::NotApplied) => Outcome::NotApplied,
    }
}
