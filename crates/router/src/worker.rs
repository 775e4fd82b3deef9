//! The one retry loop: takes batches of one shard and stays with each until every request of it is answered.

mod answers;
mod giving_up;
mod trouble;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use strata_env::Elapsed;
use strata_types::{Error, ErrorCode, NodeId, Request, ShardPlacement, limits::REQUEST_DEADLINE_MAX};

use crate::core::Core;
use crate::hedge::{Arrived, Asked, Hedge, race};
use crate::leader::Miss;
use crate::load::{Load, Waiter, can_move};
use crate::path::Path;
use crate::queue::ShardQueue;
use crate::verdict::{Pace, pause};
use crate::{LinkError, ShardReply};

pub(crate) use trouble::Trouble;

/// Nodes that name another one are followed at once so often, at first and after each pause.
const HOPS_AT_FIRST: u32 = 2;
const HOPS_LATER: u32 = 1;
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
    /// Pauses so far, and nodes that were asked at once since the last one because another one had named them.
    pauses: u32,
    hops: u32,
    /// What went wrong last: the explanation that a caller gets at its deadline.
    trouble: Option<Arc<Trouble>>,
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
        let trouble = waiters.iter().find_map(|waiter| waiter.trouble.clone());
        let turn = if queue.path == Path::Any { queue.turn() } else { 0 };
        Flight {
            core,
            queue,
            requests,
            waiters,
            attempt: 0,
            pauses: 0,
            hops: 0,
            trouble,
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
            let began = self.core.env.now();
            let Some(result) = self.attempt(node, routes.map.epoch, placement).await else { return };
            let took = self.core.env.now().since(began);
            if took >= self.core.options.sweep {
                self.tell(&format!("{node} took {} ms to answer", took.as_millis()));
            }
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

    /// For whoever wants to know what a request waits for.
    fn tell(&self, what: &str) {
        let (shard, attempt, requests) = (self.queue.shard.0, self.attempt, self.waiters.len());
        tracing::debug!(target: "strata_router::attempts", shard, attempt, requests, "{what}");
    }

    fn target(&self, placement: &ShardPlacement) -> Option<NodeId> {
        match self.queue.path {
            Path::Leader | Path::Dated | Path::Pages | Path::Waiting => self.queue.leader.target(placement),
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
    ) -> Option<Result<ShardReply, LinkError>> {
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

    /// The node is slow or gone: others are asked next, and a newer map.
    fn suspect(&self, node: NodeId, placement: &ShardPlacement) {
        self.queue.leader.note(node, Miss::Silent);
        self.queue.leader.miss(node, placement);
        self.core.shunned.note(node, self.core.env.now());
        self.core.refresh();
    }

    /// The node is slow or gone: lets the next batch go, and takes along what may be sent again.
    fn stall(&mut self, requests: &[Request], node: NodeId, placement: &ShardPlacement) {
        self.tell(&format!("{node} has not answered yet: others are asked"));
        self.suspect(node, placement);
        let movable = requests.iter().zip(&self.waiters).filter(|(request, waiter)| can_move(request, waiter)).count();
        let granted = self.core.retry_budget.spend(movable, self.core.env.now());
        let silence = || Error::not_applied(ErrorCode::Unavailable, format!("{node} did not answer"));
        let trouble = self.trouble.clone().unwrap_or_else(|| Arc::new(Trouble::met(silence(), None, false)));
        let mut moved = Load::default();
        for (request, waiter) in requests.iter().zip(&mut self.waiters) {
            // Those that may not be asked again go on waiting.
            if moved.requests.len() < granted && can_move(request, waiter) {
                moved.requests.push(request.clone());
                moved.waiters.push(Waiter {
                    reply: waiter.reply.take(),
                    deadline: waiter.deadline,
                    uncertain: !request.operation.is_read(),
                    // Its number stays open: the queue owns it again.
                    numbered: std::mem::take(&mut waiter.numbered),
                    trouble: Some(trouble.clone()),
                });
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

    async fn rest(&mut self, pace: Pace) {
        self.attempt += 1;
        self.core.retries.increment(self.requests.len() as u64);
        if self.attempt.is_multiple_of(REFRESH_ATTEMPTS) {
            self.core.refresh();
        }
        let now = self.core.env.now();
        let left = self.waiters.iter().map(|waiter| waiter.deadline.since(now)).min().unwrap_or_default();
        let mut delay = self.delay(pace).min(left);
        // Those who wait behind this batch have deadlines of their own.
        while delay > Duration::ZERO {
            let step = delay.min(self.core.options.sweep);
            self.core.env.sleep(step).await;
            delay -= step;
            self.sweep_queue(self.core.env.now());
        }
    }

    /// How long to wait before the next attempt. Who was named is asked at once, also after a pause: while a leader hands
    /// over, it and its successor name each other, and whichever is asked first then, the other one is asked too. But two
    /// nodes that point at each other must not become a busy loop.
    fn delay(&mut self, pace: Pace) -> Duration {
        let hops_max = if self.pauses == 0 { HOPS_AT_FIRST } else { HOPS_LATER };
        if pace == Pace::Now && self.hops < hops_max {
            self.hops += 1;
            return Duration::ZERO;
        }
        self.hops = 0;
        self.pauses += 1;
        pause(&self.core.env, &self.core.options, pace, self.pauses)
    }

    /// The shard is not what it was: every request looks for its place again.
    fn leave(&mut self) {
        for (request, mut waiter) in self.requests.drain(..).zip(self.waiters.drain(..)) {
            waiter.trouble.clone_from(&self.trouble);
            self.core.reroute(request, waiter);
        }
    }
}
