//! The words that every other crate speaks.
//!
//! Strata is one replicated, sharded key-value space. A user key hashes to one of 16,384 [`Slot`]s; contiguous
//! slots form a shard ([`ShardId`]); a shard is replicated by one Raft group ([`GroupId`]) whose members are
//! replicas ([`ReplicaId`]) that live on nodes ([`NodeId`]). The [`ShardMap`] says which; its [`Epoch`] rises with
//! each change.
//!
//! Clients send [`Operation`]s and get [`Reply`]s or an [`Error`]; every error says whether the write was applied.
//!
//! # Invariants
//! - No two positions or ids share a type: a function never takes two bare `u64`.
//! - Replica ids are raft ids and are never used twice; node ids never are raft ids.
//! - Every limit is a constant of [`limits`], with its reason.
//!
//! Nothing here does I/O, reads a clock or draws a random number.

mod conflict;
mod error;
mod group_changes;
mod ids;
pub mod limits;
mod node;
mod operation;
mod overview;
mod reach;
mod replica_figures;
mod request;
mod shard_map;
mod slot;
mod transaction;
mod transaction_call;
mod version;

pub use conflict::{Conflict, ConflictReason};
pub use error::{Error, ErrorCode, Outcome, Retry};
pub use group_changes::{ChangeReason, GroupChanges, ReplicaChange};
pub use ids::{
    ChangeId, ClientId, ClusterId, ClusterVersion, DatabaseId, Epoch, GroupId, InstanceId, KeySpaceId, LogIndex,
    NodeId, ReplicaId, Revision, SchemaVersion, ShardId, Term, Timestamp,
};
pub use node::{NodeDescriptor, NodeState};
pub use operation::{Expected, Item, Mutation, Operation, Reply};
pub use overview::{ClusterOverview, NodeOverview, ReplicaOverview, ShardOverview};
pub use reach::Reach;
pub use replica_figures::ReplicaFigures;
pub use request::{Durability, Freshness, ReadLevel, ReadPreference, Request, RequestHeader, SessionRequest};
pub use shard_map::{GroupPlacement, ReplicaPlacement, ShardMap, ShardMapError, ShardPlacement};
pub use slot::{SLOT_COUNT, Slot, SlotRange, hash_tag};
pub use transaction::{
    Decision, Part, Prepared, Space, SpaceKey, SpaceRange, SpaceWrite, Transaction, TransactionId, TransactionStatus,
};
pub use transaction_call::{LockWait, TransactionCall, TransactionReply};
pub use version::{Feature, VersionRange};

/// The result of anything a client can see fail.
pub type Result<T> = std::result::Result<T, Error>;
