//! What there is in the end: most keys would not be read any more.

use std::collections::{BTreeMap, BTreeSet};

use strata_types::Result;

use super::book::{Book, Step};
use super::desk::Desk;
use super::stored::Stored;
use super::story::Story;

/// All keys but those of clients that know of no transactions.
const RANGES: [(&str, &str); 2] = [("a", "k"), ("l", "z")];

impl Desk {
    /// After everything has healed: reads every key that transactions have written, at one timestamp. SIM-TXN-1 and
    /// SIM-TXN-2 are about this reader as about any other.
    pub(crate) async fn read_all(&mut self) -> Result<()> {
        // Of no story whose own checker would have to know all keys.
        let (mut notes, snapshot) = self.snapshot(Story::Registers).await?;
        let mut found: BTreeMap<String, Stored> = BTreeMap::new();
        for (start, end) in RANGES {
            found.extend(notes.look_over(&snapshot, start, end).await?);
        }
        for list in lists(&self.book) {
            let stored = found.remove(&list);
            notes.listed(&list, stored);
        }
        notes.committed(Some(snapshot.timestamp()));
        Ok(())
    }
}

fn lists(book: &Book) -> BTreeSet<String> {
    let steps = book.entries().into_iter().flat_map(|entry| entry.steps);
    let list = |step| match step {
        Step::Append { key, .. } => Some(key),
        _ => None,
    };
    steps.filter_map(list).collect()
}
