//! Keys of a tablet: a kind byte, then what that kind needs, ordered as its parts are.
//!
//! There is no slot in a key: within a shard, data keys are in key order, so that an ordered scan of a key space is
//! one range of each shard.

use bytes::{BufMut, Bytes, BytesMut};
use strata_types::{ClientId, DatabaseId, KeySpaceId, Revision, Space};

use crate::{DecodeError, Decoder, Encoder};

/// Bytes of a data key before the user key: kind, database, key space.
const DATA_PREFIX_BYTES: usize = 9;

/// What a tablet key holds. The number is its first byte: numbers are only ever appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
#[non_exhaustive]
pub enum KeyKind {
    /// How far the log is applied: one row.
    Applied = 0,
    /// A client's session: client id.
    Session = 1,
    /// What users store: database, key space, user key.
    Data = 2,
    /// State of the meta machine.
    Meta = 3,
    /// Older versions of data keys.
    History = 4,
    /// What transactions that are not decided hold of a key.
    Intent = 5,
    /// Records of transactions that somebody may still have to act on: transaction id.
    TransactionRecord = 6,
    /// Sessions by last use: revision, client id.
    SessionUse = 7,
    /// How many sessions there are: one row.
    SessionSummary = 8,
    /// Transactions that are prepared: transaction id.
    Participant = 9,
    /// Ranges that a transaction has read which is not decided: transaction id.
    RangeLocks = 10,
    /// What every command of a shard must know: one row.
    ShardState = 11,
    /// Transactions that hold nothing any more, and must not be prepared again: transaction id.
    ResolvedParticipant = 12,
    /// Records of transactions that are settled: transaction id.
    ClosedRecord = 13,
}

/// Key of the row that says how far the log is applied.
pub const APPLIED_KEY: &[u8] = &[KeyKind::Applied as u8];

/// Key of the row that counts sessions.
pub const SESSION_SUMMARY_KEY: &[u8] = &[KeyKind::SessionSummary as u8];

impl KeyKind {
    /// All kinds, for tools and tests.
    pub const ALL: [KeyKind; 14] = [
        KeyKind::Applied,
        KeyKind::Session,
        KeyKind::Data,
        KeyKind::Meta,
        KeyKind::History,
        KeyKind::Intent,
        KeyKind::TransactionRecord,
        KeyKind::SessionUse,
        KeyKind::SessionSummary,
        KeyKind::Participant,
        KeyKind::RangeLocks,
        KeyKind::ShardState,
        KeyKind::ResolvedParticipant,
        KeyKind::ClosedRecord,
    ];

    /// The kind of a tablet key.
    pub fn of(key: &[u8]) -> Option<KeyKind> {
        let first = *key.first()?;
        KeyKind::ALL.into_iter().find(|kind| *kind as u8 == first)
    }

    /// All tablet keys of the kind.
    pub fn range(self) -> (Bytes, Bytes) {
        (Bytes::copy_from_slice(&[self as u8]), Bytes::copy_from_slice(&[self as u8 + 1]))
    }
}

/// The tablet key of a user key.
pub fn data_key(database: DatabaseId, key_space: KeySpaceId, user_key: &[u8]) -> Bytes {
    let mut key = BytesMut::with_capacity(DATA_PREFIX_BYTES + user_key.len());
    key.put_u8(KeyKind::Data as u8);
    key.put_u32(database.0);
    key.put_u32(key_space.0);
    key.put_slice(user_key);
    key.freeze()
}

/// The user key of a data key, sharing its memory.
///
/// # Panics
/// When it is not a data key: callers pass what [`data_key`] made or what a scan of a [`data_range`] found.
pub fn user_key(data_key: &Bytes) -> Bytes {
    assert!(data_key.first() == Some(&(KeyKind::Data as u8)), "not a data key");
    data_key.slice(DATA_PREFIX_BYTES..)
}

/// As [`user_key`], for a borrowed key.
///
/// # Panics
/// When it is not a data key.
pub fn user_key_slice(data_key: &[u8]) -> &[u8] {
    assert!(data_key.first() == Some(&(KeyKind::Data as u8)), "not a data key");
    &data_key[DATA_PREFIX_BYTES..]
}

/// The tablet keys of the user keys from `start` up to but not including `end`; without `end`, all of the key space
/// from `start` on.
pub fn data_range(database: DatabaseId, key_space: KeySpaceId, start: &[u8], end: Option<&[u8]>) -> (Bytes, Bytes) {
    let first = data_key(database, key_space, start);
    let last = match end {
        Some(end) => data_key(database, key_space, end),
        None => after_key_space(KeyKind::Data, Space { database, key_space }),
    };
    (first, last)
}

/// The first tablet key after all of a kind that begin with this name space.
pub(crate) fn after_key_space(kind: KeyKind, space: Space) -> Bytes {
    let (database, key_space) = match (space.database.0, space.key_space.0.checked_add(1)) {
        (database, Some(next)) => (Some(database), next),
        (database, None) => (database.checked_add(1), 0),
    };
    let Some(database) = database else { return kind.range().1 };
    let mut key = Encoder::with_capacity(DATA_PREFIX_BYTES);
    key.u8(kind as u8).u32(database).u32(key_space);
    key.finish()
}

/// Key of a client's session row.
pub fn session_key(client: ClientId) -> Bytes {
    let mut key = Encoder::with_capacity(9);
    key.u8(KeyKind::Session as u8).u64(client.0);
    key.finish()
}

/// Key under which a session stands in the order of last use.
pub fn session_use_key(used: Revision, client: ClientId) -> Bytes {
    let mut key = Encoder::with_capacity(21);
    key.u8(KeyKind::SessionUse as u8).revision(used).u64(client.0);
    key.finish()
}

/// The keys of all sessions last used at `from` or later, oldest use first.
pub fn session_use_range(from: Revision) -> (Bytes, Bytes) {
    (session_use_key(from, ClientId(0)), Bytes::from_static(&[KeyKind::SessionUse as u8 + 1]))
}

/// The use and the client of a [`session_use_key`].
pub fn session_use_client(key: &[u8]) -> Result<(Revision, ClientId), DecodeError> {
    let mut decoder = Decoder::new(Bytes::copy_from_slice(key));
    decoder.format(KeyKind::SessionUse as u8, "session use kind")?;
    let used = decoder.revision("session use revision")?;
    let client = ClientId(decoder.u64("session use client")?);
    decoder.finish()?;
    Ok((used, client))
}
