//! Transactions as shards see them; `transaction_call.rs` has what is asked of a shard on behalf of one.
//!
//! A transaction reads at one timestamp and writes at another, later one. Each shard that it touches is a *participant*
//! and has a [`Part`]. Whether the transaction is committed stands in one *record*, on the shard of its *anchor*. The part
//! there is never prepared: when all others are, it is committed, and that is what decides.

use std::fmt;

use bytes::Bytes;

use crate::{DatabaseId, KeySpaceId, Slot, Timestamp};

/// A transaction: an id that its coordinator drew, never used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId(pub u128);

/// Bits of an id that tell nothing but about when it was drawn.
const DRAWN_BITS: u32 = 48;

impl TransactionId {
    /// An id that nobody else has, because 80 of the random bits are in it. The time goes first only so that records of
    /// one time lie together, where they are quickly found and written; nobody relies on it.
    pub fn drawn(unix_millis: u64, random: [u64; 2]) -> TransactionId {
        let [high, low] = random.map(u128::from);
        TransactionId(u128::from(unix_millis) << (u128::BITS - DRAWN_BITS) | (high << 64 | low) >> DRAWN_BITS)
    }
}

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl std::str::FromStr for TransactionId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32);
        parsed.map(TransactionId).ok_or_else(|| format!("not a transaction id (32 hexadecimal digits): `{text}`"))
    }
}

/// What everybody who meets a transaction must know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Transaction {
    /// Which one.
    pub id: TransactionId,
    /// A slot of the shard that has its record.
    pub anchor: Slot,
    /// It sees everything that was committed up to this timestamp.
    pub read_timestamp: Timestamp,
    /// The timestamp at which its first attempt began: the older one goes first.
    pub age: Timestamp,
}

/// A name space of keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Space {
    /// The database.
    pub database: DatabaseId,
    /// The key space within the database.
    pub key_space: KeySpaceId,
}

/// A key and its name space.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpaceKey {
    /// Where.
    pub space: Space,
    /// The user key.
    pub key: Bytes,
}

impl SpaceKey {
    /// The slot of the key.
    pub fn slot(&self) -> Slot {
        Slot::of_key(&self.key)
    }

    /// The same key in memory of its own, for whoever keeps it: the bytes of one that has just arrived are a slice of a
    /// message, all of which stays in memory with them.
    pub fn detached(&self) -> SpaceKey {
        SpaceKey { space: self.space, key: Bytes::copy_from_slice(&self.key) }
    }
}

/// The keys from `start` up to but not including `end`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpaceRange {
    /// Where.
    pub space: Space,
    /// First key.
    pub start: Bytes,
    /// One past the last key; `None` for no bound.
    pub end: Option<Bytes>,
}

impl SpaceRange {
    /// Whether a key lies in the range.
    pub fn contains(&self, key: &SpaceKey) -> bool {
        self.space == key.space && self.start <= key.key && self.end.as_ref().is_none_or(|end| key.key < *end)
    }
}

/// One write of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpaceWrite {
    /// What is written.
    pub key: SpaceKey,
    /// Its new value; `None` removes it.
    pub value: Option<Bytes>,
}

/// What of a transaction is prepared on other shards when the part of its anchor is committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prepared {
    /// The latest timestamp at which any part was prepared. Says nothing without participants.
    pub at: Timestamp,
    /// A slot of each of these shards.
    pub participants: Vec<Slot>,
}

/// What a transaction has read and wants to write on one shard. It has one write at most for each key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Whose.
    pub transaction: Transaction,
    /// A slot of the shard.
    pub slot: Slot,
    /// The keys that it has read, present or absent.
    pub reads: Vec<SpaceKey>,
    /// The ranges that it has read: of these, what lies on this shard.
    pub ranges: Vec<SpaceRange>,
    /// Its writes.
    pub writes: Vec<SpaceWrite>,
    /// What must be prepared elsewhere already if this part is committed; nothing if it is the only one, or is prepared.
    pub prepared: Prepared,
}

impl Part {
    /// Bytes of keys and values, for limits and flow control.
    pub fn size(&self) -> usize {
        let reads: usize = self.reads.iter().map(|read| read.key.len()).sum();
        let range = |range: &SpaceRange| range.start.len() + range.end.as_ref().map_or(0, Bytes::len);
        let write = |write: &SpaceWrite| write.key.key.len() + write.value.as_ref().map_or(0, Bytes::len);
        let named = self.prepared.participants.len() * size_of::<Slot>();
        reads + self.ranges.iter().map(range).sum::<usize>() + self.writes.iter().map(write).sum::<usize>() + named
    }

    /// How many keys, ranges and participants it names.
    pub fn parts(&self) -> usize {
        self.reads.len() + self.ranges.len() + self.writes.len() + self.prepared.participants.len()
    }

    /// The slots of all its keys. Ranges have none: they are about whatever of them lies on the shard.
    pub fn slots(&self) -> impl Iterator<Item = Slot> {
        let keys = self.reads.iter().chain(self.writes.iter().map(|write| &write.key));
        std::iter::once(self.slot).chain(keys.map(SpaceKey::slot))
    }
}

/// What became of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// All its writes have this timestamp.
    Committed(Timestamp),
    /// None of its writes is ever seen.
    Aborted,
}

/// What the shard of the record knows of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransactionStatus {
    /// Not decided yet, as far as who pushes it is to know: there is no record, and it still has time.
    Pending,
    /// Decided, for ever.
    Decided(Decision),
    /// There is no record: it is not decided, or it was decided and forgotten since.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_one_time_lie_together_and_only_what_is_random_tells_them_apart() {
        let drawn = |millis, high, low| TransactionId::drawn(millis, [high, low]).to_string();
        assert_eq!(drawn(0x0123_4567_89ab, u64::MAX, 0), "0123456789abffffffffffffffff0000");
        assert_eq!(drawn(1, 0xfedc_ba98_7654_3210, 0x0f1e_2d3c_4b5a_6978), "000000000001fedcba98765432100f1e");
        // A clock may say what it likes.
        assert_eq!(drawn(u64::MAX, 0, u64::MAX), "ffffffffffff0000000000000000ffff");
    }
}
