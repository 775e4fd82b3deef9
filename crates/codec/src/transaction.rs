//! Fields of transactions, as commands, replies and rows share them.
//!
//! ```text
//!   transaction: id u128 | anchor slot u16 | read timestamp u64 | age u64
//!   key: database u32 | key space u32 | length u32, user key        list of x: count u32, x ...
//!   range: database u32 | key space u32 | start bytes | end bytes?  x?: presence u8, then x
//!   write: key | value bytes?
//!   part: transaction | slot u16 | list of keys read | list of ranges read | list of writes    (without what is prepared)
//!   prepared: at u64 | list of slots
//! ```

use bytes::Bytes;
use strata_types::{
    DatabaseId, KeySpaceId, Part, Prepared, Slot, Space, SpaceKey, SpaceRange, SpaceWrite, Timestamp, Transaction,
    TransactionId,
};

use crate::fields::{LENGTH_BYTES, optional_bytes_size};
use crate::{DecodeError, Decoder, Encoder, KeyKind};

/// Bytes of an encoded [`Slot`].
pub(crate) const SLOT_BYTES: usize = 2;
/// Bytes of an encoded [`Transaction`].
pub(crate) const TRANSACTION_BYTES: usize = 16 + SLOT_BYTES + 8 + 8;
/// Bytes of an encoded [`SpaceKey`] beside its user key.
pub(crate) const SPACE_KEY_OVERHEAD_BYTES: usize = SPACE_BYTES + LENGTH_BYTES;

const SPACE_BYTES: usize = 8;
/// A range or a write has this many bytes at least: its key, and whether there is an end or a value.
const KEY_AND_OPTION_BYTES: usize = SPACE_KEY_OVERHEAD_BYTES + 1;

pub(crate) fn space_key_size(key: &SpaceKey) -> usize {
    SPACE_KEY_OVERHEAD_BYTES + key.key.len()
}

pub(crate) fn ranges_size(ranges: &[SpaceRange]) -> usize {
    let size =
        |range: &SpaceRange| SPACE_KEY_OVERHEAD_BYTES + range.start.len() + optional_bytes_size(range.end.as_ref());
    4 + ranges.iter().map(size).sum::<usize>()
}

pub(crate) fn keys_size(keys: &[SpaceKey]) -> usize {
    4 + keys.iter().map(space_key_size).sum::<usize>()
}

pub(crate) fn part_size(part: &Part) -> usize {
    let write = |write: &SpaceWrite| space_key_size(&write.key) + optional_bytes_size(write.value.as_ref());
    let writes = 4 + part.writes.iter().map(write).sum::<usize>();
    TRANSACTION_BYTES + SLOT_BYTES + keys_size(&part.reads) + ranges_size(&part.ranges) + writes
}

pub(crate) fn prepared_size(prepared: &Prepared) -> usize {
    8 + 4 + prepared.participants.len() * SLOT_BYTES
}

impl Encoder {
    pub(crate) fn slot(&mut self, slot: Slot) -> &mut Self {
        self.u16(slot.number())
    }

    pub(crate) fn transaction(&mut self, transaction: &Transaction) -> &mut Self {
        let Transaction { id, anchor, read_timestamp, age } = transaction;
        self.u128(id.0).slot(*anchor).u64(read_timestamp.0).u64(age.0)
    }

    pub(crate) fn space(&mut self, space: Space) -> &mut Self {
        self.u32(space.database.0).u32(space.key_space.0)
    }

    pub(crate) fn space_key(&mut self, key: &SpaceKey) -> &mut Self {
        self.space(key.space).bytes(&key.key)
    }

    pub(crate) fn space_keys(&mut self, keys: &[SpaceKey]) -> &mut Self {
        self.list(keys, |encoder, key| {
            encoder.space_key(key);
        })
    }

    pub(crate) fn space_ranges(&mut self, ranges: &[SpaceRange]) -> &mut Self {
        self.list(ranges, |encoder, range| {
            encoder.space(range.space).bytes(&range.start).optional_bytes(range.end.as_deref());
        })
    }

    pub(crate) fn part(&mut self, part: &Part) -> &mut Self {
        self.transaction(&part.transaction).slot(part.slot).space_keys(&part.reads).space_ranges(&part.ranges);
        self.list(&part.writes, |encoder, write| {
            encoder.space_key(&write.key).optional_bytes(write.value.as_deref());
        })
    }

    pub(crate) fn prepared(&mut self, prepared: &Prepared) -> &mut Self {
        self.u64(prepared.at.0).list(&prepared.participants, |encoder, slot| {
            encoder.slot(*slot);
        })
    }

    /// A count and the items.
    pub(crate) fn list<T>(&mut self, items: &[T], each: impl Fn(&mut Encoder, &T)) -> &mut Self {
        self.u32(u32::try_from(items.len()).expect("lists have far fewer than 2^32 items"));
        items.iter().for_each(|item| each(self, item));
        self
    }
}

impl Decoder {
    pub(crate) fn slot(&mut self, field: &'static str) -> Result<Slot, DecodeError> {
        let number = self.u16(field)?;
        Slot::new(number).ok_or(DecodeError::BadValue { field, value: number.into() })
    }

    pub(crate) fn timestamp(&mut self, field: &'static str) -> Result<Timestamp, DecodeError> {
        self.u64(field).map(Timestamp)
    }

    pub(crate) fn transaction(&mut self) -> Result<Transaction, DecodeError> {
        Ok(Transaction {
            id: TransactionId(self.u128("transaction id")?),
            anchor: self.slot("transaction anchor")?,
            read_timestamp: self.timestamp("transaction read timestamp")?,
            age: self.timestamp("transaction age")?,
        })
    }

    pub(crate) fn space(&mut self) -> Result<Space, DecodeError> {
        let database = DatabaseId(self.u32("space database")?);
        Ok(Space { database, key_space: KeySpaceId(self.u32("space key space")?) })
    }

    pub(crate) fn space_key(&mut self) -> Result<SpaceKey, DecodeError> {
        Ok(SpaceKey { space: self.space()?, key: self.bytes("space key")? })
    }

    pub(crate) fn space_keys(&mut self, field: &'static str) -> Result<Vec<SpaceKey>, DecodeError> {
        self.list(SPACE_KEY_OVERHEAD_BYTES, field, Decoder::space_key)
    }

    pub(crate) fn space_ranges(&mut self, field: &'static str) -> Result<Vec<SpaceRange>, DecodeError> {
        self.list(KEY_AND_OPTION_BYTES, field, |decoder| {
            let (space, start) = (decoder.space()?, decoder.bytes("range start")?);
            Ok(SpaceRange { space, start, end: decoder.optional_bytes("range end")? })
        })
    }

    pub(crate) fn part(&mut self) -> Result<Part, DecodeError> {
        Ok(Part {
            transaction: self.transaction()?,
            slot: self.slot("part slot")?,
            reads: self.space_keys("part read count")?,
            ranges: self.space_ranges("part range count")?,
            writes: self.list(KEY_AND_OPTION_BYTES, "part write count", |decoder| {
                let key = decoder.space_key()?;
                Ok(SpaceWrite { key, value: decoder.optional_bytes("write value")? })
            })?,
            prepared: Prepared::default(),
        })
    }

    /// What is prepared on at least one other shard.
    pub(crate) fn prepared(&mut self) -> Result<Prepared, DecodeError> {
        let at = self.timestamp("prepared timestamp")?;
        let field = "prepared participant count";
        let participants = self.list(SLOT_BYTES, field, |decoder| decoder.slot("prepared participant"))?;
        match participants.is_empty() {
            true => Err(DecodeError::BadValue { field, value: 0 }),
            false => Ok(Prepared { at, participants }),
        }
    }

    /// What [`Encoder::list`] wrote; each item has so many bytes at least.
    pub(crate) fn list<T>(
        &mut self,
        item_bytes_min: usize,
        field: &'static str,
        each: impl Fn(&mut Decoder) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = self.count(item_bytes_min, field)?;
        (0..count).map(|_| each(self)).collect()
    }

    /// Something after a presence byte.
    pub(crate) fn optional<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut Decoder) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        match self.flag(field)? {
            true => read(self).map(Some),
            false => Ok(None),
        }
    }
}

/// The tablet key of a row that a transaction has one of: a kind byte and the id.
pub(crate) fn id_key(kind: KeyKind, id: TransactionId) -> Bytes {
    let mut key = Encoder::with_capacity(1 + 16);
    key.u8(kind as u8).u128(id.0);
    key.finish()
}
