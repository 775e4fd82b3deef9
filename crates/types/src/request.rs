//! A request: who asks, in which name space, for what, and how fresh an answer must be.

use std::time::Duration;

use crate::{ClientId, DatabaseId, KeySpaceId, LogIndex, Operation, SchemaVersion, Space, Timestamp};

/// One request: who asks, in which name space, and for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The part that every operation has.
    pub header: RequestHeader,
    /// What is asked for.
    pub operation: Operation,
}

/// The part of a request that does not depend on the operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestHeader {
    /// Database of the keys.
    pub database: DatabaseId,
    /// Key space within the database.
    pub key_space: KeySpaceId,
    /// Makes a retried write apply once.
    pub session: Option<SessionRequest>,
    /// The highest timestamp that the client's session has seen.
    pub seen: Timestamp,
    /// What "durable" means for this write.
    pub durability: Durability,
    /// Version of the descriptors that the request was planned with.
    pub schema: SchemaVersion,
    /// How fresh a read must be.
    pub level: ReadLevel,
    /// Which replicas may carry out a read that sees everything acknowledged before it.
    pub prefer: ReadPreference,
    /// Reads what was committed up to this timestamp; `None` for what there is now.
    pub at: Option<Timestamp>,
    /// Takes a new timestamp, and reads what was committed up to it. The answer's freshness names it; an answer that names
    /// none comes from a node that does not know of this, and is a read of what there is now.
    pub begins: bool,
}

impl RequestHeader {
    /// The name space of the keys.
    pub fn space(&self) -> Space {
        Space { database: self.database, key_space: self.key_space }
    }
}

/// Identifies a write within a client's session on one shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionRequest {
    /// The client.
    pub client: ClientId,
    /// The client's own number of this write; unique within the session and shard, and rising.
    pub sequence: u64,
    /// Every sequence below this one is answered: the client will not ask for its result again.
    pub floor: u64,
    /// How far the shard's log was known to be when the session was opened, the same in all its requests; zero when
    /// nothing was known. A shard that has forgotten sessions since then takes no unknown session for a new one.
    pub opened: LogIndex,
}

/// How durable a write is before it is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Synced on a majority of the shard's replicas.
    #[default]
    Majority,
}

/// How fresh a read must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadLevel {
    /// Sees every write that was acknowledged before the read began.
    #[default]
    Linearizable,
    /// Whatever the asked replica has applied; may be old.
    Local,
    /// The same promise as `Linearizable`, kept by a leader's clock where its node allows that. Where it does not, or no
    /// lease is held, it is carried out as `Linearizable`, and the answer says so.
    Lease,
    /// Sees every write that was acknowledged longer ago than this when the read began.
    Bounded {
        /// How old the answer may be, by the monotonic clock of the replica that gives it.
        max_staleness: Duration,
    },
}

/// Which replicas may carry out a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadPreference {
    /// The leader: cheapest, if the shard's other work goes there anyway. Does not bind reads that need no leader.
    #[default]
    Leader,
    /// Whichever is asked: one that does not lead asks the leader how far it must have got.
    Any,
}

/// How fresh an answer is: what was kept, not what was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freshness {
    /// The level that was kept. With `Bounded`: how old the answer is at most.
    pub level: ReadLevel,
    /// Every entry of the shard's log up to this one is seen.
    pub applied: LogIndex,
    /// The timestamp up to which it was read, if it was read so.
    pub at: Option<Timestamp>,
}

impl ReadLevel {
    /// Whether any replica may carry out such a read without being told so.
    pub fn is_for_any_replica(self) -> bool {
        match self {
            ReadLevel::Local | ReadLevel::Bounded { .. } => true,
            ReadLevel::Linearizable | ReadLevel::Lease => false,
        }
    }

    /// The one of two levels that promises less; of two bounds, the longer one.
    pub fn weaker(self, other: ReadLevel) -> ReadLevel {
        let rank = |level| match level {
            ReadLevel::Linearizable => (0, Duration::ZERO),
            ReadLevel::Lease => (1, Duration::ZERO),
            ReadLevel::Bounded { max_staleness } => (2, max_staleness),
            ReadLevel::Local => (3, Duration::ZERO),
        };
        if rank(self) >= rank(other) { self } else { other }
    }
}
