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
//!                                reads at a timestamp: clock raised, one barrier --> tablet, history
//!                                locks, pushes: this leader's memory
//! ```
//! What meets a transaction that is not decided, or decided and not resolved here, is not answered: the transaction is
//! *pushed*, which means that the shard of its record is asked, and waits a little or aborts it; what is left of it here
//! is *resolved*; and the request is tried again, by a new entry or a new look at the tablet.
//!
//! # Path of a batch
//! 1. `route` compares it with the node's map: a batch that belongs elsewhere is refused whole, with the map.
//! 2. Requests that break a limit get their error; the others are split into writes and reads, by the level of each and
//!    by whether it prefers the leader. Each replica of the map may read; each reply says which level was kept.
//! 3. The writes go into the log in one proposal while the reads share one round of the leader.
//! 4. Timestamps that are named, and not known to have been handed out, are checked with the meta group first: `times`.
//! 5. Results return to their positions. A batch of which nothing could be carried out because this replica does not
//!    lead is refused whole.
//!
//! # Invariants
//! - KV-1: a batch is refused whole only if nothing of it was applied.
//! - KV-2: each result is that of the request at its position.
//! - KV-3: a linearizable read looks at the tablet after its barrier, never before.
//! - KV-4: damaged or failing storage is an error of the request, never an absent key.
//! - KV-5: a reply never names a stronger level than was kept.
//! - KV-6: no clock of a shard is raised to what was not handed out, whatever clients say.
//! - KV-7: what was met is read again, or proposed again, only after it was resolved through the log of this shard, and
//!   never answered from what its record says.
//! - KV-8: locks and patience decide who goes first and how long one waits, never what may be committed.
//!
//! # Left out
//! Whose transaction it is: whoever may write may resolve. What coordinators do is in `strata-txn`.

mod blockers;
mod confirmed;
mod gateway;
mod holds;
mod local_shards;
mod locks;
mod node_link;
mod open_transactions;
mod plan;
mod pushes;
mod read_counters;
mod reading;
mod reads;
mod refusals;
mod route;
mod snapshot_view;
mod steps;
mod tidying;
mod times;
mod writes;

pub use gateway::Gateway;
pub use local_shards::LocalShards;
pub use node_link::{NodeLink, execute_at};
pub use open_transactions::{AllOpen, OpenPhase, OpenTransaction};
