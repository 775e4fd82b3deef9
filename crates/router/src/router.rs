//! The way in: each request joins the queue of its shard.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use strata_env::{Env, Mono};
use strata_types::{
    Error, ErrorCode, Operation, Reply, Request, Result, ShardId, ShardMap, Timestamp, limits::REQUEST_DEADLINE_MAX,
};
use tokio::sync::oneshot;

use crate::core::{Core, no_map};
use crate::load::Waiter;
use crate::queue::ShardQueue;
use crate::route::check_limits;
use crate::{Kv, Link, PageRange, RouterOptions};

/// Sends each request to the leader of its shard. See the crate.
pub struct Router {
    core: Arc<Core>,
}

impl Router {
    /// A router that starts with `map`, which may be empty: the first call then fetches one.
    pub fn new(env: Env, link: Arc<dyn Link>, map: Arc<ShardMap>, options: RouterOptions) -> Arc<Router> {
        let core = Core::new(env, link, options);
        core.install(map);
        Arc::new(Router { core: Arc::new(core) })
    }

    /// Where the router has its time, randomness and tasks from.
    pub fn env(&self) -> &Env {
        &self.core.env
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Something up to this time was told to whoever uses this router: what it writes from now on comes after it. Only
    /// for times that a node has named.
    pub fn note_seen(&self, time: Timestamp) {
        self.core.seen.note(time);
    }

    /// Uses a map from now on if it is newer than the one in use.
    pub fn install(&self, map: Arc<ShardMap>) {
        self.core.install(map);
    }

    /// The newest map that is known here, or the first one, which is fetched if there is none yet.
    pub async fn known_map(&self, deadline: Duration) -> Result<Arc<ShardMap>> {
        if self.map().shards.is_empty() {
            self.core.fetch_first_map(deadline.min(REQUEST_DEADLINE_MAX)).await?;
        }
        let map = self.map();
        if map.shards.is_empty() { Err(no_map()) } else { Ok(map) }
    }

    /// Fetches a newer map in the background, unless that is under way.
    pub fn refresh(&self) {
        self.core.refresh();
    }

    /// The same as [`Kv::call`], without its boxed future.
    pub async fn send(&self, request: Request, deadline: Duration) -> Result<Reply> {
        check_limits(&request.operation)?;
        let deadline = deadline.min(REQUEST_DEADLINE_MAX);
        let end = self.core.env.now() + deadline;
        let core = &self.core;
        let queue = match core.queue_of(&request)? {
            Some(queue) => queue,
            None => {
                core.fetch_first_map(deadline).await?;
                core.queue_of(&request)?.ok_or_else(no_map)?
            }
        };
        self.wait(queue, request, end).await
    }

    async fn wait(&self, queue: Arc<ShardQueue>, request: Request, end: Mono) -> Result<Reply> {
        let is_read = request.operation.is_read();
        let (sender, receiver) = oneshot::channel();
        let waiter = Waiter::new(sender, end);
        self.core.enqueue(&queue, request, waiter);
        receiver.await.unwrap_or_else(|_| {
            let message = "the router stopped before the answer came";
            Err(match is_read {
                true => Error::not_applied(ErrorCode::NotReady, message),
                false => Error::unknown(ErrorCode::NotReady, message),
            })
        })
    }
}

#[async_trait]
impl Kv for Router {
    async fn call(&self, request: Request, deadline: Duration) -> Result<Reply> {
        self.send(request, deadline).await
    }

    async fn scan_shard(&self, shard: ShardId, range: PageRange, deadline: Duration) -> Result<Reply> {
        let operation = Operation::Scan { start: range.start, end: range.end, limit: range.limit };
        check_limits(&operation)?;
        let request = Request { header: range.header, operation };
        let queue = self.core.queue_by_id(shard, &request).ok_or_else(|| shard_is_gone(shard))?;
        let end = self.core.env.now() + deadline.min(REQUEST_DEADLINE_MAX);
        self.wait(queue, request, end).await
    }

    fn map(&self) -> Arc<ShardMap> {
        self.core.routes.load().map.clone()
    }

    fn time(&self) -> Timestamp {
        self.core.seen.time()
    }
}

fn shard_is_gone(shard: ShardId) -> Error {
    Error::not_applied(ErrorCode::StaleRoute, format!("the newest shard map has no shard {shard}"))
}
