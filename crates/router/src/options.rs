//! What a router may be told.

use std::time::Duration;

use strata_types::limits;

/// Bounds and delays of a [`crate::Router`].
#[derive(Clone, Debug)]
pub struct RouterOptions {
    /// Batches of one shard under way at once. While that many are, requests gather into the next batch: more of
    /// them hide latency, fewer make larger batches.
    pub inflight: usize,
    /// With so many batches of all shards under way, each shard has only one: many shards keep the nodes busy anyway,
    /// and what a batch costs them is far more than what a request in it costs.
    pub busy: usize,
    /// Most requests of a batch.
    pub batch_requests: usize,
    /// A batch closes before the request that would take it past this many bytes, unless it is the only one.
    pub batch_bytes: usize,
    /// Bytes that may wait in the queue of one shard; more is refused as overloaded.
    pub queue_bytes: usize,
    /// Attempts after which a request gives up before its deadline.
    pub attempts: u32,
    /// Delay before the second retry of a request that was refused; doubles up to `backoff_max`.
    pub backoff_min: Duration,
    /// Longest delay between attempts at an overloaded node.
    pub backoff_max: Duration,
    /// Longest delay between attempts while a shard has no leader: short, so that a failover ends when there is one.
    pub election_backoff_max: Duration,
    /// A batch without an answer for this long makes room for the next one and lets other replicas be asked.
    pub stall: Duration,
    /// How often deadlines of a stuck batch and of the queue behind it are checked.
    pub sweep: Duration,
    /// Whether writes carry a session number, so that they can be retried and still apply once.
    pub sessions: bool,
    /// Retries that ask a node for work again, as a share of all requests, in percent. What a node only refuses at the
    /// door (it does not lead, it is away) is paced and costs nothing.
    pub retry_percent: u32,
    /// Such retries a second that are allowed beside that share.
    pub retry_floor: u32,
    /// Most retries that may be saved up while all goes well.
    pub retry_burst: u32,
    /// Reads that may be asked of a second replica when their answer is late, as a share of all reads, in percent; zero
    /// turns it off.
    pub hedge_percent: u32,
    /// An answer that takes no longer than this is never late: below, a second question costs more than it saves.
    pub hedge_delay_min: Duration,
    /// When an answer is late before it is known how long they take.
    pub hedge_delay_first: Duration,
}

impl Default for RouterOptions {
    fn default() -> RouterOptions {
        RouterOptions {
            inflight: 2,
            busy: 4,
            batch_requests: 4096,
            batch_bytes: 1024 * 1024,
            queue_bytes: limits::SHARD_INFLIGHT_BYTES_MAX,
            attempts: 10_000,
            backoff_min: Duration::from_millis(5),
            backoff_max: Duration::from_millis(250),
            election_backoff_max: Duration::from_millis(50),
            stall: Duration::from_millis(500),
            sweep: Duration::from_millis(50),
            sessions: false,
            retry_percent: 20,
            retry_floor: 50,
            retry_burst: 10_000,
            hedge_percent: 5,
            hedge_delay_min: Duration::from_millis(10),
            hedge_delay_first: Duration::from_millis(100),
        }
    }
}
