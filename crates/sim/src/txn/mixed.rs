//! [`Story::Mixed`]: transactions on the registers of those clients that know of no transactions. Each register must be
//! linearizable for all of them together: as one single operation, a transaction reads it and writes it at once.

use bytes::Bytes;
use strata_check::{Answer, Call, OperationId};
use strata_types::Result;

use super::book::Fate;
use super::desk::{Attempt, Desk};
use super::story::Story;
use crate::client::some_key;

/// What a transaction does to one key.
struct Effect {
    key: String,
    found: Option<Option<Bytes>>,
    /// `Some(None)`: it is removed.
    written: Option<Option<Bytes>>,
}

impl Effect {
    fn call(&self) -> (Call, Answer) {
        match (self.found.clone(), self.written.clone()) {
            (Some(found), None) => (Call::Get, Answer::Value(found)),
            (Some(expected), Some(value)) => (Call::CompareAndSet { expected, value }, Answer::Done),
            (None, Some(Some(value))) => (Call::Put { value }, Answer::Done),
            // Whether there was something is not told.
            (None, Some(None) | None) => (Call::Delete, Answer::Done),
        }
    }
}

impl Desk {
    pub(crate) async fn mix(&mut self) -> Result<()> {
        let mut keys = [some_key(&self.record, &mut self.dice), some_key(&self.record, &mut self.dice)].to_vec();
        keys.dedup();
        let began = self.record.now();
        if self.dice.chance(500) {
            let (mut notes, snapshot) = self.snapshot(Story::Mixed).await?;
            for key in keys {
                let found = notes.look_foreign(&snapshot, &key).await?;
                let (call, answer) = Effect { key: key.clone(), found: Some(found), written: None }.call();
                let id = self.record.invoke_at(self.book.fresh_client(), &key, call, began);
                self.record.end(id, Some(answer));
            }
            notes.committed(Some(snapshot.timestamp()));
            return Ok(());
        }
        let mut attempt = self.begin(Story::Mixed).await?;
        let mut effects = Vec::new();
        for key in keys {
            let (kind, wait) = (self.dice.between(0, 9), strata_types::LockWait::Wait);
            let asked = attempt.notes.before_read(&attempt.txn);
            let txn = &mut attempt.txn;
            let found = match kind {
                0..=1 => None,
                2..=3 => Some(txn.get_for_update(key.clone(), wait).await?.map(|item| item.value)),
                _ => Some(txn.get(key.clone()).await?.map(|item| item.value)),
            };
            attempt.notes.after_read(asked, txn);
            let value = Bytes::from(format!("t{}", self.book.fresh_unique()));
            let written = match kind {
                0..=6 => Some(Some(value)),
                7 => Some(None),
                _ => None,
            };
            match &written {
                Some(Some(value)) => txn.put(key.clone(), value.clone()).await?,
                Some(None) => txn.delete(key.clone()).await?,
                None => {}
            }
            effects.push(Effect { key, found, written });
            self.think().await;
        }
        self.commit_mixed(attempt, effects, began).await
    }

    async fn commit_mixed(&mut self, attempt: Attempt, effects: Vec<Effect>, began: u64) -> Result<()> {
        // Noted before it is sent: whoever dies now has perhaps done it.
        let mut noted: Vec<(OperationId, Answer)> = Vec::new();
        for effect in &effects {
            let (call, answer) = effect.call();
            noted.push((self.record.invoke_at(self.book.fresh_client(), &effect.key, call, began), answer));
        }
        let entry = attempt.notes.entry;
        let done = self.finish(attempt).await;
        match self.book.fate(entry) {
            Fate::Committed { .. } => noted.into_iter().for_each(|(id, answer)| self.record.end(id, Some(answer))),
            Fate::Aborted => noted.into_iter().for_each(|(id, _)| self.record.end(id, None)),
            Fate::Open | Fate::Unknown(_) => {}
        }
        done.map(drop)
    }
}
