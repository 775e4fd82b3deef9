//! [`Story::Lists`], [`Story::Registers`] and those two that are special cases of the latter: [`Story::Fork`] and
//! [`Story::Reverse`]. The cycle checker judges them.

use std::time::Duration;

use strata_types::Result;

use super::desk::Desk;
use super::story::Story;

/// Few, so that transactions meet.
const KEYS: u64 = 4;
/// Lists are begun anew after so many milliseconds, because each append writes all of one.
const LIST_LIFE: u64 = 15_000;
/// So long keys are written for the first time.
const FORK_LIFE: u64 = 1_500;
/// So long pairs are written.
const PAIR_LIFE: u64 = 1_000;

impl Desk {
    pub(crate) async fn lists(&mut self) -> Result<()> {
        let part = self.book.part(LIST_LIFE);
        let count = self.dice.between(1, 6);
        let keys: Vec<String> = (0..count).map(|_| format!("l/{part}/{}", self.dice.between(0, KEYS - 1))).collect();
        if self.dice.chance(250) {
            let (mut notes, snapshot) = self.snapshot(Story::Lists).await?;
            for key in &keys {
                let stored = notes.look(&snapshot, key).await?;
                notes.listed(key, stored);
            }
            notes.committed(Some(snapshot.timestamp()));
            return Ok(());
        }
        let mut attempt = self.begin(Story::Lists).await?;
        for key in &keys {
            let (notes, txn) = (&mut attempt.notes, &mut attempt.txn);
            match self.dice.between(0, 9) {
                0..=4 => notes.append(txn, key).await?,
                5 => notes.tease(txn, key).await?,
                _ => drop(notes.list(txn, key).await?),
            }
            self.think().await;
        }
        self.finish(attempt).await.map(drop)
    }

    pub(crate) async fn registers(&mut self) -> Result<()> {
        let mut attempt = self.begin(Story::Registers).await?;
        for _ in 0..self.dice.between(1, 5) {
            let key = format!("r/{}", self.dice.between(0, KEYS - 1));
            let wait = self.wait();
            let (notes, txn) = (&mut attempt.notes, &mut attempt.txn);
            match self.dice.between(0, 9) {
                0..=3 => notes.put(txn, &key, "").await?,
                4 => notes.tease(txn, &key).await?,
                5 => drop(notes.get_for_update(txn, &key, wait).await?),
                _ => drop(notes.get(txn, &key).await?),
            }
            self.think().await;
        }
        self.finish(attempt).await.map(drop)
    }

    /// Each key of a group is written by one transaction, which reads nothing; others read all keys.
    pub(crate) async fn fork(&mut self) -> Result<()> {
        let part = self.book.part(FORK_LIFE);
        let key = |number: u64| format!("f/{part}/{number}");
        if self.dice.chance(400) {
            let mut attempt = self.begin(Story::Fork).await?;
            let number = self.dice.between(0, KEYS - 1);
            attempt.notes.put(&mut attempt.txn, &key(number), "").await?;
            return self.finish(attempt).await.map(drop);
        }
        let first = self.dice.between(0, KEYS - 1);
        let (mut notes, snapshot) = self.snapshot(Story::Fork).await?;
        for number in 0..KEYS {
            notes.look(&snapshot, &key((first + number) % KEYS)).await?;
            self.think().await;
        }
        notes.committed(Some(snapshot.timestamp()));
        Ok(())
    }

    /// One transaction after the other; or somebody reads what several have written so.
    pub(crate) async fn reverse(&mut self) -> Result<()> {
        let part = self.book.part(PAIR_LIFE);
        if self.dice.chance(500) {
            for _ in 0..3 {
                let mut attempt = self.begin(Story::Reverse).await?;
                let key = format!("v/{part}/{}", self.book.fresh_unique());
                attempt.notes.put(&mut attempt.txn, &key, "").await?;
                if !self.finish(attempt).await? {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(self.dice.between(0, 3))).await;
            }
            return Ok(());
        }
        let (mut notes, snapshot) = self.snapshot(Story::Reverse).await?;
        notes.look_over(&snapshot, &format!("v/{part}/"), &format!("v/{part}0")).await?;
        notes.committed(Some(snapshot.timestamp()));
        Ok(())
    }
}
