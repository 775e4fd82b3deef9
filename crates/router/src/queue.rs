//! Requests of one shard that wait for the next batch.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use strata_env::Mono;
use strata_types::{ClientId, Error, ErrorCode, LogIndex, Operation, Request, SessionRequest, ShardId, SlotRange};

use crate::latencies::Latencies;
use crate::leader::LeaderGuess;
use crate::load::{Load, Waiter, weight};
use crate::path::Path;
use crate::session::SessionWindow;
use crate::{RouterOptions, ShardBatch};

/// Requests of one shard that may wait at its node at once.
const WAITING_MAX: usize = 1024;

/// Batches under way of all shards of a router, which decide whether a shard may have more than one.
#[derive(Default)]
pub(crate) struct Traffic(AtomicUsize);

impl Traffic {
    /// Whether shards that have a batch under way may have another one.
    fn has_room(&self, options: &RouterOptions) -> bool {
        self.0.load(Ordering::Relaxed) < options.busy
    }

    /// Whether there is more than a shard would be given a second batch for.
    fn is_crowded(&self, options: &RouterOptions) -> bool {
        self.0.load(Ordering::Relaxed) > options.busy
    }
}

struct State {
    load: Load,
    path: Path,
    bytes: usize,
    /// Batches under way that count against [`RouterOptions::inflight`].
    workers: usize,
    /// The same of all shards together.
    traffic: Arc<Traffic>,
    session: SessionWindow,
    /// No request of `load` has an earlier deadline.
    earliest: Mono,
}

/// A queue of one shard.
pub(crate) struct ShardQueue {
    pub(crate) shard: ShardId,
    pub(crate) slots: SlotRange,
    pub(crate) path: Path,
    pub(crate) leader: LeaderGuess,
    /// Whose turn it is, where replicas take turns.
    turns: AtomicUsize,
    /// Of batches that hold only reads.
    reading: Latencies,
    /// Of batches that hold reads and writes.
    mixed: Latencies,
    state: Mutex<State>,
}

/// Whether the caller must start a worker: it was counted already.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    StartWorker,
    Nothing,
}

impl ShardQueue {
    pub(crate) fn new(
        shard: ShardId,
        slots: SlotRange,
        client: ClientId,
        traffic: Arc<Traffic>,
        path: Path,
    ) -> ShardQueue {
        let state = State {
            load: Load::default(),
            path,
            bytes: 0,
            workers: 0,
            traffic,
            session: SessionWindow::new(client, LogIndex(0)),
            earliest: Mono::default(),
        };
        ShardQueue {
            shard,
            slots,
            path,
            leader: LeaderGuess::new(),
            turns: AtomicUsize::new(0),
            reading: Latencies::default(),
            mixed: Latencies::default(),
            state: Mutex::new(state),
        }
    }

    /// The next turn, where replicas take turns.
    pub(crate) fn turn(&self) -> usize {
        self.turns.fetch_add(1, Ordering::Relaxed)
    }

    /// How long batches with reads took: those that hold writes too, which wait for disks, or the others.
    pub(crate) fn latencies(&self, is_mixed: bool) -> &Latencies {
        if is_mixed { &self.mixed } else { &self.reading }
    }

    /// Adds a request, or gives the waiter back with the reason when the queue is full (ROUTE-5).
    pub(crate) fn push(
        &self,
        options: &RouterOptions,
        request: Request,
        waiter: Waiter,
    ) -> Result<Wake, (Waiter, Error)> {
        let weight = weight(&request);
        let mut state = self.state.lock();
        if state.bytes > 0 && state.bytes + weight > options.queue_bytes {
            let waiting = state.bytes;
            drop(state);
            let message = format!(
                "{waiting} bytes of requests wait for shard {} already, the limit is {}",
                self.shard, options.queue_bytes
            );
            return Err((waiter, Error::not_applied(ErrorCode::Overloaded, message)));
        }
        if state.load.waiters.is_empty() || waiter.deadline < state.earliest {
            state.earliest = waiter.deadline;
        }
        state.bytes += weight;
        state.load.requests.push(request);
        state.load.waiters.push(waiter);
        Ok(state.wake(options))
    }

    /// Puts requests back that were sent and may be sent again: in front, because a full session window would never
    /// let anything pass that waits before them. Never refuses: they were admitted before.
    pub(crate) fn put_back(&self, options: &RouterOptions, mut load: Load) -> Wake {
        let mut state = self.state.lock();
        state.bytes += load.requests.iter().map(weight).sum::<usize>();
        load.requests.append(&mut state.load.requests);
        load.waiters.append(&mut state.load.waiters);
        state.load = load;
        state.earliest = state.load.waiters.iter().map(|waiter| waiter.deadline).min().unwrap_or_default();
        state.wake(options)
    }

    /// The next batch. `None`: there is none, and the calling worker does not count any more.
    pub(crate) fn take(&self, options: &RouterOptions) -> Option<Load> {
        let mut state = self.state.lock();
        // What waits now had better ride with the batch of another worker, which will look again.
        let is_spare = state.path.is_traffic() && state.workers > 1 && state.traffic.is_crowded(options);
        let load = if is_spare { None } else { state.take(options) };
        if load.is_none() {
            state.leave();
        }
        load
    }

    /// A worker goes on waiting for a batch that is stuck, but makes room for the next one.
    pub(crate) fn release(&self, options: &RouterOptions) -> Wake {
        let mut state = self.state.lock();
        state.leave();
        state.wake(options)
    }

    /// A worker that had released its place is done.
    pub(crate) fn wake(&self, options: &RouterOptions) -> Wake {
        self.state.lock().wake(options)
    }

    /// Takes out the requests whose deadline passed.
    pub(crate) fn expired(&self, now: Mono) -> Load {
        let mut state = self.state.lock();
        if state.load.waiters.is_empty() || state.earliest > now {
            return Load::default();
        }
        let all = std::mem::take(&mut state.load);
        let (late, kept): (Vec<_>, Vec<_>) =
            all.requests.into_iter().zip(all.waiters).partition(|(_, waiter)| waiter.deadline <= now);
        let late = Load::from_pairs(late);
        state.load = Load::from_pairs(kept);
        state.bytes -= late.requests.iter().map(weight).sum::<usize>();
        state.earliest = state.load.waiters.iter().map(|waiter| waiter.deadline).min().unwrap_or_default();
        late
    }

    /// Ends the numbers of answered writes.
    pub(crate) fn close<'r>(&self, answered: impl Iterator<Item = &'r Request>) {
        let mut state = self.state.lock();
        answered.filter_map(|request| request.header.session).for_each(|session| state.session.close(session));
    }

    /// The shard forgot a session; its log is at `position`. Returns a number of the next session, if one is wanted for
    /// the request at once and there is room for it.
    pub(crate) fn renew_session(
        &self,
        forgotten: ClientId,
        fresh: ClientId,
        position: Option<LogIndex>,
        is_wanted: bool,
    ) -> Option<SessionRequest> {
        let mut state = self.state.lock();
        state.session.renew(forgotten, fresh, position);
        if is_wanted { state.session.open() } else { None }
    }

    /// A batch for the shard as this queue knows it.
    pub(crate) fn batch(&self, epoch: strata_types::Epoch, requests: Vec<Request>) -> ShardBatch {
        ShardBatch { epoch, shard: self.shard, requests: Arc::new(requests) }
    }
}

impl State {
    fn wake(&mut self, options: &RouterOptions) -> Wake {
        let may_start = match (self.path, self.workers) {
            (_, 0) => true,
            (Path::Waiting, workers) => workers < WAITING_MAX,
            (Path::Pages, workers) => workers < options.inflight,
            (Path::Leader | Path::Any | Path::Dated, workers) => {
                workers < options.inflight && self.traffic.has_room(options)
            }
        };
        if self.load.requests.is_empty() || !may_start {
            return Wake::Nothing;
        }
        self.workers += 1;
        if self.path.is_traffic() {
            self.traffic.0.fetch_add(1, Ordering::Relaxed);
        }
        Wake::StartWorker
    }

    /// A worker does not count any more.
    fn leave(&mut self) {
        self.workers -= 1;
        if self.path.is_traffic() {
            self.traffic.0.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn take(&mut self, options: &RouterOptions) -> Option<Load> {
        let mut bytes = 0;
        let mut count = 0;
        let most = if self.path == Path::Waiting { 1 } else { options.batch_requests };
        for request in self.load.requests.iter().take(most) {
            let weight = weight(request);
            if count > 0 && bytes + weight > options.batch_bytes {
                break;
            }
            bytes += weight;
            count += 1;
        }
        if options.sessions {
            (count, bytes) = self.number(count, bytes);
        }
        if count == 0 {
            return None;
        }
        self.bytes -= bytes;
        if count == self.load.requests.len() {
            let fresh = Load { requests: Vec::with_capacity(count), waiters: Vec::with_capacity(count) };
            return Some(std::mem::replace(&mut self.load, fresh));
        }
        Some(Load {
            requests: self.load.requests.drain(..count).collect(),
            waiters: self.load.waiters.drain(..count).collect(),
        })
    }

    /// Gives session numbers to the first `count` requests, or to as many as the window has room for.
    fn number(&mut self, count: usize, bytes: usize) -> (usize, usize) {
        for index in 0..count {
            let request = &mut self.load.requests[index];
            // A step of a transaction is known by the transaction's id.
            let is_step = matches!(request.operation, Operation::Transact(_));
            if is_step || request.operation.is_read() || request.header.session.is_some() {
                continue;
            }
            let Some(session) = self.session.open() else {
                return (index, self.load.requests[..index].iter().map(weight).sum());
            };
            request.header.session = Some(session);
            self.load.waiters[index].numbered = true;
        }
        (count, bytes)
    }
}
