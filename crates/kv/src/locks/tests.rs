//! Who gets a lock, and what locks take.

use std::sync::Arc;

use bytes::Bytes;
use strata_types::{Slot, Space, limits::KEY_BYTES_MAX};

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
    assert!(locks.locks.is_empty() && locks.owners.is_empty() && locks.bytes == 0);

    // One that gives up while it waits, and nobody asks for that key again.
    assert_eq!(locks.ask(&transaction(2), &key("a"), true, at(0)), Grant::Held);
    assert_eq!(locks.ask(&transaction(5), &key("a"), true, at(1)), Grant::Taken { by: id(2) });
    assert_eq!(locks.known(at(1)).len(), 2);
    assert!(locks.release(id(2)) && !locks.release(id(5)));
    assert_eq!(locks.known(at(1_000)), []);
    assert_eq!(locks.ask(&transaction(7), &key("b"), true, at(6_000)), Grant::Held);
    assert_eq!(locks.locks.len(), 1);
}

#[test]
fn not_everything_is_looked_through_at_every_question_and_the_silent_are_in_nobodys_way() {
    let mut locks = Locks::default();
    assert_eq!(locks.ask(&transaction(2), &key("a"), true, at(0)), Grant::Held);
    assert_eq!(locks.ask(&transaction(3), &key("b"), true, at(4_900)), Grant::Held);
    assert_eq!(locks.ask(&transaction(4), &key("c"), true, at(5_100)), Grant::Held);
    assert!(locks.owners.contains_key(&id(2)), "it was looked 200 ms ago");
    assert_eq!(locks.ask(&transaction(9), &key("a"), true, at(5_100)), Grant::Held, "but its lock is free");
    assert_eq!(locks.owners[&id(9)].keys.len(), 1);
    assert!(!locks.owners.contains_key(&id(2)));

    // Of those who wait, the same.
    assert_eq!(locks.ask(&transaction(11), &key("a"), true, at(5_100)), Grant::Taken { by: id(9) });
    assert!(locks.release(id(9)));
    assert_eq!(locks.ask(&transaction(12), &key("a"), true, at(5_200)), Grant::Taken { by: id(11) });
    assert_eq!(locks.ask(&transaction(12), &key("a"), true, at(5_301)), Grant::Held);
}

#[test]
fn locks_of_the_dead_are_not_shown() {
    let mut locks = Locks::default();
    assert_eq!(locks.ask(&transaction(2), &key("a"), true, at(0)), Grant::Held);
    assert_eq!(locks.known(at(5_000)).len(), 1);
    assert_eq!(locks.known(at(5_001)), []);
    assert_eq!(locks.bytes, 0);
}

#[test]
fn a_lock_keeps_no_message_in_memory() {
    let message: Arc<[u8]> = vec![7; 64 * 1024].into();
    let arrived = Bytes::from_owner(message.clone());
    let mut locks = Locks::default();
    let key = SpaceKey { space: Space::default(), key: arrived.slice(..9) };
    assert_eq!(locks.ask(&transaction(2), &key, true, at(0)), Grant::Held);
    assert_eq!(locks.ask(&transaction(5), &key, true, at(1)), Grant::Taken { by: id(2) });
    drop((arrived, key));
    assert_eq!(Arc::strong_count(&message), 1, "nobody else has the message");
}

#[test]
fn neither_one_nor_all_of_them_lock_without_end() {
    let numbered = |number: usize, length: usize| {
        let mut key = vec![b'k'; length];
        key[..8].copy_from_slice(&number.to_be_bytes());
        SpaceKey { space: Space::default(), key: key.into() }
    };
    let mut locks = Locks::default();
    for number in 0..TRANSACTION_LOCKS_MAX {
        assert_eq!(locks.ask(&transaction(2), &numbered(number, 8), true, at(0)), Grant::Held);
    }
    assert_eq!(locks.ask(&transaction(2), &key("a"), true, at(0)), Grant::TooMany);
    assert_eq!(locks.ask(&transaction(2), &numbered(7, 8), true, at(0)), Grant::Held, "it has that one");
    assert_eq!(locks.ask(&transaction(5), &key("a"), true, at(0)), Grant::Held, "others go on");
    assert!(locks.release(id(2)) && locks.release(id(5)));

    let full = SHARD_LOCK_BYTES_MAX / (KEY_BYTES_MAX + LOCK_OVERHEAD);
    for number in 0..full {
        assert_eq!(locks.ask(&transaction(2), &numbered(number, KEY_BYTES_MAX), true, at(0)), Grant::Held);
    }
    let more = numbered(full, KEY_BYTES_MAX);
    assert_eq!(locks.ask(&transaction(5), &more, true, at(0)), Grant::NoRoom);
    let held = numbered(0, KEY_BYTES_MAX);
    assert_eq!(locks.ask(&transaction(5), &held, true, at(0)), Grant::Taken { by: id(2) }, "it takes no more");
    assert!(locks.release(id(2)));
    assert_eq!(locks.ask(&transaction(5), &more, true, at(0)), Grant::Held);
}
