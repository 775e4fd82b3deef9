//! Rows that were written one after the other.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

/// A row, or that there is none any more.
pub(crate) type Change = (Bytes, Option<Bytes>);

/// Rows as they were last, of a part of a bundle.
#[derive(Default)]
pub(crate) struct Part {
    /// By the first bytes of their keys: most scans look at rows of one kind, of which there are none here.
    changes: BTreeMap<u8, Vec<Change>>,
    /// What its rows take.
    pub(crate) bytes: usize,
    /// What all its writes take, also those that others have replaced since.
    pub(crate) written_bytes: usize,
}

impl Part {
    /// All rows of several parts, the newest first: a row may be there more than once.
    pub(crate) fn joined<'a>(parts: impl Iterator<Item = &'a Part>) -> Part {
        let mut joined = Part::default();
        for part in parts {
            for (first, changes) in &part.changes {
                joined.changes.entry(*first).or_default().extend_from_slice(changes);
            }
            joined.bytes += part.bytes;
            joined.written_bytes += part.written_bytes;
        }
        joined
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The changes of rows whose keys begin as this one.
    pub(crate) fn changes_like(&mut self, key: &[u8]) -> &mut Vec<Change> {
        self.changes.entry(first_byte(key)).or_default()
    }

    /// The changes in `start <= key < end`, where an empty `end` is no bound.
    pub(crate) fn within<'a>(&'a self, start: &'a [u8], end: &'a [u8]) -> impl Iterator<Item = &'a Change> {
        let last = end.first().copied().unwrap_or(u8::MAX).max(first_byte(start));
        let is_inside = move |key: &[u8]| key >= start && (end.is_empty() || key < end);
        self.changes.range(first_byte(start)..=last).flat_map(|(_, it)| it).filter(move |(key, _)| is_inside(key))
    }
}

fn first_byte(key: &[u8]) -> u8 {
    key.first().copied().unwrap_or(0)
}

/// Changes in key order, each row once: as it is where it is first.
pub(crate) fn in_order<C: Borrow<Change>>(mut changes: Vec<C>) -> Vec<C> {
    fn key<C: Borrow<Change>>(change: &C) -> &Bytes {
        &change.borrow().0
    }
    changes.sort_by(|a, b| key(a).cmp(key(b)));
    changes.dedup_by(|a, b| key(a) == key(b));
    changes
}

/// What to write of some parts, the newest first, so that all of their rows are there.
pub(crate) fn rows_of(parts: &[Arc<Part>]) -> Vec<&Change> {
    in_order(parts.iter().flat_map(|part| part.changes.values().flatten()).collect())
}
