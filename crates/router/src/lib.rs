//! From a key to the leader of its shard, and back with an honest answer.
//!
//! # Problem
//! A caller has a key. Which shard owns it, which node leads that shard just now, and what to do when the answer is
//! "not me", "your map is old" or nothing at all, is the same question in a gateway node and in the SDK. And one
//! message a key would cost more than the work: callers of one shard should share messages.
//!
//! # Model
//! ```text
//!   call(request) -- limits, slot --> [ queue of the shard ]  -- take all, up to a bound --> ShardBatch
//!        ^                                 ^                                                    |
//!        |                                 |  at most `inflight` workers a shard          Link::execute(node)
//!        |                                 |                                                    |
//!        +---- reply or error <---- worker: the one retry loop <---- ShardReply or LinkError <--+
//! ```
//! [`Router`] implements [`Kv`] over a [`Link`], which carries a [`ShardBatch`] to a node. A node answers with its
//! [`ShardExecutor`]. A [`Scan`] merges one stream of pages per shard in key order.
//!
//! # Path of one request
//! 1. `call` checks the limits, computes the slot and finds the shard's queue in the cached map.
//! 2. The request waits there while `inflight` batches of the shard are under way; then a worker takes everything
//!    queued (up to [`RouterOptions::batch_requests`] and [`RouterOptions::batch_bytes`]) as one batch.
//! 3. The worker sends it to the believed leader, or to the replicas in turn when none is known.
//!    Reads that any replica may carry out have a queue of their own, whose batches go to the replicas in turn, or to
//!    the one on this node. So have steps of transactions that a node may let wait (for a lock, for another
//!    transaction's end): each is a batch of its own, so that it holds up nobody. And so have reads at timestamps, and
//!    long pages of scans, for the same reason.
//! 4. If the answer is late, the reads of the batch are asked of a second replica too, within a budget.
//! 5. Each request is answered, or stays with the worker for the next attempt: see [`retry rules`](#invariants).
//!
//! # Invariants
//! - ROUTE-1: a write that may have been applied is never sent again unless its session makes that harmless.
//! - ROUTE-2: "not applied" is said only when no attempt can have been applied.
//! - ROUTE-3: every call ends by its deadline (within one sweep, [`RouterOptions::sweep`], while a batch is stuck).
//! - ROUTE-4: the epoch of the cached map only rises.
//! - ROUTE-5: queues are bounded in bytes; a full one refuses.
//! - ROUTE-6: retries that ask for work again are at most a share of all requests and a floor, hedges at most a share
//!   of all reads.
//! - ROUTE-7: a write is sent with the highest time of all answers that were given before.
//!
//! # Left out
//! A scan over several shards is linearizable per shard. It is a snapshot of all of them if its header names a
//! timestamp ([`strata_types::RequestHeader::at`]).

mod budget;
mod core;
mod hedge;
mod keepers;
mod kv;
mod latencies;
mod leader;
mod link;
mod load;
mod options;
mod path;
mod queue;
mod route;
mod router;
mod scan;
mod seen;
mod session;
mod spread;
mod timestamps;
mod trim;
mod verdict;
mod worker;

pub use keepers::{Keeper, Keepers, KeptElsewhere, KeptStage, KeptTransaction};
pub use kv::{Kv, PageRange, ShardBatch, ShardExecutor, ShardReply};
pub use link::{HOLD_TIME, Link, LinkError, TimestampKind};
pub use options::RouterOptions;
pub use route::{check_limits, lies_in, slot_of};
pub use router::Router;
pub use scan::{Scan, ScanRange};
pub use trim::{RESULT_OVERHEAD, fit_results, size_of_reply, size_of_result};
