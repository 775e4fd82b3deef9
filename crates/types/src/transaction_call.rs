//! What is asked of a shard on behalf of a transaction, and what it answers. Every call may be repeated: the second time it
//! changes nothing and gets the first answer.

use crate::{Conflict, Decision, Item, Part, Slot, SpaceKey, Timestamp, Transaction, TransactionStatus};

/// What to do about a lock that another transaction has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LockWait {
    /// Wait, up to the deadline of the call. A younger owner loses it.
    #[default]
    Wait,
    /// Give up at once.
    NoWait,
    /// Answer as if there were no such key.
    SkipLocked,
}

/// What is asked of a shard on behalf of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionCall {
    /// All that does not lie on this shard is prepared: check what it has read here, and write. That decides: it is
    /// committed, at the timestamp of this step. For the anchor's shard.
    Commit(Part),
    /// Check what it has read, and keep everybody from changing that, and from reading what it writes, until it is
    /// decided. For all shards but the anchor's.
    Prepare(Part),
    /// It will not be committed, unless it is already. For the anchor's shard.
    Abort {
        /// Which one.
        transaction: Transaction,
    },
    /// Somebody meets it: what has become of it? Waits a while; who keeps others waiting for too long is aborted. For the
    /// anchor's shard.
    Push {
        /// Which one.
        transaction: Transaction,
        /// The age of the transaction that meets it; `None` for a single operation.
        age: Option<Timestamp>,
    },
    /// What became of it? Changes nothing. For the anchor's shard.
    Status {
        /// Which one.
        transaction: Transaction,
    },
    /// It is decided: make its writes here what they have become.
    Resolve {
        /// Which one.
        transaction: Transaction,
        /// A slot of the shard.
        slot: Slot,
        /// What was decided.
        decision: Decision,
    },
    /// Every participant has resolved it: the record may go when nobody can ask any more. For the anchor's shard.
    Forget {
        /// Which one.
        transaction: Transaction,
    },
    /// Reads the newest value of a key and keeps others from locking it. A promise of the leader's memory only: it makes
    /// success likely, and is never what makes a commit right.
    Lock {
        /// For whom.
        transaction: Transaction,
        /// What.
        key: SpaceKey,
        /// What if another one has it.
        wait: LockWait,
    },
    /// Gives back all locks here.
    Unlock {
        /// Whose.
        transaction: Transaction,
        /// A slot of the shard.
        slot: Slot,
    },
}

impl TransactionCall {
    /// Whose.
    pub fn transaction(&self) -> &Transaction {
        match self {
            TransactionCall::Commit(part) | TransactionCall::Prepare(part) => &part.transaction,
            TransactionCall::Abort { transaction }
            | TransactionCall::Push { transaction, .. }
            | TransactionCall::Status { transaction }
            | TransactionCall::Resolve { transaction, .. }
            | TransactionCall::Forget { transaction }
            | TransactionCall::Lock { transaction, .. }
            | TransactionCall::Unlock { transaction, .. } => transaction,
        }
    }

    /// A slot of the shard that it is for.
    pub fn slot(&self) -> Slot {
        match self {
            TransactionCall::Commit(part) | TransactionCall::Prepare(part) => part.slot,
            TransactionCall::Resolve { slot, .. } | TransactionCall::Unlock { slot, .. } => *slot,
            TransactionCall::Lock { key, .. } => key.slot(),
            TransactionCall::Abort { transaction }
            | TransactionCall::Push { transaction, .. }
            | TransactionCall::Status { transaction }
            | TransactionCall::Forget { transaction } => transaction.anchor,
        }
    }

    /// How many keys, ranges and participants it names.
    pub fn parts(&self) -> usize {
        match self {
            TransactionCall::Commit(part) | TransactionCall::Prepare(part) => part.parts(),
            _ => 0,
        }
    }

    /// Bytes of keys and values.
    pub fn size(&self) -> usize {
        match self {
            TransactionCall::Commit(part) | TransactionCall::Prepare(part) => part.size(),
            TransactionCall::Lock { key, .. } => key.key.len(),
            _ => 0,
        }
    }
}

/// The answer to a [`TransactionCall`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionReply {
    /// To `Commit`: all its writes have this timestamp.
    Committed {
        /// The timestamp.
        at: Timestamp,
    },
    /// To `Prepare`.
    Prepared {
        /// When it was prepared.
        at: Timestamp,
    },
    /// To `Commit`, `Prepare` and `Lock`: refused, and nothing was changed.
    Conflict(Conflict),
    /// To `Abort`, `Push` and `Status`.
    Status(TransactionStatus),
    /// To `Resolve`, `Forget` and `Unlock`.
    Done,
    /// To `Lock`: what the key holds now.
    Locked {
        /// The item, if the key exists.
        item: Option<Item>,
        /// The key was last changed at this timestamp, be it that it was removed; zero when it never was.
        changed: Timestamp,
    },
    /// To `Lock`: another transaction has it, and it is to be skipped.
    Skipped,
}

impl TransactionReply {
    /// Bytes of keys and values.
    pub fn size(&self) -> usize {
        match self {
            TransactionReply::Conflict(Conflict { key: Some(key), .. }) => key.key.len(),
            TransactionReply::Locked { item: Some(item), .. } => item.key.len() + item.value.len(),
            _ => 0,
        }
    }
}
