//! What a tablet holds: recent rows, and RocksDB below them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use rocksdb::DBRawIterator;
use strata_storage::{StorageError, StorageResult, WriteBatch};

use crate::budget::Budget;
use crate::failure::Failure;
use crate::keeper::{Keeper, TabletId};
use crate::merge::Merge;
use crate::options::Shared;
use crate::part::Part;
use crate::recent::{Forgotten, Recent};
use crate::rocks::{NEW_FILES_MAX, Rocks};
use crate::run::{Owed, Rows, Run};

/// The rows of a tablet.
pub(crate) struct Tiers {
    rocks: Rocks,
    /// Rows that RocksDB may not have yet: they count before what it says.
    recent: RwLock<Recent>,
    /// Held by who gives rows to RocksDB.
    flushing: Mutex<()>,
    failure: Failure,
    /// Held by who puts rows in order: nobody else takes bundles away, or merges runs. Taken after `flushing`.
    tidying: Mutex<()>,
    /// Whether the node's threads have been told.
    is_order_due: AtomicBool,
    is_flush_due: AtomicBool,
    keeper: Arc<Keeper>,
    id: TabletId,
}

/// So often others make room for a batch before its own tablet does.
const ROUNDS_MAX: u32 = 3;

/// Whether a write may wait for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// It waits.
    Waits,
    /// It fails with [`StorageError::WouldBlock`] instead.
    Hurries,
}

impl Tiers {
    pub(crate) fn open(shared: &Shared, path: &Path, create: bool) -> StorageResult<Arc<Tiers>> {
        let rocks = Rocks::open(shared, path, create)?;
        let keeper = shared.keeper();
        let recent = RwLock::new(Recent::new(Arc::clone(keeper.budget())));
        Ok(Arc::clone(&keeper).add(|id| Tiers {
            rocks,
            recent,
            flushing: Mutex::default(),
            failure: Failure::default(),
            tidying: Mutex::default(),
            is_order_due: AtomicBool::new(false),
            is_flush_due: AtomicBool::new(false),
            keeper,
            id,
        }))
    }

    pub(crate) fn id(&self) -> TabletId {
        self.id
    }

    pub(crate) fn rocks(&self) -> &Rocks {
        &self.rocks
    }

    /// What is written and flushed between the two looks is found, or not: the caller cannot tell.
    pub(crate) fn get(
        &self,
        key: &[u8],
        below: impl FnOnce(&Rocks) -> StorageResult<Option<Bytes>>,
    ) -> StorageResult<Option<Bytes>> {
        if let Some(value) = self.recent.read().get(key) {
            return Ok(value);
        }
        below(&self.rocks)
    }

    pub(crate) fn multi_get(&self, keys: &[Bytes]) -> StorageResult<Vec<Option<Bytes>>> {
        let mut values: Vec<Option<Option<Bytes>>> = {
            let recent = self.recent.read();
            keys.iter().map(|key| recent.get(key)).collect()
        };
        let missing: Vec<&Bytes> = values.iter().zip(keys).filter(|(it, _)| it.is_none()).map(|(_, key)| key).collect();
        if !missing.is_empty() {
            let found = self.rocks.multi_get(&missing)?;
            for (value, found) in values.iter_mut().filter(|value| value.is_none()).zip(found) {
                *value = Some(found);
            }
        }
        Ok(values.into_iter().map(Option::flatten).collect())
    }

    /// What of a range RocksDB does not have, and RocksDB as it is at that moment: together one state.
    pub(crate) fn range(&self, start: &[u8], end: &[u8]) -> (Rows, Option<DBRawIterator<'_>>) {
        let recent = self.recent.read();
        let ((newest, runs), items) = (recent.owed_within(start, end), self.rocks.iterator(start, end));
        drop(recent);
        (Rows::new(newest, runs), items)
    }

    /// The same of all, to be kept.
    pub(crate) fn snapshot(&self) -> (Owed, rocksdb::Snapshot<'_>) {
        let mut recent = self.recent.write();
        (recent.share(), self.rocks.snapshot())
    }

    /// Writes a batch. Who hurries does not wait for room.
    pub(crate) fn write(&self, batch: &WriteBatch, patience: Patience) -> StorageResult<()> {
        self.failure.check_write()?;
        let mut rounds = 0;
        while !self.take(batch) {
            if patience == Patience::Hurries {
                self.keeper.make_room();
                return Err(StorageError::WouldBlock);
            }
            match rounds {
                // Where the node has room, this one is held up, and others cannot help it.
                ..ROUNDS_MAX if self.keeper.budget().is_tight() || !self.rocks.is_held_up() => self.wait_for_room()?,
                // What others leave is not enough for this one: who has nothing may take anything.
                _ => self.give_up_all()?,
            }
            rounds += 1;
        }
        Ok(())
    }

    /// Adds a batch to the recent rows, if there is room.
    fn take(&self, batch: &WriteBatch) -> bool {
        let is_held_up = self.rocks.is_held_up();
        let mut recent = self.recent.write();
        if !recent.has_room(batch, is_held_up) {
            return false;
        }
        let before = recent.bytes();
        let is_bundle_full = recent.put(batch);
        let is_step = Budget::is_step(before, recent.bytes());
        drop(recent);
        if is_bundle_full {
            self.have_put_in_order();
        }
        if is_bundle_full || is_step {
            self.keeper.make_room();
        }
        true
    }

    /// Has some tablet give up rows, this one if no other can.
    fn wait_for_room(&self) -> StorageResult<()> {
        if self.keeper.forget() {
            return Ok(());
        }
        match self.keeper.fullest() {
            Some(fullest) if fullest.id == self.id => self.flush(),
            // Not the fault of this one, which may have room of its own. The other one says so to its own callers.
            Some(fullest) if fullest.flush_or_wait().is_err() => self.flush(),
            Some(_) => Ok(()),
            None => self.give_up_all(),
        }
    }

    /// Flushes, or waits for who is at it: then there may be room.
    fn flush_or_wait(&self) -> StorageResult<()> {
        if self.flushing.try_lock().is_none() {
            drop(self.flushing.lock());
            return Ok(());
        }
        self.flush()
    }

    fn give_up_all(&self) -> StorageResult<()> {
        self.flush()?;
        if let Some(forgotten) = self.forget() {
            self.keeper.free(forgotten);
        }
        Ok(())
    }

    fn have_put_in_order(&self) {
        if !self.is_order_due.swap(true, Ordering::SeqCst) {
            self.keeper.put_in_order(self.id);
        }
    }

    /// Puts full bundles in order, and makes one run of many.
    pub(crate) fn put_in_order(&self) {
        // Before the look: who comes later is not overlooked.
        self.is_order_due.store(false, Ordering::SeqCst);
        let _alone = self.tidying.lock();
        // One statement each: nobody waits for the lock while rows are put in order.
        let waiting = self.recent.read().waiting();
        self.order(&waiting);
        loop {
            let due = self.recent.read().due();
            let Some((range, runs)) = due else { return };
            let merged = Run::merged(&runs);
            let forgotten = self.recent.write().merged(range, merged);
            self.keeper.free(forgotten);
        }
    }

    /// Makes a run of the oldest full bundles. The caller is alone.
    fn order(&self, waiting: &[Arc<Part>]) {
        if waiting.is_empty() {
            return;
        }
        let run = Run::of(waiting);
        let forgotten = self.recent.write().ordered(waiting.len(), run);
        self.keeper.free(forgotten);
    }

    /// Gives RocksDB all that it does not have, as one file (ROCKS-3). Where it has many files to merge, it gets no other one,
    /// and nobody waits for that.
    pub(crate) fn flush(&self) -> StorageResult<()> {
        self.flush_by(NEW_FILES_MAX, |rows| self.rocks.add_file(rows))
    }

    /// The same, however many files there are. For what is done seldom.
    pub(crate) fn flush_anyway(&self) -> StorageResult<()> {
        self.flush_by(u64::MAX, |rows| self.rocks.add_file(rows))
    }

    fn flush_by(&self, files_max: u64, add: impl FnOnce(Merge<'_>) -> StorageResult<()>) -> StorageResult<()> {
        let _alone = self.flushing.lock();
        if self.recent.read().written_bytes() == 0 {
            return Ok(());
        }
        self.failure.check_flush()?;
        self.failure.note(self.rocks.check_accepts_files())?;
        // Not noted: it is over as soon as RocksDB has merged some.
        self.rocks.check_merged(files_max)?;
        self.failure.note(self.give(add))
    }

    fn give(&self, add: impl FnOnce(Merge<'_>) -> StorageResult<()>) -> StorageResult<()> {
        let Some(runs) = self.leave() else { return Ok(()) };
        let rows = Rows::new(Vec::new(), runs);
        if let Err(error) = add(rows.within(b"", b"")) {
            self.recent.write().stay();
            // A bundle ended, full or not: without that, such runs would pile up.
            self.have_put_in_order();
            return Err(error);
        }
        let forgotten = self.recent.write().stored();
        self.keeper.free(Box::new((forgotten, rows)));
        Ok(())
    }

    /// Draws the line of a flush. What lies behind it is in order then, and stays as it is.
    fn leave(&self) -> Option<Vec<Arc<Run>>> {
        let _alone = self.tidying.lock();
        let (waiting, forgotten) = self.recent.write().begin_flush()?;
        self.keeper.free(forgotten);
        self.order(&waiting);
        Some(self.recent.write().leave())
    }

    /// Whether it was not going to be flushed for room before.
    pub(crate) fn begins_flush_for_room(&self) -> bool {
        !self.is_flush_due.swap(true, Ordering::SeqCst)
    }

    /// Flushes because the node needs room.
    pub(crate) fn flush_for_room(&self) {
        if let Err(error) = self.flush() {
            // Who writes or flushes next hears of it, or who finds no room.
            tracing::debug!(path = %self.rocks.path().display(), %error, "a flush for room failed");
        }
        // Afterwards: until then it is the fullest still.
        self.is_flush_due.store(false, Ordering::SeqCst);
    }

    pub(crate) fn unflushed_bytes(&self) -> u64 {
        self.recent.read().written_bytes()
    }

    /// How much RocksDB may not have yet; 0 if somebody is busy with it, or a flush would fail again.
    pub(crate) fn owed_bytes(&self) -> usize {
        if self.failure.check_flush().is_err() || self.rocks.is_held_up() {
            return 0;
        }
        self.recent.try_read().map_or(0, |recent| recent.owed_bytes())
    }

    /// How much can be forgotten; 0 if somebody is busy with it.
    pub(crate) fn stored_bytes(&self) -> usize {
        self.recent.try_read().map_or(0, |recent| recent.stored_bytes())
    }

    #[cfg(test)]
    pub(crate) fn node_bytes(&self) -> usize {
        self.keeper.budget().node_bytes()
    }

    /// Forgets the rows that RocksDB has, if there are any.
    pub(crate) fn forget(&self) -> Option<Forgotten> {
        self.recent.write().forget()
    }

    /// Closes what nobody else asks for any more, as soon as the node's threads and other tablets' writers, who may be busy
    /// with it, have done what they do.
    pub(crate) fn close(self: Arc<Tiers>) {
        self.keeper.remove(self.id);
        while Arc::strong_count(&self) > 1 {
            drop(self.flushing.lock());
            thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests;
