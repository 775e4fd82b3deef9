//! What a client asks of the key space, and what it gets back.

use bytes::Bytes;

use crate::{Freshness, Revision, Timestamp, Transaction, TransactionCall, TransactionReply, limits};

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
