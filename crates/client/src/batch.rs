//! Several writes, all or none.

use bytes::Bytes;
use strata_types::Mutation;

/// Writes of one shard that are applied together, in order. Their keys must live on one shard: give them the same
/// `{hash tag}`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    mutations: Vec<Mutation>,
}

impl Batch {
    /// No writes yet.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Adds: write a key.
    pub fn put(mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Batch {
        self.mutations.push(Mutation::Put { key: key.into(), value: value.into() });
        self
    }

    /// Adds: remove a key.
    pub fn delete(mut self, key: impl Into<Bytes>) -> Batch {
        self.mutations.push(Mutation::Delete { key: key.into() });
        self
    }

    pub(crate) fn into_mutations(self) -> Vec<Mutation> {
        self.mutations
    }
}
