//! What a router and its workers share: the cached map, and the queues of each of its shards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use metrics::Counter;
use parking_lot::Mutex;
use strata_env::Env;
use strata_types::{
    ClientId, Epoch, Error, ErrorCode, Operation, ReadPreference, Request, RequestHeader, Result, ShardId, ShardMap,
    ShardPlacement, limits::REQUEST_DEADLINE_MAX,
};

use crate::budget::Budget;
use crate::load::Waiter;
use crate::path::{Path, may_wait};
use crate::queue::{ShardQueue, Traffic, Wake};
use crate::route::shard_index;
use crate::seen::Seen;
use crate::spread::Shunned;
use crate::timestamps::Questions;
use crate::{Link, RouterOptions, worker};

/// Of what may be saved up, so much is there at the start: a program whose first requests meet trouble may retry too.
const BURST_AT_START: u32 = 20;
/// Most hedges that may be saved up: a few batches of them.
const HEDGE_BURST: u32 = 1_000;

/// The map in use, and the queues of each of its shards at the same position.
pub(crate) struct Routes {
    pub(crate) map: Arc<ShardMap>,
    queues: Vec<ShardQueues>,
}

/// The queues of one shard.
#[derive(Clone)]
struct ShardQueues {
    /// Of what its leader must carry out.
    leader: Arc<ShardQueue>,
    /// Of reads for any of its replicas.
    any: Arc<ShardQueue>,
    /// Of reads at timestamps.
    dated: Arc<ShardQueue>,
    /// Of pages of scans.
    pages: Arc<ShardQueue>,
    /// Of what its leader may let wait.
    waiting: Arc<ShardQueue>,
}

impl ShardQueues {
    fn of(&self, request: &Request) -> &Arc<ShardQueue> {
        let RequestHeader { level, prefer, at, begins, .. } = &request.header;
        let is_for_any = level.is_for_any_replica() || *prefer == ReadPreference::Any;
        match &request.operation {
            operation if is_for_any && operation.is_read() => &self.any,
            operation if operation.is_long_page() => &self.pages,
            operation if operation.is_read() && (at.is_some() || *begins) => &self.dated,
            operation if may_wait(operation) => &self.waiting,
            _ => &self.leader,
        }
    }
}

impl Routes {
    /// The placement of a queue's shard. `None` when the map has no such shard any more, or one of other slots.
    pub(crate) fn placement(&self, queue: &Arc<ShardQueue>) -> Option<&ShardPlacement> {
        let is_it = |current: &ShardQueues| {
            [&current.leader, &current.any, &current.dated, &current.pages, &current.waiting]
                .iter()
                .any(|current| Arc::ptr_eq(current, queue))
        };
        let index = self.queues.iter().position(is_it)?;
        self.map.shards.get(index)
    }
}

/// What the router and its workers share.
pub(crate) struct Core {
    pub(crate) env: Env,
    pub(crate) link: Arc<dyn Link>,
    pub(crate) options: RouterOptions,
    pub(crate) routes: ArcSwap<Routes>,
    traffic: Arc<Traffic>,
    /// Held while a map is installed.
    installing: Mutex<()>,
    is_refreshing: AtomicBool,
    pub(crate) batches: Counter,
    pub(crate) requests: Counter,
    pub(crate) retries: Counter,
    pub(crate) refused_retries: Counter,
    pub(crate) hedges: Counter,
    pub(crate) won_hedges: Counter,
    pub(crate) retry_budget: Budget,
    pub(crate) hedge_budget: Budget,
    pub(crate) shunned: Shunned,
    pub(crate) questions: Questions,
    pub(crate) seen: Seen,
}

impl Core {
    /// Without a map.
    pub(crate) fn new(env: Env, link: Arc<dyn Link>, options: RouterOptions) -> Core {
        let now = env.now();
        let RouterOptions { retry_percent, retry_floor, retry_burst, hedge_percent, .. } = options;
        let retry_budget =
            Budget::new(retry_percent, retry_floor, retry_burst.div_ceil(BURST_AT_START), retry_burst, now);
        Core {
            env,
            link,
            options,
            routes: ArcSwap::from_pointee(Routes { map: Arc::default(), queues: Vec::new() }),
            traffic: Arc::default(),
            installing: Mutex::new(()),
            is_refreshing: AtomicBool::new(false),
            batches: metrics::counter!("strata_router_batches_total"),
            requests: metrics::counter!("strata_router_requests_total"),
            retries: metrics::counter!("strata_router_retries_total"),
            refused_retries: metrics::counter!("strata_router_retries_refused_total"),
            hedges: metrics::counter!("strata_router_hedges_total"),
            won_hedges: metrics::counter!("strata_router_hedges_won_total"),
            retry_budget,
            hedge_budget: Budget::new(hedge_percent, 0, 0, HEDGE_BURST, now),
            shunned: Shunned::default(),
            questions: Questions::default(),
            seen: Seen::default(),
        }
    }

    pub(crate) fn queue_of(&self, request: &Request) -> Result<Option<Arc<ShardQueue>>> {
        let routes = self.routes.load();
        Ok(shard_index(&routes.map, &request.operation)?.map(|index| routes.queues[index].of(request).clone()))
    }

    pub(crate) fn queue_by_id(&self, shard: ShardId, request: &Request) -> Option<Arc<ShardQueue>> {
        let routes = self.routes.load();
        let queues = routes.queues.iter().find(|queues| queues.leader.shard == shard)?;
        Some(queues.of(request).clone())
    }

    pub(crate) fn enqueue(self: &Arc<Self>, queue: &Arc<ShardQueue>, request: Request, waiter: Waiter) {
        match queue.push(&self.options, request, waiter) {
            Ok(wake) => self.start(queue, wake),
            Err((mut waiter, error)) => waiter.answer(Err(error)),
        }
    }

    /// Starts a worker if a queue asks for one.
    pub(crate) fn start(self: &Arc<Self>, queue: &Arc<ShardQueue>, wake: Wake) {
        if wake == Wake::StartWorker {
            self.env.spawn("router-worker", worker::run(self.clone(), queue.clone()));
        }
    }

    /// Sends a request where the newest map says, because its old queue is no more.
    pub(crate) fn reroute(self: &Arc<Self>, request: Request, mut waiter: Waiter) {
        if waiter.uncertain {
            // Its session lives on the old shard; nobody else can tell whether it was applied.
            let message = "the shard of this write changed while its outcome was open";
            return waiter.answer(Err(Error::unknown(ErrorCode::StaleRoute, message)));
        }
        let mut request = request;
        if waiter.numbered {
            request.header.session = None;
            waiter.numbered = false;
        }
        if matches!(request.operation, Operation::Scan { .. }) {
            let message = "the shards changed under the scan; go on with the new ones";
            return waiter.answer(Err(Error::not_applied(ErrorCode::StaleRoute, message)));
        }
        match self.queue_of(&request).and_then(|queue| queue.ok_or_else(no_map)) {
            Ok(queue) => self.enqueue(&queue, request, waiter),
            Err(error) => waiter.answer(Err(error)),
        }
    }

    /// Installs a map if its epoch is higher (ROUTE-4). Queues of unchanged shards, and what is known about their
    /// leaders, stay.
    pub(crate) fn install(&self, map: Arc<ShardMap>) -> bool {
        let _alone = self.installing.lock();
        let old = self.routes.load_full();
        if map.epoch <= old.map.epoch {
            return false;
        }
        // An address may be handed to a node of another cluster: routing by its map would mix two data sets.
        if !old.map.shards.is_empty() && map.cluster != old.map.cluster {
            tracing::warn!(known = %old.map.cluster, found = %map.cluster, "ignored the shard map of another cluster");
            return false;
        }
        if let Err(error) = map.validate() {
            tracing::warn!(epoch = %map.epoch, %error, "ignored a shard map that is not one");
            return false;
        }
        let queues = map
            .shards
            .iter()
            .map(|placement| {
                let kept = old
                    .queues
                    .iter()
                    .find(|queues| queues.leader.shard == placement.shard && queues.leader.slots == placement.slots)
                    .cloned();
                kept.unwrap_or_else(|| self.fresh_queues(placement))
            })
            .collect();
        self.routes.store(Arc::new(Routes { map, queues }));
        true
    }

    fn fresh_queues(&self, placement: &ShardPlacement) -> ShardQueues {
        let client = self.fresh_client();
        let queue =
            |path| Arc::new(ShardQueue::new(placement.shard, placement.slots, client, self.traffic.clone(), path));
        let paths = [Path::Leader, Path::Any, Path::Dated, Path::Pages, Path::Waiting];
        let [leader, any, dated, pages, waiting] = paths.map(queue);
        ShardQueues { leader, any, dated, pages, waiting }
    }

    /// An id for a session that nobody else has.
    pub(crate) fn fresh_client(&self) -> ClientId {
        ClientId(self.env.rng.next_u64())
    }

    /// Fetches a newer map in the background, unless that is under way.
    pub(crate) fn refresh(self: &Arc<Self>) {
        if self.is_refreshing.swap(true, Ordering::AcqRel) {
            return;
        }
        let core = self.clone();
        self.env.spawn("router-refresh", async move {
            let epoch = core.routes.load().map.epoch;
            match core.env.timeout(REQUEST_DEADLINE_MAX, core.link.fetch_map(epoch)).await {
                Ok(Ok(map)) => {
                    core.install(map);
                }
                Ok(Err(error)) => tracing::debug!(%error, "could not fetch the shard map"),
                Err(_) => tracing::debug!("nobody sent the shard map in time"),
            }
            core.is_refreshing.store(false, Ordering::Release);
        });
    }

    pub(crate) async fn fetch_first_map(&self, deadline: Duration) -> Result<()> {
        match self.env.timeout(deadline, self.link.fetch_map(Epoch(0))).await {
            Ok(map) => {
                self.install(map?);
                Ok(())
            }
            Err(_) => {
                let message = format!("no node sent the shard map within {deadline:?}");
                Err(Error::not_applied(ErrorCode::DeadlineExceeded, message))
            }
        }
    }
}

pub(crate) fn no_map() -> Error {
    Error::not_applied(ErrorCode::NotReady, "the cluster has no shard map yet; is it still being founded?")
}
