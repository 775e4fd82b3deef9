//! Transaction, SpaceKey, SpaceRange, SpaceWrite, TransactionPart.

use bytes::Bytes;
use strata_types::{
    DatabaseId, Error, KeySpaceId, Part, Prepared, Slot, Space, SpaceKey, SpaceRange, SpaceWrite, Timestamp,
    Transaction, TransactionId,
};

use super::invalid;
use crate::v1;

/// The 16 bytes of an id, the highest first: as it is printed.
pub fn transaction_id_bytes(id: TransactionId) -> Bytes {
    Bytes::copy_from_slice(&id.0.to_be_bytes())
}

/// The id that 16 bytes are.
pub fn transaction_id_of(bytes: &[u8]) -> Result<TransactionId, Error> {
    match <[u8; 16]>::try_from(bytes) {
        Ok(bytes) => Ok(TransactionId(u128::from_be_bytes(bytes))),
        Err(_) => Err(invalid(format!("the id of a transaction has 16 bytes, not {}", bytes.len()))),
    }
}

/// The slot of a number.
pub fn slot_of(number: u32) -> Result<Slot, Error> {
    let slot = u16::try_from(number).ok().and_then(Slot::new);
    slot.ok_or_else(|| invalid(format!("there is no slot {number}")))
}

pub(super) fn transaction_of(transaction: Option<v1::Transaction>) -> Result<Transaction, Error> {
    transaction.ok_or_else(|| invalid("a step of a transaction must say of which one"))?.try_into()
}

pub(super) fn key_of(key: Option<v1::SpaceKey>) -> Result<SpaceKey, Error> {
    key.map(SpaceKey::from).ok_or_else(|| invalid("a write or lock of a transaction must name its key"))
}

impl From<Transaction> for v1::Transaction {
    fn from(transaction: Transaction) -> v1::Transaction {
        v1::Transaction {
            id: transaction_id_bytes(transaction.id),
            anchor: transaction.anchor.number().into(),
            read_timestamp: transaction.read_timestamp.0,
            age: transaction.age.0,
        }
    }
}

impl TryFrom<v1::Transaction> for Transaction {
    type Error = Error;

    fn try_from(transaction: v1::Transaction) -> Result<Transaction, Error> {
        Ok(Transaction {
            id: transaction_id_of(&transaction.id)?,
            anchor: slot_of(transaction.anchor)?,
            read_timestamp: Timestamp(transaction.read_timestamp),
            age: Timestamp(transaction.age),
        })
    }
}

impl From<SpaceKey> for v1::SpaceKey {
    fn from(key: SpaceKey) -> v1::SpaceKey {
        v1::SpaceKey { database: key.space.database.0, key_space: key.space.key_space.0, key: key.key }
    }
}

impl From<v1::SpaceKey> for SpaceKey {
    fn from(key: v1::SpaceKey) -> SpaceKey {
        SpaceKey { space: space_of(key.database, key.key_space), key: key.key }
    }
}

impl From<SpaceRange> for v1::SpaceRange {
    fn from(range: SpaceRange) -> v1::SpaceRange {
        let Space { database, key_space } = range.space;
        v1::SpaceRange { database: database.0, key_space: key_space.0, start: range.start, end: range.end }
    }
}

impl From<v1::SpaceRange> for SpaceRange {
    fn from(range: v1::SpaceRange) -> SpaceRange {
        SpaceRange { space: space_of(range.database, range.key_space), start: range.start, end: range.end }
    }
}

impl From<SpaceWrite> for v1::SpaceWrite {
    fn from(write: SpaceWrite) -> v1::SpaceWrite {
        v1::SpaceWrite { key: Some(write.key.into()), value: write.value }
    }
}

impl TryFrom<v1::SpaceWrite> for SpaceWrite {
    type Error = Error;

    fn try_from(write: v1::SpaceWrite) -> Result<SpaceWrite, Error> {
        Ok(SpaceWrite { key: key_of(write.key)?, value: write.value })
    }
}

impl From<Part> for v1::TransactionPart {
    fn from(part: Part) -> v1::TransactionPart {
        v1::TransactionPart {
            transaction: Some(part.transaction.into()),
            slot: part.slot.number().into(),
            reads: part.reads.into_iter().map(v1::SpaceKey::from).collect(),
            ranges: part.ranges.into_iter().map(v1::SpaceRange::from).collect(),
            writes: part.writes.into_iter().map(v1::SpaceWrite::from).collect(),
        }
    }
}

impl TryFrom<v1::TransactionPart> for Part {
    type Error = Error;

    fn try_from(part: v1::TransactionPart) -> Result<Part, Error> {
        Ok(Part {
            transaction: transaction_of(part.transaction)?,
            slot: slot_of(part.slot)?,
            reads: part.reads.into_iter().map(SpaceKey::from).collect(),
            ranges: part.ranges.into_iter().map(SpaceRange::from).collect(),
            writes: part.writes.into_iter().map(SpaceWrite::try_from).collect::<Result<_, Error>>()?,
            prepared: Prepared::default(),
        })
    }
}

fn space_of(database: u32, key_space: u32) -> Space {
    Space { database: DatabaseId(database), key_space: KeySpaceId(key_space) }
}
