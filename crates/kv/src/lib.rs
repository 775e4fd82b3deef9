//! A node's own shards, for those who have requests.
//!
//! # Problem
//! A batch of requests for one shard arrives at a node: from the node's own router, from the router of another node,
//! or from a client that routes by itself. Each may have been routed by an old map, or to a replica that does not lead
//! any more. What can be carried out is, with as few log entries and rounds of the leader as possible; what cannot is
//! answered so that nobody takes a write that was applied for one that was not.
//!
//! # Model
//! ```text
//!   router -- Link --> NodeLink --- this node -----------------------------> LocalShards: ShardExecutor
//!                          |                                                   ^       |
//!                          +------ another node: MessageKind::Requests --> Handler     |
//!                                                                                      v
//!            route and limits -> writes:      encode, one propose -----------------> raft Group
//!                                reads:       one read barrier, one multi-get -----> tablet
//!                                bounded ones: none if the last barrier is young enough
//!                                local reads: one multi-get -----------------------> tablet
//! ```
//!
//! # Path of a batch
//! 1. `route` compares it with the node's map: a batch that belongs elsewhere is refused whole, with the map.
//! 2. Requests that break a limit get their error; the others are split into writes and reads, by the level of each and
//!    by whether it prefers the leader. Each replica of the map may read; each reply says which level was kept.
//! 3. The writes go into the log in one proposal while the reads share one round of the leader.
//! 4. Results return to their positions. A batch of which nothing could be carried out because this replica does not
//!    lead is refused whole.
//!
//! # Invariants
//! - KV-1: a batch is refused whole only if nothing of it was applied.
//! - KV-2: each result is that of the request at its position.
//! - KV-3: a linearizable read looks at the tablet after its barrier, never before.
//! - KV-4: damaged or failing storage is an error of the request, never an absent key.
//! - KV-5: a reply never names a stronger level than was kept.

mod confirmed;
mod local_shards;
mod node_link;
mod plan;
mod read_counters;
mod reads;
mod refusals;
mod route;
mod snapshot_view;

pub use local_shards::LocalShards;
pub use node_link::{NodeLink, execute_at};
