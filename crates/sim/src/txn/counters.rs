//! [`Story::Counters`] and [`Story::Sets`]: nothing that was acknowledged is lost, and nothing is done twice.

use std::collections::BTreeMap;

use strata_types::Result;

use super::book::{Book, Fate, Step};
use super::desk::Desk;
use super::story::Story;
use super::work::Work;

const COUNTERS: u64 = 2;
/// A new set is begun after so many milliseconds.
const SET_LIFE: u64 = 10_000;

fn counter(number: u64) -> String {
    format!("c/{number}")
}

impl Desk {
    pub(crate) async fn count(&mut self) -> Result<()> {
        let key = counter(self.dice.between(0, COUNTERS - 1));
        if self.dice.chance(200) {
            let (mut notes, snapshot) = self.snapshot(Story::Counters).await?;
            let value = notes.look(&snapshot, &key).await?.map_or(0, |stored| stored.number());
            self.book.count(notes.entry, &key, value);
            notes.committed(Some(snapshot.timestamp()));
            return Ok(());
        }
        let locks = self.dice.chance(600);
        self.transact(Work::Raise { key, locks }).await
    }

    pub(crate) async fn add(&mut self) -> Result<()> {
        let part = self.book.part(SET_LIFE);
        if self.dice.chance(400) {
            let (mut notes, snapshot) = self.snapshot(Story::Sets).await?;
            notes.look_over(&snapshot, &format!("s/{part}/"), &format!("s/{part}0")).await?;
            notes.committed(Some(snapshot.timestamp()));
            return Ok(());
        }
        let mut attempt = self.begin(Story::Sets).await?;
        for _ in 0..self.dice.between(1, 3) {
            let element = format!("s/{part}/{}", self.book.fresh_unique());
            attempt.notes.put(&mut attempt.txn, &element, "").await?;
        }
        self.finish(attempt).await.map(drop)
    }

    /// SIM-TXN-5: a counter is as high as it was raised, and all elements of a set are there that were added. After
    /// everything has healed.
    pub(crate) async fn final_counts(&mut self) -> Result<()> {
        let (raised, added) = (raised(&self.book), added(&self.book));
        let (mut notes, snapshot) = self.snapshot(Story::Counters).await?;
        for (key, (least, most)) in raised {
            let value = notes.look(&snapshot, &key).await?.map_or(0, |stored| stored.number());
            if !(least..=most).contains(&value) {
                let text = format!("SIM-TXN-5 counters: {key} is {value}, and was raised {least} to {most} times");
                self.book.report(text);
            }
        }
        let found = notes.look_over(&snapshot, "s/", "s0").await?;
        for element in added.into_iter().filter(|element| !found.iter().any(|(key, _)| key == element)) {
            self.book.report(format!("SIM-TXN-5 sets: {element} was added, and is lost"));
        }
        notes.committed(Some(snapshot.timestamp()));
        Ok(())
    }
}

/// How often each counter was raised, at least and at most.
fn raised(book: &Book) -> BTreeMap<String, (i64, i64)> {
    let mut raised: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    for entry in book.entries().into_iter().filter(|entry| entry.story == Story::Counters) {
        let (least, most) = match entry.fate {
            Fate::Committed { .. } => (1, 1),
            Fate::Unknown(_) => (0, 1),
            Fate::Open | Fate::Aborted => (0, 0),
        };
        for step in entry.steps {
            if let Step::Write { key, .. } = step {
                let counted = raised.entry(key).or_default();
                *counted = (counted.0 + least, counted.1 + most);
            }
        }
    }
    raised
}

fn added(book: &Book) -> Vec<String> {
    let entries = book.entries().into_iter();
    let committed = entries.filter(|entry| entry.story == Story::Sets && matches!(entry.fate, Fate::Committed { .. }));
    let key = |step| match step {
        Step::Write { key, .. } => Some(key),
        _ => None,
    };
    committed.flat_map(|entry| entry.steps).filter_map(key).collect()
}
