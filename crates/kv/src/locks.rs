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
use strata_types::{SpaceKey, Timestamp, Transaction, TransactionId};

/// A lock whose owner was not heard of for this long is free.
const IDLE_MAX: Duration = Duration::from_secs(5);
/// One who waits and was not heard of for this long does not wait any more.
const WAITING_MAX: Duration = Duration::from_millis(200);
/// Wounds are remembered for this long: the transaction has noticed by then.
const WOUND_MAX: Duration = Duration::from_secs(60);

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
}

/// The lock of one key.
#[derive(Debug, Default)]
struct Lock {
    owner: Option<Transaction>,
    /// Those who wait, and when they last said so.
    waiting: BTreeMap<Turn, (Transaction, Mono)>,
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
    /// When those who wait no more were last looked for.
    swept: Mono,
}

impl Locks {
    /// Asks for a lock. Who does not get it and `waits` is remembered: nobody younger overtakes it.
    pub(crate) fn ask(&mut self, transaction: &Transaction, key: &SpaceKey, waits: bool, now: Mono) -> Grant {
        self.drop_idle(now);
        if let Some((by, _)) = self.wounded.get(&transaction.id) {
            return Grant::Wounded { by: *by };
        }
        if let Some(owner) = self.owners.get_mut(&transaction.id) {
            owner.heard = now;
        }
        let own = turn_of(transaction);
        let lock = self.locks.entry(key.clone()).or_default();
        lock.waiting.retain(|_, (_, heard)| is_waiting(*heard, now));
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
        if let Some((by, _)) = self.wounded.get(&transaction) {
            return Err(*by);
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
    pub(crate) fn known(&self, now: Mono) -> Vec<Known> {
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
            lock.waiting.values().filter(|(_, heard)| is_waiting(*heard, now)).map(of).collect::<Vec<_>>()
        };
        self.owners.iter().map(owner).chain(self.locks.values().flat_map(waiting)).collect()
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
        if self.locks.get(key).is_some_and(|lock| lock.owner.is_none() && lock.waiting.is_empty()) {
            self.locks.remove(key);
        }
    }

    fn drop_idle(&mut self, now: Mono) {
        let idle = |owner: &Owner| now.since(owner.heard) > IDLE_MAX;
        let gone: Vec<_> = self.owners.iter().filter(|(_, owner)| idle(owner)).map(|(id, _)| *id).collect();
        for id in gone {
            self.take_all(id);
        }
        self.wounded.retain(|_, (_, at)| now.since(*at) <= WOUND_MAX);
        // Perhaps nobody asks for their keys any more.
        if now.since(self.swept) > IDLE_MAX {
            self.swept = now;
            self.locks.retain(|_, lock| {
                lock.waiting.retain(|_, (_, heard)| is_waiting(*heard, now));
                lock.owner.is_some() || !lock.waiting.is_empty()
            });
        }
    }
}

fn is_waiting(heard: Mono, now: Mono) -> bool {
    now.since(heard) <= WAITING_MAX
}

#[cfg(test)]
mod tests {
    use strata_types::{Slot, Space};

    use super::*;

    fn transaction(age: u64) -> Transaction {
        let id = TransactionId(u128::from(age));
        let anchor = Slot::new(0).expect("a slot");
        Transaction { id, anchor, read_timestamp: Timestamp(age), age: Timestamp(age) }
    }

    fn key(name: &'static str) -> SpaceKey {
        SpaceKey { space: Space::default(), key: name.into() }
    }

    fn at(millis: u64) -> Mono {
        Mono(Duration::from_millis(millis))
    }

    const fn id(age: u64) -> TransactionId {
        TransactionId(age as u128)
    }

    /// KV-8
    #[test]
    fn the_younger_waits_and_the_older_takes_the_lock_away() {
        let mut locks = Locks::default();
        assert_eq!(locks.ask(&transaction(5), &key("a"), true, at(0)), Grant::Held);
        assert_eq!(locks.ask(&transaction(9), &key("a"), true, at(1)), Grant::Taken { by: id(5) });
        assert_eq!(locks.ask(&transaction(2), &key("a"), true, at(2)), Grant::Held);
        assert_eq!(locks.ask(&transaction(5), &key("b"), true, at(3)), Grant::Wounded { by: id(2) });
        assert_eq!(locks.commit(id(5), at(3)), Err(id(2)));
        let waits: Vec<_> = locks.known(at(3)).into_iter().filter_map(|known| known.waits_for).collect();
        assert_eq!(waits, [id(2)]);
    }

    #[test]
    fn who_commits_keeps_its_locks() {
        let mut locks = Locks::default();
        assert_eq!(locks.ask(&transaction(5), &key("a"), true, at(0)), Grant::Held);
        assert_eq!(locks.commit(id(5), at(1)), Ok(()));
        assert_eq!(locks.ask(&transaction(2), &key("a"), true, at(2)), Grant::Taken { by: id(5) });
        assert!(locks.release(id(5)));
        assert_eq!(locks.ask(&transaction(9), &key("a"), true, at(3)), Grant::Taken { by: id(2) }, "in their turn");
        assert_eq!(locks.ask(&transaction(2), &key("a"), true, at(4)), Grant::Held);
    }

    #[test]
    fn who_falls_silent_loses_its_lock_and_its_turn() {
        let mut locks = Locks::default();
        assert_eq!(locks.ask(&transaction(2), &key("a"), true, at(0)), Grant::Held);
        assert_eq!(locks.ask(&transaction(5), &key("a"), true, at(4_000)), Grant::Taken { by: id(2) });
        assert_eq!(locks.ask(&transaction(9), &key("a"), true, at(5_100)), Grant::Held);
        assert_eq!(locks.ask(&transaction(9), &key("a"), true, at(9_000)), Grant::Held, "asking again renews");
        assert_eq!(locks.ask(&transaction(11), &key("a"), false, at(13_000)), Grant::Taken { by: id(9) });
        assert!(locks.known(at(13_000)).iter().all(|known| known.waits_for.is_none()), "who does not wait has no turn");
    }

    #[test]
    fn what_nobody_has_or_waits_for_takes_no_memory() {
        let mut locks = Locks::default();
        for name in ["a", "b", "c"] {
            assert_eq!(locks.ask(&transaction(2), &key(name), true, at(0)), Grant::Held);
        }
        let known = locks.known(at(7));
        assert_eq!((known.len(), known[0].locks, known[0].silent), (1, 3, Duration::from_millis(7)));
        assert!(locks.release(id(2)) && !locks.release(id(2)));
        assert!(locks.locks.is_empty() && locks.owners.is_empty());

        // One that gives up while it waits, and nobody asks for that key again.
        assert_eq!(locks.ask(&transaction(2), &key("a"), true, at(0)), Grant::Held);
        assert_eq!(locks.ask(&transaction(5), &key("a"), true, at(1)), Grant::Taken { by: id(2) });
        assert_eq!(locks.known(at(1)).len(), 2);
        assert!(locks.release(id(2)) && !locks.release(id(5)));
        assert_eq!(locks.known(at(1_000)), []);
        assert_eq!(locks.ask(&transaction(7), &key("b"), true, at(6_000)), Grant::Held);
        assert_eq!(locks.locks.len(), 1);
    }
}
