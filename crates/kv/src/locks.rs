//! Locks in a leader's memory: who may go on first.
//!
//! A transaction that reads a key in order to change it locks the key, so that others wait instead of working in vain.
//! Locks give progress only (KV-8): what makes a commit right is checked when it is applied. So they may be lost with the
//! leader, be taken away, and end by a clock.
//!
//! An older transaction takes a lock away from a younger one (wound-wait), unless that one is committing already: then
//! it waits, which cannot take long. A younger one waits for an older one. So nobody waits in a circle, and the oldest of
//! all gets on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use strata_env::Mono;
use strata_types::{
    SpaceKey, Timestamp, Transaction, TransactionId,
    limits::{SHARD_LOCK_BYTES_MAX, TRANSACTION_LOCKS_MAX},
};

/// A lock whose owner was not heard of for this long is free.
const IDLE_MAX: Duration = Duration::from_secs(5);
/// One who waits and was not heard of for this long does not wait any more.
const WAITING_MAX: Duration = Duration::from_millis(200);
/// Wounds are remembered for this long: the transaction has noticed by then.
const WOUND_MAX: Duration = Duration::from_secs(60);
/// How often all that is kept is looked through for what nobody needs: not for each of those who ask again and again.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// What a lock takes beside its key, in all places where it is noted.
const LOCK_OVERHEAD: usize = 256;

/// Who goes before whom: by age, then by id.
type Turn = (Timestamp, TransactionId);

fn turn_of(transaction: &Transaction) -> Turn {
    (transaction.age, transaction.id)
}

/// What came of asking for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grant {
    /// It has the lock.
    Held,
    /// Another one has it, or is to have it first.
    Taken {
        /// Who.
        by: TransactionId,
    },
    /// An older transaction took a lock away from it.
    Wounded {
        /// Which one.
        by: TransactionId,
    },
    /// It has as many locks here as one may have.
    TooMany,
    /// All locks here take as much memory as they may.
    NoRoom,
}

/// The lock of one key.
#[derive(Debug, Default)]
struct Lock {
    owner: Option<Transaction>,
    /// Those who wait, and when they last said so.
    waiting: BTreeMap<Turn, (Transaction, Mono)>,
}

impl Lock {
    fn is_unused(&self) -> bool {
        self.owner.is_none() && self.waiting.is_empty()
    }
}

/// What is known of a transaction here, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) transaction: Transaction,
    pub(crate) locks: usize,
    pub(crate) silent: Duration,
    pub(crate) waits_for: Option<TransactionId>,
}

/// A transaction that has locks.
#[derive(Debug)]
struct Owner {
    transaction: Transaction,
    keys: BTreeSet<SpaceKey>,
    heard: Mono,
    /// It is being committed: its locks are not taken away.
    is_committing: bool,
}

/// The locks of one shard.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    locks: BTreeMap<SpaceKey, Lock>,
    owners: BTreeMap<TransactionId, Owner>,
    wounded: BTreeMap<TransactionId, (TransactionId, Mono)>,
    /// What `locks` take.
    bytes: usize,
    /// When all of it was last looked through.
    swept: Mono,
}

impl Locks {
    /// Asks for a lock. Who does not get it and `waits` is remembered: nobody younger overtakes it.
    pub(crate) fn ask(&mut self, transaction: &Transaction, key: &SpaceKey, waits: bool, now: Mono) -> Grant {
        if now.since(self.swept) >= SWEEP_INTERVAL {
            self.sweep(now);
        }
        if let Some(by) = self.wounded_by(transaction.id, now) {
            return Grant::Wounded { by };
        }
        // Who fell silent since the sweep is in nobody's way.
        let holder = self.locks.get(key).and_then(|lock| lock.owner);
        self.drop_idle(transaction.id, now);
        if let Some(holder) = holder {
            self.drop_idle(holder.id, now);
        }
        if let Some(owner) = self.owners.get_mut(&transaction.id) {
            owner.heard = now;
        }
        if let Some(refusal) = self.refusal(transaction.id, key) {
            return refusal;
        }
        let own = turn_of(transaction);
        let key = &self.place_of(key);
        let lock = self.locks.entry(key.clone()).or_default();
        while let Some(first) = lock.waiting.first_entry()
            && !is_waiting(first.get().1, now)
        {
            first.remove();
        }
        let holder = lock.owner.filter(|owner| owner.id != transaction.id);
        let rival = match holder {
            Some(holder) => {
                let is_committing = self.owners.get(&holder.id).is_some_and(|owner| owner.is_committing);
                (is_committing || turn_of(&holder) < own).then_some(holder.id)
            }
            None if lock.owner.is_some() => None,
            None => lock.waiting.first_key_value().filter(|(first, _)| **first < own).map(|(first, _)| first.1),
        };
        if let Some(by) = rival {
            if waits {
                lock.waiting.insert(own, (*transaction, now));
            }
            self.forget_unused(key);
            return Grant::Taken { by };
        }
        lock.waiting.remove(&own);
        lock.owner = Some(*transaction);
        if let Some(holder) = holder {
            self.wound(holder.id, transaction.id, now);
        }
        let fresh = || Owner { transaction: *transaction, keys: BTreeSet::new(), heard: now, is_committing: false };
        self.owners.entry(transaction.id).or_insert_with(fresh).keys.insert(key.clone());
        Grant::Held
    }

    /// A transaction is about to be committed here. Who was wounded is told.
    pub(crate) fn commit(&mut self, transaction: TransactionId, now: Mono) -> Result<(), TransactionId> {
        if let Some(by) = self.wounded_by(transaction, now) {
            return Err(by);
        }
        if let Some(owner) = self.owners.get_mut(&transaction) {
            owner.is_committing = true;
            owner.heard = now;
        }
        Ok(())
    }

    /// Gives back all locks of a transaction. Returns whether there were any.
    pub(crate) fn release(&mut self, transaction: TransactionId) -> bool {
        self.wounded.remove(&transaction);
        self.take_all(transaction)
    }

    /// Those that have locks, how many each and how long they were silent; and those that wait, with who has what they
    /// wait for.
    pub(crate) fn known(&mut self, now: Mono) -> Vec<Known> {
        // Perhaps nobody asks for locks any more, and those of the dead would be shown for ever.
        self.sweep(now);
        let owner = |(_, owner): (&TransactionId, &Owner)| {
            let (transaction, locks) = (owner.transaction, owner.keys.len());
            Known { transaction, locks, silent: now.since(owner.heard), waits_for: None }
        };
        let waiting = |lock: &Lock| {
            let waits_for = lock.owner.map(|owner| owner.id);
            let of = |(transaction, heard): &(Transaction, Mono)| Known {
                transaction: *transaction,
                locks: 0,
                silent: now.since(*heard),
                waits_for,
            };
            lock.waiting.values().map(of).collect::<Vec<_>>()
        };
        self.owners.iter().map(owner).chain(self.locks.values().flat_map(waiting)).collect()
    }

    /// Why it cannot have one more lock.
    fn refusal(&self, transaction: TransactionId, key: &SpaceKey) -> Option<Grant> {
        let owner = self.owners.get(&transaction);
        if owner.is_some_and(|owner| owner.keys.len() >= TRANSACTION_LOCKS_MAX && !owner.keys.contains(key)) {
            return Some(Grant::TooMany);
        }
        let is_new = !self.locks.contains_key(key);
        (is_new && self.bytes + size(key) > SHARD_LOCK_BYTES_MAX).then_some(Grant::NoRoom)
    }

    /// The key as it is kept. That of a request is part of a message.
    fn place_of(&mut self, key: &SpaceKey) -> SpaceKey {
        match self.locks.get_key_value(key) {
            Some((kept, _)) => kept.clone(),
            None => {
                self.bytes += size(key);
                key.detached()
            }
        }
    }

    /// Who took a lock away from it, unless it must have noticed.
    fn wounded_by(&self, transaction: TransactionId, now: Mono) -> Option<TransactionId> {
        let (by, at) = self.wounded.get(&transaction)?;
        (now.since(*at) <= WOUND_MAX).then_some(*by)
    }

    fn wound(&mut self, loser: TransactionId, by: TransactionId, now: Mono) {
        self.take_all(loser);
        self.wounded.insert(loser, (by, now));
    }

    fn take_all(&mut self, transaction: TransactionId) -> bool {
        let Some(owner) = self.owners.remove(&transaction) else { return false };
        for key in &owner.keys {
            if let Some(lock) = self.locks.get_mut(key)
                && lock.owner.is_some_and(|owner| owner.id == transaction)
            {
                lock.owner = None;
            }
            self.forget_unused(key);
        }
        true
    }

    fn forget_unused(&mut self, key: &SpaceKey) {
        if self.locks.get(key).is_some_and(Lock::is_unused) {
            self.locks.remove(key);
            self.bytes -= size(key);
        }
    }

    fn drop_idle(&mut self, transaction: TransactionId, now: Mono) {
        if self.owners.get(&transaction).is_some_and(|owner| is_idle(owner, now)) {
            self.take_all(transaction);
        }
    }

    fn sweep(&mut self, now: Mono) {
        self.swept = now;
        let gone: Vec<_> = self.owners.iter().filter(|(_, owner)| is_idle(owner, now)).map(|(id, _)| *id).collect();
        for id in gone {
            self.take_all(id);
        }
        self.wounded.retain(|_, (_, at)| now.since(*at) <= WOUND_MAX);
        let bytes = &mut self.bytes;
        self.locks.retain(|key, lock| {
            lock.waiting.retain(|_, (_, heard)| is_waiting(*heard, now));
            let is_unused = lock.is_unused();
            if is_unused {
                *bytes -= size(key);
            }
            !is_unused
        });
    }
}

fn is_idle(owner: &Owner, now: Mono) -> bool {
    now.since(owner.heard) > IDLE_MAX
}

fn is_waiting(heard: Mono, now: Mono) -> bool {
    now.since(heard) <= WAITING_MAX
}

/// What the lock of a key takes.
fn size(key: &SpaceKey) -> usize {
    key.key.len() + LOCK_OVERHEAD
}

#[cfg(test)]
mod tests;
