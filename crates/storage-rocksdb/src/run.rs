//! Rows in order, which RocksDB does not have yet.

use std::sync::Arc;

use crate::item::Item;
use crate::merge::Merge;
use crate::part::{Part, in_order};

/// So many runs of a level become one of the next: who scans looks at each of them, and each row is copied once a level.
pub(crate) const FAN_IN: usize = 16;

/// Rows in key order, each once. It does not change.
pub(crate) struct Run {
    items: Vec<Item>,
    /// 0 for that of a bundle, one more for what was merged.
    pub(crate) level: u32,
    /// What it takes.
    pub(crate) bytes: usize,
}

impl Run {
    /// The rows of some parts, the newest first.
    pub(crate) fn of(parts: &[Arc<Part>]) -> Run {
        Run::new(rows_of(parts), 0)
    }

    /// The rows of some runs of a level, the newest first.
    pub(crate) fn merged(runs: &[Arc<Run>]) -> Run {
        let level = runs.iter().map(|run| run.level).max().unwrap_or(0) + 1;
        Run::new(Merge::new(runs.iter().map(|run| run.items.as_slice())).cloned().collect(), level)
    }

    fn new(items: Vec<Item>, level: u32) -> Run {
        Run { bytes: items.iter().map(Item::bytes).sum(), items, level }
    }

    /// What is in `start <= key < end`, where an empty `end` is no bound.
    fn within(&self, start: &[u8], end: &[u8]) -> &[Item] {
        within(&self.items, start, end)
    }
}

fn rows_of(parts: &[Arc<Part>]) -> Vec<Item> {
    in_order(parts.iter().flat_map(|part| part.all()).cloned().collect())
}

fn within<'a>(items: &'a [Item], start: &[u8], end: &[u8]) -> &'a [Item] {
    let from = items.partition_point(|item| item.key() < start);
    let rest = &items[from..];
    match end {
        [] => rest,
        end => &rest[..rest.partition_point(|item| item.key() < end)],
    }
}

/// All that RocksDB did not have at one moment. It is shared, not copied.
#[derive(Clone, Default)]
pub(crate) struct Owed {
    /// What nobody has put in order, the newest first.
    pub(crate) parts: Vec<Arc<Part>>,
    /// What was written before, the newest first.
    pub(crate) runs: Vec<Arc<Run>>,
}

impl Owed {
    /// The same in order. It takes its time.
    pub(crate) fn in_order(&self) -> Rows {
        Rows { newest: rows_of(&self.parts), runs: self.runs.clone() }
    }
}

/// Rows in order that RocksDB did not have at one moment.
pub(crate) struct Rows {
    newest: Vec<Item>,
    runs: Vec<Arc<Run>>,
}

impl Rows {
    /// Some items, the newest of a row first, and what was written before.
    pub(crate) fn new(newest: Vec<Item>, runs: Vec<Arc<Run>>) -> Rows {
        Rows { newest: in_order(newest), runs }
    }

    fn lists(&self) -> impl Iterator<Item = &[Item]> {
        std::iter::once(self.newest.as_slice()).chain(self.runs.iter().map(|run| run.items.as_slice()))
    }

    /// The row, if it is here: it may be here as one that is no more.
    pub(crate) fn get(&self, key: &[u8]) -> Option<&Item> {
        self.lists().find_map(|items| {
            let at = items.binary_search_by(|item| item.key().cmp(key)).ok()?;
            Some(&items[at])
        })
    }

    /// What is in `start <= key < end`, where an empty `end` is no bound, in key order.
    pub(crate) fn within(&self, start: &[u8], end: &[u8]) -> Merge<'_> {
        let runs = self.runs.iter().map(|run| run.within(start, end));
        Merge::new(std::iter::once(within(&self.newest, start, end)).chain(runs))
    }
}
