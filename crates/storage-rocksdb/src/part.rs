//! Rows that were written one after the other.

use std::collections::BTreeMap;

use crate::item::Item;

/// Rows as they were last, of a part of a bundle.
#[derive(Default)]
pub(crate) struct Part {
    /// By the first bytes of their keys: most scans look at rows of one kind, of which there are none here.
    items: BTreeMap<u8, Vec<Item>>,
    /// What they take.
    pub(crate) bytes: usize,
}

impl Part {
    /// All rows of several parts, the newest first: a row may be there more than once.
    pub(crate) fn joined<'a>(parts: impl Iterator<Item = &'a Part>) -> Part {
        let mut joined = Part::default();
        for part in parts {
            for (first, items) in &part.items {
                joined.items.entry(*first).or_default().extend_from_slice(items);
            }
            joined.bytes += part.bytes;
        }
        joined
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The rows whose keys begin as this one.
    pub(crate) fn items_like(&mut self, key: &[u8]) -> &mut Vec<Item> {
        self.items.entry(first_byte(key)).or_default()
    }

    /// All rows, in no order.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Item> {
        self.items.values().flatten()
    }

    /// The rows in `start <= key < end`, where an empty `end` is no bound.
    pub(crate) fn within<'a>(&'a self, start: &'a [u8], end: &'a [u8]) -> impl Iterator<Item = &'a Item> {
        let last = end.first().copied().unwrap_or(u8::MAX).max(first_byte(start));
        let is_inside = move |key: &[u8]| key >= start && (end.is_empty() || key < end);
        self.items.range(first_byte(start)..=last).flat_map(|(_, it)| it).filter(move |item| is_inside(item.key()))
    }
}

fn first_byte(key: &[u8]) -> u8 {
    key.first().copied().unwrap_or(0)
}

/// Rows in key order, each once: as it is where it is first.
pub(crate) fn in_order(mut items: Vec<Item>) -> Vec<Item> {
    items.sort_by(|a, b| a.key().cmp(b.key()));
    items.dedup_by(|a, b| a.key() == b.key());
    items
}
