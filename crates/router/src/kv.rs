//! The key space as callers see it, and one shard's part of it as a node serves it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use strata_types::{Epoch, Error, NodeId, Reply, Request, RequestHeader, Result, ShardId, ShardMap, Timestamp};

/// The whole key space. Every call ends by its deadline, and every error says whether the write was applied.
#[async_trait]
pub trait Kv: Send + Sync {
    /// Carries out an operation on one key, or a batch on keys of one shard.
    async fn call(&self, request: Request, deadline: Duration) -> Result<Reply>;

    /// One page of one shard, in key order: `start` up to but not including `end`, at most `limit` items.
    /// [`crate::Scan`] makes a scan of the whole key space out of these.
    async fn scan_shard(&self, shard: ShardId, range: PageRange, deadline: Duration) -> Result<Reply>;

    /// The newest shard map that is known here.
    fn map(&self) -> Arc<ShardMap>;

    /// The session's logical time: not below that of anything that was answered here.
    fn time(&self) -> Timestamp;
}

/// What one page of a shard should hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRange {
    /// Name space, freshness.
    pub header: RequestHeader,
    /// First key.
    pub start: Bytes,
    /// One past the last key; `None` for no bound.
    pub end: Option<Bytes>,
    /// Most items.
    pub limit: u32,
}

/// Requests for one shard that travel together. They are independent of each other: each gets its own result, and
/// no order among them is promised.
#[derive(Clone, Debug)]
pub struct ShardBatch {
    /// Epoch of the map that routed them.
    pub epoch: Epoch,
    /// Their shard. A scan reads this shard only.
    pub shard: ShardId,
    /// The requests. Shared, so that a failed attempt costs no copy.
    pub requests: Arc<Vec<Request>>,
}

/// What a node answers to a [`ShardBatch`].
#[derive(Clone, Debug)]
pub enum ShardReply {
    /// It was carried out.
    Done {
        /// One result for each request, in their order.
        results: Vec<Result<Reply>>,
        /// The shard's logical time: not below that of anything that the results tell of. Zero before there is time.
        time: Timestamp,
    },
    /// This node does not lead the shard. Nothing was applied.
    NotLeader {
        /// Who leads, as far as this node knows.
        leader: Option<NodeId>,
    },
    /// The batch was routed by an old map. Nothing was applied.
    StaleRoute(Arc<ShardMap>),
}

impl ShardReply {
    /// The same error for each of `requests` requests.
    pub fn failed(error: &Error, requests: usize) -> ShardReply {
        ShardReply::Done { results: vec![Err(error.clone()); requests], time: Timestamp::default() }
    }
}

/// A node's own shards.
#[async_trait]
pub trait ShardExecutor: Send + Sync {
    /// Carries out the requests of a batch, or refuses the batch as a whole.
    async fn execute(&self, batch: ShardBatch) -> ShardReply;
}
