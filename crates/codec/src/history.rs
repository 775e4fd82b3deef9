//! Versions of user keys that are not the newest value.

use bytes::Bytes;
use strata_types::{DatabaseId, KeySpaceId, Space, SpaceKey, Timestamp};

use crate::escape::{escaped_size, unescape};
use crate::key::after_key_space;
use crate::{DecodeError, Decoder, Encoder, KeyKind, StoredValue};

const PREFIX_BYTES: usize = 9;
const TIMESTAMP_BYTES: usize = 8;
/// No [`StoredValue`] begins with it: their formats are numbered from 1.
const TOMBSTONE: u8 = 0;

/// What a key was, from some timestamp on and until it was changed again.
///
/// ```text
///   the bytes of a StoredValue, as they stood under the data key      or 00: the key was removed
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Version {
    /// It had this value, which was written at the version's timestamp.
    Value(StoredValue),
    /// It was removed.
    Tombstone,
}

impl Version {
    /// The stored bytes of a removal.
    pub const TOMBSTONE: &'static [u8] = &[TOMBSTONE];

    /// The stored bytes.
    pub fn encode(&self) -> Bytes {
        match self {
            Version::Value(value) => value.encode(),
            Version::Tombstone => Bytes::from_static(Version::TOMBSTONE),
        }
    }

    /// Decodes stored bytes; the value shares their memory.
    pub fn decode(stored: Bytes) -> Result<Version, DecodeError> {
        if stored.first() != Some(&TOMBSTONE) {
            return StoredValue::decode(stored).map(Version::Value);
        }
        match stored.len() {
            1 => Ok(Version::Tombstone),
            length => Err(DecodeError::Trailing { count: length - 1 }),
        }
    }
}

/// The tablet key of a version: of one user key, the newest comes first.
///
/// ```text
///   kind u8 | database u32 | key space u32 | escaped user key | !timestamp u64
/// ```
pub fn history_key(key: &SpaceKey, at: Timestamp) -> Bytes {
    let mut encoder = start(key.space, &key.key);
    encoder.escaped(&key.key).u64(!at.0);
    encoder.finish()
}

/// The keys of the versions of a user key that are not newer than this, newest first.
pub fn history_range_of_key(key: &SpaceKey, newest: Timestamp) -> (Bytes, Bytes) {
    (history_key(key, newest), history_after_key(key))
}

/// The first tablet key after all versions of a user key.
pub fn history_after_key(key: &SpaceKey) -> Bytes {
    let mut encoder = start(key.space, &key.key);
    encoder.after_escaped(&key.key);
    encoder.finish()
}

/// The keys of all versions of the user keys from `start` up to but not including `end`; without `end`, all of the key
/// space from `start` on.
pub fn history_range(space: Space, from: &[u8], end: Option<&[u8]>) -> (Bytes, Bytes) {
    let first = |user_key: &[u8]| {
        let mut encoder = start(space, user_key);
        encoder.escaped(user_key);
        encoder.finish()
    };
    let last = end.map_or_else(|| after_key_space(KeyKind::History, space), first);
    (first(from), last)
}

/// The user key and the timestamp of a [`history_key`].
pub fn history_entry(key: &[u8]) -> Result<(SpaceKey, Timestamp), DecodeError> {
    let mut decoder = Decoder::new(Bytes::copy_from_slice(key.get(..PREFIX_BYTES).unwrap_or(key)));
    decoder.format(KeyKind::History as u8, "history kind")?;
    let database = DatabaseId(decoder.u32("history database")?);
    let space = Space { database, key_space: KeySpaceId(decoder.u32("history key space")?) };
    let (user_key, rest) = unescape(&key[PREFIX_BYTES..], "history user key")?;
    let mut decoder = Decoder::new(Bytes::copy_from_slice(rest));
    let at = Timestamp(!decoder.u64("history timestamp")?);
    decoder.finish()?;
    Ok((SpaceKey { space, key: user_key }, at))
}

fn start(space: Space, user_key: &[u8]) -> Encoder {
    let mut encoder = Encoder::with_capacity(PREFIX_BYTES + escaped_size(user_key) + TIMESTAMP_BYTES);
    encoder.u8(KeyKind::History as u8).space(space);
    encoder
}
