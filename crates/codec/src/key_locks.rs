//! What undecided transactions hold of one user key.

use bytes::Bytes;
use strata_types::{Space, SpaceKey, Timestamp, Transaction};

use crate::fields::optional_bytes_size;
use crate::key::after_key_space;
use crate::transaction::TRANSACTION_BYTES;
use crate::{DecodeError, Decoder, Encoder, KeyKind};

const FORMAT: u8 = 1;
const PREFIX_BYTES: usize = 9;

/// The row of a key that undecided transactions hold.
///
/// ```text
///   format u8 | presence u8, [transaction | stamp u64 | value bytes?] | count u32, transactions
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyLocks {
    /// Who wants to write it, and what: nobody else may read it then, nor write it.
    pub writer: Option<Intent>,
    /// Who has read it: nobody else may write it. Rising by id.
    pub readers: Vec<Transaction>,
}

/// A write that is not decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Whose.
    pub transaction: Transaction,
    /// When it was prepared: it is not committed earlier than that.
    pub stamp: Timestamp,
    /// The value; `None` removes the key.
    pub value: Option<Bytes>,
}

impl KeyLocks {
    /// Whether nobody holds the key: then there is no row.
    pub fn is_empty(&self) -> bool {
        self.writer.is_none() && self.readers.is_empty()
    }

    /// The bytes of the row.
    pub fn encode(&self) -> Bytes {
        let intent = |intent: &Intent| TRANSACTION_BYTES + 8 + optional_bytes_size(intent.value.as_ref());
        let writer = self.writer.as_ref().map_or(0, intent);
        let mut encoder = Encoder::with_capacity(1 + 1 + writer + 4 + self.readers.len() * TRANSACTION_BYTES);
        encoder.u8(FORMAT);
        match &self.writer {
            None => {
                encoder.u8(0);
            }
            Some(Intent { transaction, stamp, value }) => {
                encoder.u8(1).transaction(transaction).u64(stamp.0).optional_bytes(value.as_deref());
            }
        }
        encoder.list(&self.readers, |encoder, reader| {
            encoder.transaction(reader);
        });
        encoder.finish()
    }

    /// Decodes the row; the value shares its memory.
    pub fn decode(row: Bytes) -> Result<KeyLocks, DecodeError> {
        let mut decoder = Decoder::new(row);
        decoder.format(FORMAT, "key locks format")?;
        let writer = decoder.optional("key locks writer", |decoder| {
            Ok(Intent {
                transaction: decoder.transaction()?,
                stamp: decoder.timestamp("intent stamp")?,
                value: decoder.optional_bytes("intent value")?,
            })
        })?;
        let readers = decoder.list(TRANSACTION_BYTES, "key locks reader count", Decoder::transaction)?;
        decoder.finish()?;
        Ok(KeyLocks { writer, readers })
    }
}

/// The tablet key of the locks of a user key.
///
/// ```text
///   kind u8 | database u32 | key space u32 | user key
/// ```
pub fn intent_key(key: &SpaceKey) -> Bytes {
    key_in(key.space, &key.key)
}

/// The tablet keys of the locks of the user keys from `start` up to but not including `end`; without `end`, all of the
/// key space from `start` on.
pub fn intent_range(space: Space, start: &[u8], end: Option<&[u8]>) -> (Bytes, Bytes) {
    let last = end.map_or_else(|| after_key_space(KeyKind::Intent, space), |end| key_in(space, end));
    (key_in(space, start), last)
}

/// The user key of an [`intent_key`].
///
/// # Panics
/// When it is not one: callers pass what a scan of an [`intent_range`] found.
pub fn intent_user_key(intent_key: &[u8]) -> &[u8] {
    assert!(intent_key.first() == Some(&(KeyKind::Intent as u8)), "not an intent key");
    &intent_key[PREFIX_BYTES..]
}

fn key_in(space: Space, user_key: &[u8]) -> Bytes {
    let mut encoder = Encoder::with_capacity(PREFIX_BYTES + user_key.len());
    encoder.u8(KeyKind::Intent as u8).space(space).raw(user_key);
    encoder.finish()
}
