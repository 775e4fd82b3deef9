//! The rows that were written last, before RocksDB.
//!
//! # Why
//! RocksDB's memtable is a skip list, and keeps each write of a row until it is flushed. So the way to one row leads over
//! some twenty others that no processor cache holds, and whoever changes a row goes it twice: to read the old row and to
//! write the new one. Here a row is found at once, and replaced where it lies. RocksDB gets files: all rows of them in
//! order, each once.
//!
//! # Model
//! ```text
//!   write --> table    k1: v9   k2: removed          how rows are found
//!             bundle   k2: removed   k1: v9          what was written last, in no order
//!             waiting  [k7 k1 k4]  [k1 k3 k9]        full bundles
//!             runs     [k1 k2 k3]  [k0 ... k9]       in order, by a thread of the node: how ranges are read
//!                        |
//!              RocksDB  files                        a flush makes one of all of it
//! ```
//! What a flush takes along is found in the *former* table from then on: while the flush goes on because RocksDB does not
//! have it, and afterwards because it is quicker, until the node needs the room for others or the next flush begins.
//! A snapshot shares what was written: it ends a part of the bundle, and changes after it are in the next part.

use std::mem;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use strata_storage::{WriteBatch, WriteOp};

use crate::budget::Budget;
use crate::bundle::Bundle;
use crate::item::Item;
use crate::part::Part;
use crate::run::{FAN_IN, Owed, Run};
use crate::table::{SLOT_BYTES, Table};

/// What a write counts for beside its key and its value: what it costs to make it again from the log depends more on how
/// many there are than on how long they are.
const WRITE_BYTES: usize = 128;

/// A longer buffer is not kept.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// What a batch takes as recent rows, at most.
pub(crate) fn size_of(batch: &WriteBatch) -> usize {
    batch.bytes() + batch.ops().len() * (SLOT_BYTES + Item::bytes_of(0))
}

/// What is needed here no more. To free it takes its time.
pub(crate) type Forgotten = Box<dyn Send>;

/// The rows written last, of one tablet.
pub(crate) struct Recent {
    table: Table,
    former: Table,
    /// Whether RocksDB has all rows of the former table.
    is_former_stored: bool,
    bundle: Bundle,
    /// Full bundles, the newest first.
    waiting: Vec<Arc<Part>>,
    /// What is in order, the newest first.
    runs: Vec<Arc<Run>>,
    /// So many of the runs, the oldest, are on their way to RocksDB, and what was written of them.
    leaving: usize,
    leaving_written_bytes: u64,
    /// What all this takes.
    bytes: usize,
    /// What of that the items of the table take that nobody else has any more. During a flush it is those of the table
    /// that became the former one.
    kept_bytes: usize,
    /// All writes that RocksDB may not have yet, also those that others have replaced since.
    written_bytes: u64,
    /// Where items are put together.
    buffer: Vec<u8>,
    budget: Arc<Budget>,
}

impl Recent {
    /// No rows yet.
    pub(crate) fn new(budget: Arc<Budget>) -> Recent {
        Recent {
            table: Table::default(),
            former: Table::default(),
            is_former_stored: true,
            bundle: Bundle::default(),
            waiting: Vec::new(),
            runs: Vec::new(),
            leaving: 0,
            leaving_written_bytes: 0,
            bytes: 0,
            kept_bytes: 0,
            written_bytes: 0,
            buffer: Vec::new(),
            budget,
        }
    }

    /// The row, if it is here: it may be here as one that is no more.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Option<Bytes>> {
        self.table.get(key).or_else(|| self.former.get(key)).map(Item::to_value)
    }

    /// Whether there is room for a batch, also for others while these rows cannot be flushed.
    pub(crate) fn has_room(&self, batch: &WriteBatch, is_held_up: bool) -> bool {
        let more = size_of(batch);
        let is_fair = || !is_held_up || self.budget.leaves_room(self.bytes - self.stored_bytes(), more);
        self.budget.has_room(self.bytes, more) && is_fair()
    }

    /// Takes a batch. Returns whether a bundle became full.
    pub(crate) fn put(&mut self, batch: &WriteBatch) -> bool {
        let before = self.bytes;
        for op in batch.ops() {
            match op {
                WriteOp::Put(key, value) => self.set(key, Some(value)),
                WriteOp::Delete(key) => self.set(key, None),
            }
        }
        if self.buffer.capacity() > BUFFER_BYTES_MAX {
            self.buffer = Vec::new();
        }
        self.written_bytes += (batch.bytes() + batch.ops().len() * WRITE_BYTES) as u64;
        self.budget.changed(before, self.bytes);
        let is_full = self.bundle.bytes() > self.budget.bundle_bytes_max();
        if is_full {
            self.end_bundle();
        }
        is_full
    }

    fn set(&mut self, key: &[u8], value: Option<&[u8]>) {
        let item = Item::new(key, value, &mut self.buffer);
        let (after, rows) = (item.bytes(), self.table.len());
        let before = self.bundle.put(item.clone(), |place| self.table.put(item, place));
        self.bytes = self.bytes + (self.table.len() - rows) * SLOT_BYTES + after - before;
    }

    fn end_bundle(&mut self) {
        self.waiting.splice(0..0, self.bundle.end());
    }

    /// What all of it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// How much RocksDB may not have yet.
    pub(crate) fn owed_bytes(&self) -> usize {
        self.parts().map(|part| part.bytes).chain(self.runs.iter().map(|run| run.bytes)).sum()
    }

    /// What is in no order, the newest first.
    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.bundle.parts().chain(self.waiting.iter().map(Arc::as_ref))
    }

    /// How many bytes of writes RocksDB may not have yet, also of those that others have replaced since.
    pub(crate) fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    /// What RocksDB may not have yet of `start <= key < end`, where an empty `end` is no bound: what is in no order, the
    /// newest first, and runs. Who writes waits for this, perhaps for a thread that others go before: it is put in order
    /// elsewhere.
    pub(crate) fn owed_within(&self, start: &[u8], end: &[u8]) -> (Vec<Item>, Vec<Arc<Run>>) {
        (self.parts().flat_map(|part| part.within(start, end)).cloned().collect(), self.runs.clone())
    }

    /// All that RocksDB may not have yet. What is written from now on is in another part.
    pub(crate) fn share(&mut self) -> Owed {
        let parts = self.bundle.share().iter().chain(&self.waiting).cloned().collect();
        Owed { parts, runs: self.runs.clone() }
    }

    /// The full bundles, the newest first.
    pub(crate) fn waiting(&self) -> Vec<Arc<Part>> {
        self.waiting.clone()
    }

    /// The oldest full bundles, so many, are a run now.
    pub(crate) fn ordered(&mut self, count: usize, run: Run) -> Forgotten {
        let parts = self.waiting.split_off(self.waiting.len() - count);
        let before: usize = parts.iter().map(|part| part.bytes).sum();
        self.replaced(before, run.bytes);
        self.runs.insert(0, Arc::new(run));
        Box::new(parts)
    }

    /// Runs that should be one, and where they are. Those on their way to RocksDB stay as they are.
    pub(crate) fn due(&self) -> Option<(Range<usize>, Vec<Arc<Run>>)> {
        let mut first = 0;
        for alike in self.runs[..self.runs.len() - self.leaving].chunk_by(|a, b| a.level == b.level) {
            let range = first..first + alike.len();
            if alike.len() >= FAN_IN {
                return Some((range, alike.to_vec()));
            }
            first = range.end;
        }
        None
    }

    /// Some runs are one now.
    pub(crate) fn merged(&mut self, range: Range<usize>, run: Run) -> Forgotten {
        let after = run.bytes;
        let former: Vec<_> = self.runs.splice(range, [Arc::new(run)]).collect();
        self.replaced(former.iter().map(|run| run.bytes).sum(), after);
        Box::new(former)
    }

    fn replaced(&mut self, before: usize, after: usize) {
        self.bytes = self.bytes + after - before;
        self.budget.changed(before, after);
    }

    /// Draws the line: what was written before it is what a flush takes along. Returns the bundles of it that wait, and
    /// what is forgotten; `None` if RocksDB has everything.
    pub(crate) fn begin_flush(&mut self) -> Option<(Vec<Arc<Part>>, Forgotten)> {
        self.end_bundle();
        if self.waiting.is_empty() && self.runs.is_empty() {
            return None;
        }
        // After a flush that failed there is no room for another table: what it took along goes with this one.
        let mut forgotten = Table::default();
        if self.is_former_stored {
            forgotten = mem::replace(&mut self.former, mem::take(&mut self.table));
            self.is_former_stored = false;
            self.replaced(forgotten.all_bytes(), 0);
        }
        self.leaving_written_bytes = self.written_bytes;
        Some((self.waiting.clone(), Box::new(forgotten)))
    }

    /// All that lies behind the line is in order: what RocksDB is to have. It is owed until it is [stored](Recent::stored).
    pub(crate) fn leave(&mut self) -> Vec<Arc<Run>> {
        self.leaving = self.runs.len();
        self.runs.clone()
    }

    /// RocksDB has not taken what was leaving.
    pub(crate) fn stay(&mut self) {
        self.leaving = 0;
    }

    /// RocksDB has what was leaving.
    pub(crate) fn stored(&mut self) -> Forgotten {
        let runs = self.runs.split_off(self.runs.len() - mem::take(&mut self.leaving));
        self.written_bytes -= mem::take(&mut self.leaving_written_bytes);
        self.is_former_stored = true;
        let before = runs.iter().map(|run| run.bytes).sum::<usize>() + self.kept_bytes;
        // What the former table has, nobody shares any more; nor what of the table is not owed: there is some when a
        // flush before failed.
        self.kept_bytes = self.table.items_bytes().saturating_sub(self.owed_bytes());
        self.replaced(before, self.former.items_bytes() + self.kept_bytes);
        Box::new(runs)
    }

    /// How much could be [forgotten](Recent::forget).
    pub(crate) fn stored_bytes(&self) -> usize {
        let former = if self.is_former_stored { self.former.all_bytes() } else { 0 };
        former + if self.written_bytes == 0 { self.table.own_bytes() + self.kept_bytes } else { 0 }
    }

    /// Forgets rows that RocksDB has. Returns `None` if there are none.
    pub(crate) fn forget(&mut self) -> Option<Forgotten> {
        let bytes = self.stored_bytes();
        let is_all_stored = self.written_bytes == 0;
        let mut table = Table::default();
        if is_all_stored {
            mem::swap(&mut table, &mut self.table);
            self.kept_bytes = 0;
        }
        let former = if self.is_former_stored { mem::take(&mut self.former) } else { Table::default() };
        self.replaced(bytes, 0);
        (bytes > 0).then(|| -> Forgotten { Box::new((table, former)) })
    }
}

impl Drop for Recent {
    fn drop(&mut self) {
        self.budget.changed(self.bytes, 0);
    }
}

#[cfg(test)]
mod tests;
