//! What a transaction wants to write: kept here until it commits.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use strata_router::check_limits;
use strata_types::{
    Error, ErrorCode, Operation, Result, Slot, Space, SpaceKey, SpaceWrite,
    limits::{TRANSACTION_BYTES_MAX, TRANSACTION_WRITES_MAX},
};

/// A value that is kept is copied if it is no longer than this: it may be a slice of a far larger buffer of a message.
/// The buffer of a longer one is not much larger than the value.
const COPIED_MAX: usize = 4 * 1024;

/// A point in a transaction to which its writes can be taken back: see [`crate::Transaction::rollback_to`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Savepoint(u64);

impl Savepoint {
    /// Its number within the transaction.
    pub fn number(self) -> u64 {
        self.0
    }

    /// The savepoint with this number.
    pub fn from_number(number: u64) -> Savepoint {
        Savepoint(number)
    }
}

/// Writes, one for each key, and what is needed to take them back.
#[derive(Debug, Default)]
pub(crate) struct WriteBuffer {
    /// The last value of each key, or that it is removed.
    writes: BTreeMap<SpaceKey, Option<Bytes>>,
    /// What each write since the first savepoint replaced.
    journal: Vec<(SpaceKey, Option<Option<Bytes>>)>,
    /// Their numbers, and how long the journal was.
    savepoints: Vec<(u64, usize)>,
    /// Given out so far.
    numbers: u64,
    /// The slot of the first write, which may have been taken back since.
    anchor: Option<Slot>,
    /// Of the writes and of what the journal keeps.
    bytes: usize,
}

impl WriteBuffer {
    /// Writes a key, or removes it. Refused when that is too much for one transaction: nothing has changed then.
    pub(crate) fn set(&mut self, key: SpaceKey, value: Option<Bytes>) -> Result<()> {
        check_limits(&match &value {
            Some(value) => Operation::Put { key: key.key.clone(), value: value.clone() },
            None => Operation::Delete { key: key.key.clone() },
        })?;
        let old = self.writes.get(&key);
        let count = self.writes.len() + usize::from(old.is_none());
        if count > TRANSACTION_WRITES_MAX {
            return Err(over("writes", count, TRANSACTION_WRITES_MAX));
        }
        let is_kept = !self.savepoints.is_empty();
        let freed = if is_kept { 0 } else { old.map_or(0, |old| size(&key, old)) };
        let bytes = self.bytes - freed + size(&key, &value);
        if bytes > TRANSACTION_BYTES_MAX {
            return Err(over("bytes", bytes, TRANSACTION_BYTES_MAX));
        }
        self.bytes = bytes;
        self.anchor.get_or_insert(key.slot());
        let key = key.detached();
        let value = value.map(|value| if value.len() <= COPIED_MAX { Bytes::copy_from_slice(&value) } else { value });
        let old = self.writes.insert(key.clone(), value);
        if is_kept {
            self.journal.push((key, old));
        }
        Ok(())
    }

    /// What this transaction has written to a key: `Some(None)` if it removed it.
    pub(crate) fn get(&self, key: &SpaceKey) -> Option<Option<Bytes>> {
        self.writes.get(key).cloned()
    }

    /// The writes of a range, in key order.
    pub(crate) fn in_range<'w>(
        &'w self,
        space: Space,
        start: &Bytes,
        end: Option<&Bytes>,
    ) -> impl Iterator<Item = (&'w Bytes, &'w Option<Bytes>)> + use<'w> {
        let key = |key: &Bytes| SpaceKey { space, key: key.clone() };
        let last = end.map_or(Bound::Unbounded, |end| Bound::Excluded(key(end.max(start))));
        let writes = self.writes.range((Bound::Included(key(start)), last));
        writes.take_while(move |(key, _)| key.space == space).map(|(key, value)| (&key.key, value))
    }

    /// Marks the present state.
    pub(crate) fn savepoint(&mut self) -> Savepoint {
        self.numbers += 1;
        self.savepoints.push((self.numbers, self.journal.len()));
        Savepoint(self.numbers)
    }

    /// Takes back every write since a savepoint, which stays; those made after it are gone.
    pub(crate) fn rollback_to(&mut self, savepoint: Savepoint) -> Result<()> {
        let Some(index) = self.savepoints.iter().position(|(number, _)| *number == savepoint.0) else {
            let message = format!("there is no savepoint {} in this transaction (any more)", savepoint.0);
            return Err(Error::not_applied(ErrorCode::InvalidArgument, message));
        };
        let length = self.savepoints[index].1;
        self.savepoints.truncate(index + 1);
        for (key, old) in self.journal.drain(length..).rev() {
            match old {
                Some(old) => self.writes.insert(key, old),
                None => self.writes.remove(&key),
            };
        }
        let kept = self.journal.iter().filter_map(|(key, old)| old.as_ref().map(|old| size(key, old)));
        let live = self.writes.iter().map(|(key, value)| size(key, value));
        self.bytes = kept.chain(live).sum();
        Ok(())
    }

    /// The slot of the key that was written first, for ever: whoever was told it asks there (COORD-6).
    pub(crate) fn anchor(&self) -> Option<Slot> {
        self.anchor
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// All writes, in the order of their keys.
    pub(crate) fn writes(&self) -> impl Iterator<Item = SpaceWrite> {
        self.writes.iter().map(|(key, value)| SpaceWrite { key: key.clone(), value: value.clone() })
    }

    /// Whether the transaction may commit with this much beside its writes.
    pub(crate) fn check_bytes(&self, others: usize) -> Result<()> {
        let bytes = self.writes.iter().map(|(key, value)| size(key, value)).sum::<usize>() + others;
        if bytes > TRANSACTION_BYTES_MAX { Err(over("bytes", bytes, TRANSACTION_BYTES_MAX)) } else { Ok(()) }
    }
}

fn size(key: &SpaceKey, value: &Option<Bytes>) -> usize {
    key.key.len() + value.as_ref().map_or(0, Bytes::len)
}

fn over(what: &str, count: usize, limit: usize) -> Error {
    let message = format!("a transaction of {count} {what} is over the limit of {limit}; nothing of it was written");
    Error::not_applied(ErrorCode::TooLarge, message)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use strata_types::limits::KEY_BYTES_MAX;

    use super::*;

    fn key(text: &str) -> SpaceKey {
        SpaceKey { space: Space::default(), key: Bytes::copy_from_slice(text.as_bytes()) }
    }

    fn put(buffer: &mut WriteBuffer, at: &str, value: &'static str) {
        buffer.set(key(at), Some(Bytes::from_static(value.as_bytes()))).expect("within the limits");
    }

    fn shown(buffer: &WriteBuffer) -> Vec<(String, Option<String>)> {
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        buffer.writes().map(|write| (text(&write.key.key), write.value.as_ref().map(text))).collect()
    }

    #[test]
    fn a_rollback_restores_what_was_there_at_the_savepoint() {
        let mut buffer = WriteBuffer::default();
        put(&mut buffer, "a", "1");
        let first = buffer.savepoint();
        let before = shown(&buffer);
        put(&mut buffer, "a", "2");
        put(&mut buffer, "b", "2");
        let second = buffer.savepoint();
        buffer.set(key("a"), None).expect("within the limits");
        put(&mut buffer, "a", "3");
        buffer.rollback_to(second).expect("it is there");
        assert_eq!(shown(&buffer), [("a".into(), Some("2".into())), ("b".into(), Some("2".into()))]);
        buffer.rollback_to(first).expect("it is there");
        assert_eq!(shown(&buffer), before);
        assert_eq!(buffer.bytes, 2);
        assert_eq!(buffer.rollback_to(second).expect_err("it is gone").code, ErrorCode::InvalidArgument);
        put(&mut buffer, "c", "3");
        buffer.rollback_to(first).expect("it stays");
        assert_eq!(shown(&buffer), before);
    }

    #[test]
    fn the_anchor_stays_where_the_first_write_was() {
        let mut buffer = WriteBuffer::default();
        assert_eq!(buffer.anchor(), None);
        let start = buffer.savepoint();
        put(&mut buffer, "z", "1");
        put(&mut buffer, "a", "1");
        put(&mut buffer, "z", "2");
        assert_eq!(buffer.anchor(), Some(Slot::of_key(b"z")));
        buffer.rollback_to(start).expect("it is there");
        assert!(buffer.is_empty());
        put(&mut buffer, "b", "1");
        assert_eq!(buffer.anchor(), Some(Slot::of_key(b"z")));
    }

    #[test]
    fn what_is_over_a_limit_is_refused_and_changes_nothing() {
        let mut buffer = WriteBuffer::default();
        assert!(buffer.set(key(&"k".repeat(KEY_BYTES_MAX + 1)), None).is_err());
        for number in 0..TRANSACTION_WRITES_MAX {
            put(&mut buffer, &format!("{number:05}"), "");
        }
        let error = buffer.set(key("x"), None).expect_err("one too many");
        assert_eq!(error.code, ErrorCode::TooLarge);
        assert!(error.message.contains("10001 writes is over the limit of 10000"), "{error}");
        put(&mut buffer, "00007", "again");
        assert_eq!(buffer.writes().count(), TRANSACTION_WRITES_MAX);

        let mut buffer = WriteBuffer::default();
        let half = Bytes::from(vec![0; TRANSACTION_BYTES_MAX / 2]);
        buffer.set(key("a"), Some(half.clone())).expect("within the limits");
        let error = buffer.set(key("b"), Some(half.clone())).expect_err("the keys are too much");
        assert!(error.message.contains("bytes is over the limit of 16777216"), "{error}");
        // Written over, the old value needs no room; unless a savepoint may want it back.
        buffer.set(key("a"), Some(half.clone())).expect("within the limits");
        buffer.savepoint();
        assert!(buffer.set(key("a"), Some(half)).is_err());
    }

    #[test]
    fn small_writes_keep_no_message_in_memory() {
        let message: Arc<[u8]> = vec![7; 64 * 1024].into();
        let arrived = Bytes::from_owner(message.clone());
        let mut buffer = WriteBuffer::default();
        let at = |length: usize| SpaceKey { space: Space::default(), key: arrived.slice(..length) };
        buffer.set(at(1), None).expect("within the limits");
        buffer.savepoint();
        for length in [1, 2, 1] {
            buffer.set(at(length), Some(arrived.slice(..COPIED_MAX))).expect("within the limits");
        }
        drop(arrived);
        assert_eq!(Arc::strong_count(&message), 1, "nobody else has the message");
        assert_eq!((buffer.writes().count(), buffer.bytes), (2, 5 + 3 * COPIED_MAX));
    }

    #[test]
    fn only_the_writes_of_the_range_and_the_space_are_seen() {
        let mut buffer = WriteBuffer::default();
        let other = Space { database: strata_types::DatabaseId(1), ..Space::default() };
        buffer.set(SpaceKey { space: other, ..key("b") }, None).expect("within the limits");
        for name in ["a", "b", "c"] {
            put(&mut buffer, name, "1");
        }
        let range = |start: &'static str, end: Option<&'static str>| {
            let end = end.map(|end| Bytes::from_static(end.as_bytes()));
            let found = buffer.in_range(Space::default(), &Bytes::from_static(start.as_bytes()), end.as_ref());
            found.map(|(key, _)| String::from_utf8_lossy(key).into_owned()).collect::<String>()
        };
        assert_eq!(range("", None), "abc");
        assert_eq!(range("b", Some("c")), "b");
        assert_eq!(range("b", Some("a")), "");
    }
}
