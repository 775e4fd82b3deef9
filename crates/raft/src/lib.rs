//! Many Raft groups on one node.
//!
//! # Problem
//! Each shard is replicated by a group of its own, and a node takes part in hundreds. They share one log, one set of
//! connections, one pool of threads; and the cost of a group is paid per log entry, so entries must be fat.
//!
//! # Model
//! ```text
//!   propose(commands) -> Batcher -> one entry -> openraft -> LogStore -> wal (one fsync for all groups)
//!                                                   |    -> Network -> net (frames of all groups coalesced)
//!                                       committed   v
//!   replies <-------------------- StateMachine: Machine::apply for each command, one atomic tablet write
//!
//!   read_barrier() -> Reads: one round of the leader for everybody who waits -> read the tablet
//!   ... anywhere()  -> Reads: one question to the leader for everybody who waits -> applied? -> read the tablet
//!   lease() -> no round, while a majority promised -> read the tablet -> holds()?
//!   snapshot_barrier(T) -> Barriers: raise the Clock above T, a round, all that was stamped before -> read the tablet
//!   ... for(T, Witness) -> no round, if whoever handed T out saw a vote for this leader then
//! ```
//! [`Host`] holds the groups of a node and gives them their beats; [`Group`] is one replica. openraft decides who leads and
//! what is committed; nobody above this crate sees a type of it.
//!
//! # Path of one write
//! [`Group::propose`] queues the commands; while an earlier entry is being made durable they gather with those of
//! other callers; the batcher submits them as one entry. openraft appends it to the log and sends it to the followers
//! at the same time. When a majority has it durable, the state machine adapter applies it with its neighbours in one
//! tablet write, and then sends the replies.
//!
//! # Invariants
//! - RAFT-1: a reply is sent after its entry is durable on a majority and applied here.
//! - RAFT-2: an entry counts as durable only after everything before it in the node's log is.
//! - RAFT-3: the tablet holds the position it reached in the same atomic write as the data, so no entry is applied
//!   twice or skipped, whatever a crash leaves.
//! - RAFT-4: the log is cut only behind what the tablet would show after a crash, and not while a snapshot is sent or
//!   may go on where it broke off, nor what its receiver lacks then, unless that would make it very long.
//! - RAFT-5: a message is handed to the replica it was sent to, or refused: replica ids are never used twice.
//! - RAFT-6: a linearizable read waits for a round of the leader that began after the read arrived, on whichever replica.
//! - RAFT-7: replicas that applied the same entries have equal hash chains.
//! - RAFT-8: a leader tells and changes the members only after it has committed an entry of its own, and only from the
//!   newest membership on.
//! - RAFT-9: a replica that was deleted on a node is never opened there again.
//! - RAFT-10: a read that may be old by a bound sees every write acknowledged longer ago than that when it began.
//! - RAFT-11: what is received of a snapshot is always a beginning of one checkpoint.
//! - RAFT-12: stamps never fall along the log, and an entry is applied in the term that it was stamped in or not at all.
//! - RAFT-13: when a snapshot read at T begins, everything that may change what it reads and will ever have a stamp of T
//!   or below, or none, is applied here.
//! - RAFT-14: a leader stamps nothing before its clock was opened for its term.
//! - RAFT-15: a read without a round is answered if, after it was read, a majority of every configuration had taken what
//!   this leader sent less than a lease before.
//! - RAFT-16: a voter that restarts takes no part in elections for as long as it may have promised.
//! - RAFT-17: a leader has no lease from before it votes for another, sends a transfer or writes a membership without
//!   itself.
//!
//! # Left out
//! openraft's own leases (a restarted follower forgets them), batching timers and snapshot policy, and its client
//! responders: batching, reading and cutting the log are decided here.

mod applied;
mod apply;
mod ballot;
mod barriers;
mod batcher;
mod beats;
mod catch_up;
mod claims;
mod clock;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod decoding;
mod encoding;
mod error;
mod group;
mod handover;
mod host;
mod inbound;
mod kept;
mod lease;
mod log_store;
mod maintain;
mod membership;
mod messages;
#[cfg(debug_assertions)]
pub mod mutant;
mod network;
mod overlay;
mod pace;
mod pipeline;
mod read_index;
mod reads;
mod removal;
mod replica;
mod roll_call;
mod snapshot;
mod state_machine;
mod status;
mod timed;
mod timing;
mod transfers;
mod types;
mod witness;

pub use ballot::Ballot;
pub use claims::Claim;
pub use error::{ChangeError, OpenError, ProposeError, ReadError};
pub use group::{Group, GroupSpec};
pub use host::{Host, HostParts};
pub use lease::{Lease, PROMISE};
pub use membership::Members;
pub use roll_call::RollCall;
pub use status::GroupStatus;
pub use timed::Proposed;
pub use timing::{Retention, Timing};
pub use transfers::SNAPSHOT_BYTES_PER_SECOND;
pub use witness::Witness;
