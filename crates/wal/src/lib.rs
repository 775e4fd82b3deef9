//! The log of a node: one fsync serves every group.
//!
//! # Problem
//! A node runs hundreds of Raft replicas. Each must have its entries and votes on the disk before it answers, and a
//! sync costs the same for one entry as for a thousand. A log per replica would pay for hundreds of syncs where one
//! would do, and a general database as the log would write everything twice.
//!
//! # Model
//! ```text
//!   ReplicaLog r1 ---append---+                                              +-> completions, newest first
//!   ReplicaLog r2 ---vote-----+--> gather --> lane: drain, encode, write, sync
//!   ReplicaLog r3 ---purge----+                 |                            +-> index: where each entry lies
//!                                               v
//!   segments   | 5 (old) | 6 | 7 | 8 (active: frame frame frame ....) | 9 (spare, zeroed)
//!                  |                                                     ^
//!                  `--- no live entry left: renamed and used again ------'  by the preparer
//! ```
//! Each replica's log is kept in memory (`replica`) as its owner sees it, which is ahead of the disk; a byte cap evicts
//! the oldest durable entries, which are then read from their segment. The `index` is what the disk says: the lane
//! brings it up to date after each sync, and recovery arrives at the same one by reading the segments.
//!
//! # Path of an append
//! 1. [`ReplicaLog::append`] checks that the entries continue the log, stores them in memory and puts clones of their
//!    [`Bytes`](bytes::Bytes) into the queue, under the replica's lock: the lane's order is the order of the calls.
//! 2. Whatever else the node's tasks append in the same turn is gathered (`gather`) and goes to the lane with it.
//! 3. The lane takes all that waits, up to a limit, and encodes it as one frame. What does not fit begins the next
//!    segment, whose first frame repeats every replica's vote, purge and committed position.
//! 4. It writes, syncs, brings the index up to date and calls the completions, newest first.
//! 5. Segments without live entries go; small live remainders are written again at the head first (`clean`).
//!
//! # Invariants
//! - WAL-1: a completion is called with success only when the request and everything before it is durable (Raft takes
//!   completions as a watermark).
//! - WAL-2: truncations, votes and removals are durable before they return. (A truncated tail that comes back after a
//!   crash would be a newer log than the state machine, with another history.)
//! - WAL-3: after an error of a write or a sync nothing is acknowledged any more and the node halts: what a failed
//!   sync has dropped cannot be known, and a second one would succeed. When the log is read back, its last frame is
//!   written again, because it may be in the system's cache only, and pass for written there.
//! - WAL-4: frames form one gapless sequence. Where it ends with nothing durable missing, the tail is cut; where
//!   something durable is missing, the log refuses to open and names the file.
//! - WAL-5: a frame validates only in the segment and run it was written for, so a reused file never brings old entries
//!   back.
//! - WAL-6: a segment goes only when the next one's checkpoint is durable and no durable live entry lies in it; segments
//!   go oldest first, each removal durable before the next.
//! - WAL-7: a committed position is never durable before the entries it was saved after.
//!
//! Left out: several lanes (one disk is one lane), and compression (entries arrive batched).

mod assembly;
mod clean;
#[cfg(test)]
mod decoding;
mod error;
mod frame;
mod gather;
mod index;
mod lane;
mod options;
mod prepare;
mod reader;
mod record;
mod recovery;
mod replica;
mod replica_log;
mod segment;
mod shared;
mod wal;

pub use error::WalError;
#[cfg(debug_assertions)]
pub use options::Mutant;
pub use options::WalOptions;
pub use recovery::RecoveryProgress;
pub use replica::ENTRY_BYTES;
pub use replica_log::{LogState, ReplicaLog};
pub use wal::Wal;

/// Called when a request is durable, or with the reason why it never will be.
pub type Completion = Box<dyn FnOnce(Result<(), WalError>) + Send>;
