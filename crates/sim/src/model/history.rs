//! What clients did and saw in one schedule.

use strata_types::Timestamp;

/// Keys of a schedule. Key `k` lies on shard `k % shards`.
pub(crate) const KEYS: usize = 4;

/// What a key holds: the number of the operation that wrote it, plus one. Zero: it does not exist.
pub(crate) type Value = u8;

/// Something was not read, or not written.
pub(crate) const NOTHING: Value = u8::MAX;

/// What its client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Not yet, or that it is unknown.
    Unknown,
    /// It took effect. Of reads: they have what they wanted.
    Done,
    /// It had no effect.
    Refused,
}

/// What an operation is, for the order it must keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A transaction that may write; a snapshot.
    Transaction,
    /// A get without a timestamp.
    Get,
    /// A put, or a compare-and-set: one key.
    Single,
}

/// One operation of a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Op {
    pub(crate) kind: Kind,
    /// The client's session, if order within it matters.
    pub(crate) session: Option<u8>,
    /// Steps at which it began and was answered.
    pub(crate) began: u32,
    pub(crate) ended: u32,
    pub(crate) told: Told,
    pub(crate) read_at: Timestamp,
    pub(crate) reads: [Value; KEYS],
    pub(crate) writes: [Value; KEYS],
    /// When it took effect, in logical time and in steps, as the logs say.
    pub(crate) effect: Option<(Timestamp, u32)>,
}

impl Op {
    pub(crate) fn new(kind: Kind, began: u32) -> Op {
        Op {
            kind,
            session: None,
            began,
            ended: u32::MAX,
            told: Told::Unknown,
            read_at: Timestamp(0),
            reads: [NOTHING; KEYS],
            writes: [NOTHING; KEYS],
            effect: None,
        }
    }

    /// Whether it read or wrote the key.
    pub(crate) fn touches(&self, key: usize) -> bool {
        self.reads[key] != NOTHING || self.writes[key] != NOTHING
    }

    pub(crate) fn is_writer(&self) -> bool {
        self.writes.iter().any(|value| *value != NOTHING)
    }
}
