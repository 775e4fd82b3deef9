//! A transaction that is written down while it runs.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use strata_txn::{Snapshot, Transaction, TransactionHandle};
use strata_types::{ClientId, Error, Item, LockWait, Outcome, Result, Timestamp};

use super::book::{Book, Fate, Step};
use super::stored::{Stored, digest, is_foreign, payload_of};
use super::story::Story;
use crate::time_rules::Asked;

/// The pen of one transaction. Given up without an end, it was aborted: nothing had been asked to commit.
pub(crate) struct Notes {
    book: Arc<Book>,
    pub(crate) entry: usize,
    wrote: BTreeSet<String>,
}

impl Drop for Notes {
    fn drop(&mut self) {
        if self.book.fate(self.entry) == Fate::Open {
            self.book.end(self.entry, Fate::Aborted);
        }
    }
}

impl Notes {
    pub(crate) fn open(book: &Arc<Book>, client: ClientId, story: Story) -> Notes {
        Notes { book: book.clone(), entry: book.open(client, story, false), wrote: BTreeSet::new() }
    }

    /// Of a reader at an old timestamp.
    pub(crate) fn open_past(book: &Arc<Book>, client: ClientId, story: Story) -> Notes {
        Notes { book: book.clone(), entry: book.open(client, story, true), wrote: BTreeSet::new() }
    }

    fn stored(&self, item: Item) -> (String, Stored) {
        let key = String::from_utf8_lossy(&item.key).into_owned();
        if is_foreign(&key) {
            return (key, Stored { unique: digest(&item.value), payload: String::new() });
        }
        let stored = Stored::decode(&item.value).unwrap_or_else(|| {
            self.book.report(format!("SIM-TXN-1 strict serializability: {key} holds what nobody wrote: {item:?}"));
            Stored { unique: u64::MAX, payload: String::new() }
        });
        (key, stored)
    }

    /// What a key held at a timestamp.
    pub(crate) fn read(&self, at: Timestamp, key: &str, item: Option<Item>) -> Option<Stored> {
        let stored = item.map(|item| self.stored(item).1);
        let (found, own) = (stored.as_ref().map(|stored| stored.unique), self.wrote.contains(key));
        self.book.step(self.entry, Step::Read { key: key.to_owned(), at, found, own });
        stored
    }

    /// What was known of timestamps before a read with which a transaction may begin.
    pub(crate) fn before_read(&self, txn: &Transaction) -> Option<Asked> {
        self.book.asked_for_time().filter(|_| txn.read_timestamp() == Timestamp(0))
    }

    /// The transaction may have begun since.
    pub(crate) fn after_read(&self, asked: Option<Asked>, txn: &Transaction) {
        if let Some(asked) = asked.filter(|_| txn.read_timestamp() > Timestamp(0)) {
            self.book.begun(asked, txn.read_timestamp());
        }
    }

    pub(crate) async fn get(&mut self, txn: &mut Transaction, key: &str) -> Result<Option<Stored>> {
        let asked = self.before_read(txn);
        let item = txn.get(key.to_owned()).await?;
        self.after_read(asked, txn);
        Ok(self.read(txn.read_timestamp(), key, item))
    }

    /// With [`LockWait::SkipLocked`] nothing is noted when nothing is found: it may be there.
    pub(crate) async fn get_for_update(
        &mut self,
        txn: &mut Transaction,
        key: &str,
        wait: LockWait,
    ) -> Result<Option<Stored>> {
        let asked = self.before_read(txn);
        let item = txn.get_for_update(key.to_owned(), wait).await?;
        self.after_read(asked, txn);
        if item.is_none() && wait == LockWait::SkipLocked {
            return Ok(None);
        }
        Ok(self.read(txn.read_timestamp(), key, item))
    }

    /// Only for ranges in which the transaction has written nothing.
    pub(crate) async fn scan(
        &mut self,
        txn: &mut Transaction,
        start: &str,
        end: &str,
    ) -> Result<Vec<(String, Stored)>> {
        let bound = Some(Bytes::copy_from_slice(end.as_bytes()));
        let asked = self.before_read(txn);
        let items = txn.scan_all(start.to_owned(), bound, None).await?;
        self.after_read(asked, txn);
        Ok(self.scanned(txn.read_timestamp(), start, end, items))
    }

    pub(crate) async fn look(&mut self, snapshot: &Snapshot, key: &str) -> Result<Option<Stored>> {
        let item = snapshot.get(key.to_owned()).await?;
        Ok(self.read(snapshot.timestamp(), key, item))
    }

    pub(crate) async fn look_over(
        &mut self,
        snapshot: &Snapshot,
        start: &str,
        end: &str,
    ) -> Result<Vec<(String, Stored)>> {
        let bound = Some(Bytes::copy_from_slice(end.as_bytes()));
        let items = snapshot.scan(start.to_owned(), bound, None).collect().await?;
        Ok(self.scanned(snapshot.timestamp(), start, end, items))
    }

    /// A key of those clients that know of no transactions.
    pub(crate) async fn look_foreign(&mut self, snapshot: &Snapshot, key: &str) -> Result<Option<Bytes>> {
        let item = snapshot.get(key.to_owned()).await?;
        self.read(snapshot.timestamp(), key, item.clone());
        Ok(item.map(|item| item.value))
    }

    fn scanned(&self, at: Timestamp, start: &str, end: &str, items: Vec<Item>) -> Vec<(String, Stored)> {
        let stored: Vec<(String, Stored)> = items.into_iter().map(|item| self.stored(item)).collect();
        let found = stored.iter().map(|(key, stored)| (key.clone(), stored.unique)).collect();
        let step = Step::Scan { start: start.to_owned(), end: end.to_owned(), at, found };
        self.book.step(self.entry, step);
        stored
    }

    pub(crate) async fn put(&mut self, txn: &mut Transaction, key: &str, payload: impl ToString) -> Result<()> {
        let stored = Stored { unique: self.book.fresh_unique(), payload: payload.to_string() };
        txn.put(key.to_owned(), stored.encode()).await?;
        self.wrote(key, Some(stored.unique));
        Ok(())
    }

    /// A value for a key, for whoever writes it by hand.
    pub(crate) fn write(&mut self, key: &str) -> Bytes {
        let stored = Stored { unique: self.book.fresh_unique(), payload: String::new() };
        self.wrote(key, Some(stored.unique));
        stored.encode()
    }

    fn wrote(&mut self, key: &str, unique: Option<u64>) {
        self.wrote.insert(key.to_owned());
        self.book.step(self.entry, Step::Write { key: key.to_owned(), unique });
    }

    pub(crate) async fn delete(&mut self, txn: &mut Transaction, key: &str) -> Result<()> {
        txn.delete(key.to_owned()).await?;
        self.wrote(key, None);
        Ok(())
    }

    /// Writes something and takes it back: nobody may ever see it.
    pub(crate) async fn tease(&mut self, txn: &mut Transaction, key: &str) -> Result<()> {
        let savepoint = txn.savepoint();
        let stored = Stored { unique: self.book.fresh_unique(), payload: String::new() };
        txn.put(key.to_owned(), stored.encode()).await?;
        txn.rollback_to(savepoint)
    }

    pub(crate) async fn list(&mut self, txn: &mut Transaction, key: &str) -> Result<Vec<u64>> {
        let stored = self.get(txn, key).await?;
        Ok(self.listed(key, stored))
    }

    pub(crate) fn listed(&self, key: &str, stored: Option<Stored>) -> Vec<u64> {
        let values = stored.map(|stored| stored.list()).unwrap_or_default();
        self.book.step(self.entry, Step::List { key: key.to_owned(), values: values.clone() });
        values
    }

    pub(crate) async fn append(&mut self, txn: &mut Transaction, key: &str) -> Result<()> {
        let mut values = self.list(txn, key).await?;
        let value = self.book.fresh_unique();
        values.push(value);
        self.put(txn, key, payload_of(&values)).await?;
        self.book.step(self.entry, Step::Append { key: key.to_owned(), value });
        Ok(())
    }

    /// It is going to be committed: from now on nobody knows what becomes of it.
    pub(crate) fn committing(&self, handle: TransactionHandle) {
        self.book.end(self.entry, Fate::Unknown(handle));
    }

    pub(crate) fn committed(&self, at: Option<Timestamp>) {
        self.book.end(self.entry, Fate::Committed { at, ended: self.book.now() });
    }

    /// The answer to its commit.
    pub(crate) fn answered(&self, answer: &Result<Timestamp>) {
        match answer {
            Ok(at) => self.committed(Some(*at)),
            Err(error) => self.failed(error),
        }
    }

    pub(crate) fn failed(&self, error: &Error) {
        self.book.note(format_args!("t{} failed: {error}", self.entry));
        if error.outcome == Outcome::NotApplied {
            self.book.end(self.entry, Fate::Aborted);
        }
    }
}
