//! Rows that reach RocksDB together.

use std::collections::BTreeMap;

use bytes::Bytes;

/// Rows, and which of them are to be removed.
pub(crate) type Changes = Vec<(Bytes, Option<Bytes>)>;

/// What was written in one round.
#[derive(Default)]
pub(crate) struct Round {
    /// Its rows as they were last, by the first bytes of their keys: most scans look at rows of one kind, of which there
    /// are none here.
    changes: BTreeMap<u8, Changes>,
    /// What its rows take.
    pub(crate) bytes: usize,
    /// What all its writes take, also those that others have replaced since.
    pub(crate) written_bytes: usize,
}

impl Round {
    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The changes of rows whose keys begin as this one.
    pub(crate) fn changes_like(&mut self, key: &[u8]) -> &mut Changes {
        self.changes.entry(first_byte(key)).or_default()
    }

    /// The changes in `start <= key < end`, where an empty `end` is no bound.
    pub(crate) fn within<'a>(
        &'a self,
        start: &'a [u8],
        end: &'a [u8],
    ) -> impl Iterator<Item = &'a (Bytes, Option<Bytes>)> {
        let last = end.first().copied().unwrap_or(u8::MAX).max(first_byte(start));
        let is_inside = move |key: &[u8]| key >= start && (end.is_empty() || key < end);
        self.changes.range(first_byte(start)..=last).flat_map(|(_, it)| it).filter(move |(key, _)| is_inside(key))
    }

    /// All changes in key order.
    pub(crate) fn in_order(&self) -> Vec<&(Bytes, Option<Bytes>)> {
        let mut changes: Vec<_> = self.changes.values().flatten().collect();
        changes.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        changes
    }
}

fn first_byte(key: &[u8]) -> u8 {
    key.first().copied().unwrap_or(0)
}

/// Changes of several rounds in key order, each row once: as it is where it is first.
pub(crate) fn in_order(mut changes: Changes) -> Changes {
    changes.sort_by(|(a, _), (b, _)| a.cmp(b));
    changes.dedup_by(|(a, _), (b, _)| a == b);
    changes
}
