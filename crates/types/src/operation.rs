//! What a client asks of the key space, and what it gets back.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    ClientId, DatabaseId, KeySpaceId, LogIndex, Revision, SchemaVersion, Space, Timestamp, Transaction,
    TransactionCall, TransactionReply, limits,
};

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

/// An operation on keys of one key space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Read one key.
    Get {
        /// The key.
        key: Bytes,
    },
    /// Write one key whatever it holds.
    Put {
        /// The key.
        key: Bytes,
        /// Its new value.
        value: Bytes,
    },
    /// Remove one key.
    Delete {
        /// The key.
        key: Bytes,
    },
    /// Write or remove one key if it holds what the client believes it holds.
    CompareAndSet {
        /// The key.
        key: Bytes,
        /// What it must hold.
        expected: Expected,
        /// Its new value; `None` removes it.
        value: Option<Bytes>,
    },
    /// Several writes of one shard, all or none.
    Batch {
        /// The writes, applied in order.
        mutations: Vec<Mutation>,
    },
    /// Items of one shard in key order, from `start` up to but not including `end`.
    Scan {
        /// First key.
        start: Bytes,
        /// One past the last key; `None` for no bound.
        end: Option<Bytes>,
        /// Most items of the page, at most [`crate::limits::SCAN_PAGE_ITEMS_MAX`].
        limit: u32,
    },
    /// A step of a transaction. Its keys name their spaces themselves.
    Transact(Box<TransactionCall>),
}

/// One write of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// Write the key.
    Put {
        /// The key.
        key: Bytes,
        /// Its new value.
        value: Bytes,
    },
    /// Remove the key.
    Delete {
        /// The key.
        key: Bytes,
    },
}

/// The condition of a compare-and-set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// The key does not exist.
    Absent,
    /// The key holds this value.
    Value(Bytes),
    /// The key was last written at this revision.
    Revision(Revision),
}

/// One key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The user key.
    pub key: Bytes,
    /// Its value.
    pub value: Bytes,
    /// Where it was last written.
    pub revision: Revision,
    /// When, in logical time.
    pub timestamp: Timestamp,
}

/// The answer to an [`Operation`], variant by variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To `Get`.
    Get {
        /// The item, if the key exists.
        item: Option<Item>,
        /// How fresh that is, if it is known. No part of the persisted form: reads do not go through the log.
        freshness: Option<Freshness>,
    },
    /// To `Put`.
    Put {
        /// Where it was written.
        revision: Revision,
    },
    /// To `Delete`.
    Delete {
        /// Whether there was something to remove.
        existed: bool,
        /// Where the delete stands in the log.
        revision: Revision,
    },
    /// To `CompareAndSet`.
    CompareAndSet {
        /// Whether the condition held and the write was made.
        succeeded: bool,
        /// Where this command stands in the log.
        revision: Revision,
        /// What the key held when the condition failed.
        current: Option<Item>,
    },
    /// To `Batch`.
    Batch {
        /// Where it was written.
        revision: Revision,
    },
    /// To `Scan`.
    Scan {
        /// The items of the page, in key order.
        items: Vec<Item>,
        /// Where the next page starts; `None` when the range is exhausted.
        resume: Option<Bytes>,
        /// How fresh they are, if it is known. No part of the persisted form.
        freshness: Option<Freshness>,
    },
    /// To `Transact`.
    Transact(TransactionReply),
    /// To anything that meets a transaction which is not decided: nothing was done. Never leaves the node: it sees to it
    /// that the transaction is decided, and tries again.
    Blocked {
        /// The transaction.
        by: Transaction,
    },
}

impl Operation {
    /// Whether this is a page of so many items that it takes milliseconds, as pages of scans of everything do. What is
    /// short must not wait with it.
    pub fn is_long_page(&self) -> bool {
        matches!(self, Operation::Scan { limit, .. } if *limit > limits::SHORT_PAGE_ITEMS_MAX)
    }

    /// Whether the operation changes nothing.
    pub fn is_read(&self) -> bool {
        match self {
            Operation::Get { .. } | Operation::Scan { .. } => true,
            Operation::Transact(call) => matches!(**call, TransactionCall::Status { .. }),
            Operation::Put { .. }
            | Operation::Delete { .. }
            | Operation::CompareAndSet { .. }
            | Operation::Batch { .. } => false,
        }
    }

    /// Bytes of keys and values, for limits and flow control.
    pub fn size(&self) -> usize {
        match self {
            Operation::Get { key } | Operation::Delete { key } => key.len(),
            Operation::Put { key, value } => key.len() + value.len(),
            Operation::CompareAndSet { key, expected, value } => {
                let expected = if let Expected::Value(bytes) = expected { bytes.len() } else { 0 };
                key.len() + expected + value.as_ref().map_or(0, Bytes::len)
            }
            Operation::Batch { mutations } => mutations.iter().map(Mutation::size).sum(),
            Operation::Scan { start, end, .. } => start.len() + end.as_ref().map_or(0, Bytes::len),
            Operation::Transact(call) => call.size(),
        }
    }
}

impl Operation {
    /// How many things it holds beside itself, each of which takes memory and a few bytes of a message.
    pub fn parts(&self) -> usize {
        match self {
            Operation::Batch { mutations } => mutations.len(),
            Operation::Transact(call) => call.parts(),
            Operation::Get { .. }
            | Operation::Put { .. }
            | Operation::Delete { .. }
            | Operation::CompareAndSet { .. }
            | Operation::Scan { .. } => 0,
        }
    }
}

impl Mutation {
    /// The key it writes.
    pub fn key(&self) -> &Bytes {
        match self {
            Mutation::Put { key, .. } | Mutation::Delete { key } => key,
        }
    }

    /// Bytes of key and value.
    pub fn size(&self) -> usize {
        match self {
            Mutation::Put { key, value } => key.len() + value.len(),
            Mutation::Delete { key } => key.len(),
        }
    }
}
