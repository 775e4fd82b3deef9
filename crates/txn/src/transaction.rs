//! One transaction.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use strata_env::Mono;
use strata_types::{
    Error, ErrorCode, Item, LockWait, Result, Revision, Slot, Space, SpaceKey, Timestamp, Transaction as Identity,
    TransactionId,
    limits::{KEY_BYTES_MAX, TRANSACTION_AGE_MAX},
};

use crate::commit::Commit;
use crate::core::Core;
use crate::locks::{Locked, Locks, changed};
use crate::parts::split;
use crate::reads::{ReadSet, version_of};
use crate::writes::WriteBuffer;
use crate::{BeginOptions, Savepoint, TransactionHandle, TransactionScan};

/// Most keys that are read again so that a transaction may go on with newer data.
const MOVED_READS_MAX: usize = 64;
/// Reads of one transaction under way at once.
const READS_AT_ONCE: usize = 16;

/// A transaction that is open: reads see what was committed when it began, and its own writes; nobody sees its writes
/// before it commits. Dropped without that, it leaves nothing behind.
pub struct Transaction {
    pub(crate) core: Arc<Core>,
    id: TransactionId,
    opened: Mono,
    pub(crate) space: Space,
    pub(crate) deadline: Duration,
    age: Option<Timestamp>,
    /// `None` until it has to read.
    read_timestamp: Option<Timestamp>,
    pub(crate) reads: ReadSet,
    pub(crate) writes: WriteBuffer,
    locks: Locks,
}

impl Transaction {
    /// A transaction that has asked nobody yet.
    pub(crate) fn open(core: Arc<Core>, options: BeginOptions) -> Transaction {
        Transaction {
            id: core.fresh_id(),
            opened: core.env().now(),
            space: options.space,
            deadline: options.deadline.unwrap_or(core.options.deadline),
            age: options.age,
            read_timestamp: None,
            reads: ReadSet::default(),
            writes: WriteBuffer::default(),
            locks: Locks::new(core.clone()),
            core,
        }
    }

    /// The timestamp at which it reads. It is taken when the first read needs it.
    pub(crate) async fn begun(&mut self) -> Result<Timestamp> {
        if let Some(at) = self.read_timestamp {
            return Ok(at);
        }
        let at = self.core.begin(self.deadline).await?;
        Ok(self.note_begun(at))
    }

    fn note_begun(&mut self, at: Timestamp) -> Timestamp {
        self.age.get_or_insert(at);
        *self.read_timestamp.insert(at)
    }

    /// Which one it is, and what finds it again when its commit gets no answer. Before it has written something the
    /// anchor may still change, and before it has read something it may have no timestamp yet; locking a
    /// key may raise it. [`crate::Transactions::settle`] needs the last one, which the error of the commit names.
    pub fn handle(&self) -> TransactionHandle {
        TransactionHandle::from(&self.identity(Slot::of_key(&[])))
    }

    /// What it reads was committed up to here. Zero while it has not begun to read. Locking a key that was changed
    /// since may raise it, if nothing is lost by that.
    pub fn read_timestamp(&self) -> Timestamp {
        self.read_timestamp.unwrap_or_default()
    }

    /// The age of its first attempt: give it to the next one ([`BeginOptions::age`]). Zero while it has none.
    pub fn age(&self) -> Timestamp {
        self.age.unwrap_or_default()
    }

    /// Whether there is something to commit.
    pub(crate) fn has_writes(&self) -> bool {
        !self.writes.is_empty()
    }

    /// Bytes of the keys and bounds that it has read and must find unchanged.
    pub fn read_bytes(&self) -> usize {
        self.reads.size()
    }

    /// From now on its operations are about keys of another space.
    pub fn with_space(&mut self, space: Space) -> &mut Transaction {
        self.space = space;
        self
    }

    /// From now on each of its calls may take this long.
    pub fn with_deadline(&mut self, deadline: Duration) -> &mut Transaction {
        self.deadline = deadline;
        self
    }

    /// Reads one key. What the transaction itself has written has neither revision nor timestamp yet: both are zero.
    pub async fn get(&mut self, key: impl Into<Bytes>) -> Result<Option<Item>> {
        let key = self.key(key)?;
        match self.writes.get(&key) {
            Some(own) => Ok(own_item(&key.key, own)),
            None => self.read(key).await,
        }
    }

    /// Reads one key that is going to be written, and keeps others from doing the same: they wait, so that hot keys are
    /// changed by one transaction after the other. With [`LockWait::SkipLocked`] a key that another one has locked is
    /// absent.
    pub async fn get_for_update(&mut self, key: impl Into<Bytes>, wait: LockWait) -> Result<Option<Item>> {
        let key = self.key(key)?;
        if self.age.is_none() {
            self.begun().await?;
        }
        let newest = match self.locks.lock(self.identity(key.slot()), &key, wait, self.deadline).await? {
            Locked::Held { changed } => changed,
            Locked::Skipped => return Ok(None),
        };
        if let Some(own) = self.writes.get(&key) {
            return Ok(own_item(&key.key, own));
        }
        if self.read_timestamp.is_some_and(|at| at < newest) {
            self.move_up(&key, newest).await?;
        }
        // The lock binds only those who ask for locks. What the key holds at the read timestamp is told by a read
        // there, which also keeps later writes above it.
        self.read(key).await
    }

    /// Writes one key when the transaction commits.
    pub async fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Result<()> {
        self.write(key, Some(value.into()))
    }

    /// Removes one key when the transaction commits.
    pub async fn delete(&mut self, key: impl Into<Bytes>) -> Result<()> {
        self.write(key, None)
    }

    /// The items from `start` up to but not including `end` in key order, at most `limit` of them, the own writes among
    /// them. Nothing is asked before the first page. When the transaction commits, the part of the range that was
    /// returned must hold the same keys as it did.
    pub fn scan(&self, start: impl Into<Bytes>, end: Option<Bytes>, limit: Option<u64>) -> TransactionScan {
        TransactionScan::new(self.space, start.into(), end, limit)
    }

    /// All items of a range: see [`Transaction::scan`].
    pub async fn scan_all(
        &mut self,
        start: impl Into<Bytes>,
        end: Option<Bytes>,
        limit: Option<u64>,
    ) -> Result<Vec<Item>> {
        let mut scan = self.scan(start, end, limit);
        let mut items = Vec::new();
        while let Some(mut page) = scan.next_page(self).await? {
            items.append(&mut page);
        }
        Ok(items)
    }

    /// Marks the present state of its writes.
    pub fn savepoint(&mut self) -> Savepoint {
        self.writes.savepoint()
    }

    /// Takes back the writes made since a savepoint, which stays. Reads and locks stay, too.
    pub fn rollback_to(&mut self, savepoint: Savepoint) -> Result<()> {
        self.writes.rollback_to(savepoint)
    }

    /// Makes its writes seen, all at once, if nothing that it has read was changed meanwhile. Returns their timestamp;
    /// the read timestamp if there are none.
    ///
    /// An error whose outcome is `unknown` means that nobody could tell in time: ask [`crate::Transactions::outcome`]
    /// or [`crate::Transactions::settle`] with the handle. Once sent, the commit goes on even if nobody waits for it.
    pub async fn commit(mut self) -> Result<Timestamp> {
        let Some(anchor) = self.writes.anchor().filter(|_| self.has_writes()) else {
            return Ok(self.read_timestamp());
        };
        self.check_age()?;
        self.reads.check_limits()?;
        self.writes.check_bytes(self.reads.size())?;
        let at = self.begun().await?;
        let map = self.core.map(self.deadline).await?;
        let transaction = Identity { id: self.id, anchor, read_timestamp: at, age: self.age() };
        let parts = split(&map, transaction, &self.reads, &self.writes)?;
        let (core, deadline) = (self.core.clone(), self.deadline);
        Commit { core, transaction, parts, locks: self.locks, deadline }.spawn().await
    }

    /// Gives up: its writes are forgotten and its locks given back when this returns, at the latest after a few
    /// seconds.
    pub async fn rollback(self) {
        self.locks.release().await;
    }

    /// As others know it. `otherwise`: the anchor as long as it has written nothing.
    fn identity(&self, otherwise: Slot) -> Identity {
        let anchor = self.writes.anchor().unwrap_or(otherwise);
        Identity { id: self.id, anchor, read_timestamp: self.read_timestamp(), age: self.age() }
    }

    fn key(&self, key: impl Into<Bytes>) -> Result<SpaceKey> {
        let key = SpaceKey { space: self.space, key: key.into() };
        match key.key.len() {
            length if length > KEY_BYTES_MAX => {
                let message = format!("a key of {length} bytes is over the limit of {KEY_BYTES_MAX} bytes");
                Err(Error::not_applied(ErrorCode::TooLarge, message))
            }
            _ => Ok(key),
        }
    }

    /// Reads a key at the read timestamp, and records that.
    async fn read(&mut self, key: SpaceKey) -> Result<Option<Item>> {
        let item = match self.read_timestamp {
            Some(at) => self.core.get(&key, at, self.deadline).await?,
            None => {
                let (at, item) = self.core.begin_get(&key, self.deadline).await?;
                self.note_begun(at);
                item
            }
        };
        self.reads.note_key(&key, version_of(item.as_ref()));
        Ok(item)
    }

    fn write(&mut self, key: impl Into<Bytes>, value: Option<Bytes>) -> Result<()> {
        self.check_age()?;
        let key = self.key(key)?;
        self.writes.set(key, value)
    }

    fn check_age(&self) -> Result<()> {
        let age = self.core.env().now().since(self.opened);
        if age <= TRANSACTION_AGE_MAX {
            return Ok(());
        }
        let message = format!(
            "the transaction has been open for {} s; one that writes may be for {} s at most; nothing was written; try \
             again with a new transaction",
            age.as_secs(),
            TRANSACTION_AGE_MAX.as_secs()
        );
        Err(Error::not_applied(ErrorCode::SnapshotTooOld, message))
    }

    /// Goes on with a newer read timestamp, at which the locked `key` that was changed at `newest` can be read, if
    /// everything that was read so far is the same there (COORD-2).
    async fn move_up(&mut self, key: &SpaceKey, newest: Timestamp) -> Result<()> {
        if self.reads.has_ranges() || self.reads.count() > MOVED_READS_MAX {
            return Err(changed(key, newest));
        }
        let at = self.core.begin(self.deadline).await?;
        let (core, deadline) = (&self.core, self.deadline);
        let again = self.reads.keys().map(|(key, version)| async move {
            let item = core.get(key, at, deadline).await?;
            if version_of(item.as_ref()) == *version {
                return Ok(());
            }
            Err(changed(key, item.map_or(at, |item| item.timestamp)))
        });
        let again: Vec<_> = again.collect();
        let mut again = stream::iter(again).buffer_unordered(READS_AT_ONCE);
        while let Some(result) = again.next().await {
            result?;
        }
        drop(again);
        self.read_timestamp = Some(at);
        Ok(())
    }
}

/// What the transaction has written itself, as it reads it.
pub(crate) fn own_item(key: &Bytes, value: Option<Bytes>) -> Option<Item> {
    let (revision, timestamp) = (Revision::default(), Timestamp::default());
    value.map(|value| Item { key: key.clone(), value, revision, timestamp })
}
