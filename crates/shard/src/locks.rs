//! Locks: what transactions hold that are prepared and not decided (SHARD-7).
//!
//! ```text
//!                      another's intent   another's read lock    another's range lock
//!   who writes a key   blocked            blocked                blocked
//!   who reads a key    blocked            goes on                goes on
//! ```
//! Whoever is blocked has changed nothing, and is told by whom: it sees to it that that one is decided, and tries again.

use std::collections::BTreeSet;

use bytes::Bytes;
use strata_codec::{Intent, KeyKind, KeyLocks, RangeLocks, intent_key, intent_range, intent_user_key, range_locks_key};
use strata_machine::View;
use strata_types::{Part, Space, SpaceKey, SpaceRange, Timestamp, Transaction, TransactionId};

use crate::rows::{decode_locks, decoded, key_locks, shard_state};
use crate::work::Work;

/// Who is in the way, or what was made.
pub(crate) type Unless<T> = Result<T, Transaction>;

/// Whose undecided write stands on a key.
pub fn blocker_of(view: &dyn View, key: &SpaceKey) -> Option<Transaction> {
    match shard_state(view).prepared {
        0 => None,
        _ => writer_of(view, key).map(|intent| intent.transaction),
    }
}

pub(crate) fn writer_of(view: &dyn View, key: &SpaceKey) -> Option<Intent> {
    key_locks(view, key).writer
}

/// The first undecided write in a part of a key space that `wanted` wants.
pub(crate) fn first_writer(
    view: &dyn View,
    space: Space,
    start: &[u8],
    end: Option<&[u8]>,
    wanted: &dyn Fn(&[u8], &Intent) -> bool,
) -> Option<Transaction> {
    let (first, last) = intent_range(space, start, end);
    let mut found = None;
    if first < last {
        view.scan(&first, &last, &mut |key, row| {
            let writer = decode_locks(row.clone()).writer;
            found = writer.filter(|intent| wanted(intent_user_key(key), intent)).map(|intent| intent.transaction);
            found.is_none()
        });
    }
    found
}

/// Who asks, and which range locks others have: read once for a whole command.
pub(crate) struct Checker {
    own: Option<TransactionId>,
    has_locks: bool,
    ranges: Vec<RangeLocks>,
}

impl Checker {
    /// For a command that writes.
    pub(crate) fn new(work: &Work<'_>, own: Option<TransactionId>) -> Checker {
        let mut ranges = Vec::new();
        if work.state.ranged > 0 {
            let (first, last) = KeyKind::RangeLocks.range();
            work.view.scan(&first, &last, &mut |_, row| {
                let locks = decoded("range lock", RangeLocks::decode(row.clone()));
                if Some(locks.transaction.id) != own {
                    ranges.push(locks);
                }
                true
            });
        }
        Checker { own, has_locks: work.state.prepared > 0, ranges }
    }

    /// Whether a key may be written.
    pub(crate) fn write(&self, work: &Work<'_>, key: &SpaceKey) -> Unless<()> {
        if !self.has_locks {
            return Ok(());
        }
        let locks = key_locks(work.view, key);
        self.pass_writer(locks.writer.filter(|_| !mutated!(WriteLockIgnored)))?;
        if mutated!(SharedLockIgnored) {
            return Ok(());
        }
        if let Some(reader) = locks.readers.into_iter().find(|reader| Some(reader.id) != self.own) {
            return Err(reader);
        }
        match self.ranges.iter().find(|locks| locks.contains(key)) {
            Some(locks) => Err(locks.transaction),
            None => Ok(()),
        }
    }

    /// Whether the newest value of a key may be looked at.
    pub(crate) fn read(&self, work: &Work<'_>, key: &SpaceKey) -> Unless<()> {
        if !self.has_locks {
            return Ok(());
        }
        self.pass_writer(writer_of(work.view, key))
    }

    /// Whether a transaction may rely on what it has read, and may write what it wants to.
    pub(crate) fn part(&self, work: &Work<'_>, part: &Part) -> Unless<()> {
        if !self.has_locks {
            return Ok(());
        }
        part.writes.iter().try_for_each(|write| self.write(work, &write.key))?;
        if mutated!(IntentIgnoredByChecks) {
            return Ok(());
        }
        part.reads.iter().try_for_each(|key| self.read(work, key))?;
        part.ranges.iter().try_for_each(|range| self.range(work, range))
    }

    fn range(&self, work: &Work<'_>, range: &SpaceRange) -> Unless<()> {
        let foreign = |_: &[u8], intent: &Intent| Some(intent.transaction.id) != self.own;
        first_writer(work.view, range.space, &range.start, range.end.as_deref(), &foreign).map_or(Ok(()), Err)
    }

    fn pass_writer(&self, writer: Option<Intent>) -> Unless<()> {
        match writer {
            Some(intent) if Some(intent.transaction.id) != self.own => Err(intent.transaction),
            _ => Ok(()),
        }
    }
}

impl Work<'_> {
    /// Takes all locks of a part. Returns the keys that are locked now.
    pub(crate) fn lock(&mut self, part: &Part) -> Vec<SpaceKey> {
        let own = part.transaction;
        let mut keys = BTreeSet::new();
        for write in &part.writes {
            let mut locks = key_locks(self.view, &write.key);
            locks.readers.retain(|reader| reader.id != own.id);
            locks.writer = Some(Intent { transaction: own, stamp: self.stamp, value: write.value.clone() });
            self.view.put(intent_key(&write.key), locks.encode());
            keys.insert(write.key.clone());
        }
        // Whom a writer keeps away it keeps away from reading, too.
        for key in &part.reads {
            if keys.insert(key.clone()) {
                let mut locks = key_locks(self.view, key);
                let at = locks.readers.partition_point(|reader| reader.id < own.id);
                if locks.readers.get(at).is_none_or(|reader| reader.id != own.id) {
                    locks.readers.insert(at, own);
                }
                self.view.put(intent_key(key), locks.encode());
            }
        }
        if !part.ranges.is_empty() {
            let locks = RangeLocks { transaction: own, ranges: part.ranges.clone() };
            self.view.put(range_locks_key(own.id), locks.encode());
        }
        keys.into_iter().collect()
    }

    /// Gives back what a transaction holds of a key, and makes its write there, if it is committed at a timestamp.
    pub(crate) fn unlock(&mut self, key: &SpaceKey, id: TransactionId, commit_at: Option<Timestamp>) {
        let mut locks: KeyLocks = key_locks(self.view, key);
        if let Some(intent) = locks.writer.take_if(|intent| intent.transaction.id == id)
            && let Some(at) = commit_at
        {
            self.write(key, at, intent.value.as_deref());
        }
        locks.readers.retain(|reader| reader.id != id);
        match locks.is_empty() {
            true => self.view.delete(intent_key(key)),
            false => self.view.put(intent_key(key), locks.encode()),
        }
    }

    /// Gives back the locks of a transaction on ranges.
    pub(crate) fn unlock_ranges(&mut self, id: TransactionId) {
        self.view.delete(range_locks_key(id));
    }
}

/// The user key of a key within its space, shared.
pub(crate) fn in_space(space: Space, key: &Bytes) -> SpaceKey {
    SpaceKey { space, key: key.clone() }
}
