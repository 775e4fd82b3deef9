//! Replies that are more than one value.

use strata_types::{Freshness, Item, Revision};

/// What a read found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The item, if the key exists.
    pub item: Option<Item>,
    /// The level that was kept, which may be a stronger one than was asked for, and how much of the shard's log is seen.
    /// `None` if the node did not say.
    pub freshness: Option<Freshness>,
}

/// What a delete did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delete {
    /// Whether there was something to remove.
    pub existed: bool,
    /// Where the delete stands in the log of the shard.
    pub revision: Revision,
}

/// What a compare-and-set did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompareAndSet {
    /// Whether the condition held and the write was made.
    pub succeeded: bool,
    /// Where this command stands in the log of the shard.
    pub revision: Revision,
    /// What the key held when the condition failed.
    pub current: Option<Item>,
}
