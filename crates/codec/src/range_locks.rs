//! The ranges that an undecided transaction has read.

use bytes::Bytes;
use strata_types::{SpaceKey, SpaceRange, Transaction, TransactionId};

use crate::transaction::{TRANSACTION_BYTES, id_key, ranges_size};
use crate::{DecodeError, Decoder, Encoder, KeyKind};

const FORMAT: u8 = 1;

/// The row of a prepared transaction that has read ranges: nobody else may write into them.
///
/// ```text
///   format u8 | transaction | count u32, ranges
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeLocks {
    /// Whose.
    pub transaction: Transaction,
    /// What it has read.
    pub ranges: Vec<SpaceRange>,
}

impl RangeLocks {
    /// Whether one of the ranges holds the key.
    pub fn contains(&self, key: &SpaceKey) -> bool {
        self.ranges.iter().any(|range| range.contains(key))
    }

    /// The bytes of the row.
    pub fn encode(&self) -> Bytes {
        let mut encoder = Encoder::with_capacity(1 + TRANSACTION_BYTES + ranges_size(&self.ranges));
        encoder.u8(FORMAT).transaction(&self.transaction).space_ranges(&self.ranges);
        encoder.finish()
    }

    /// Decodes the row; the keys share its memory.
    pub fn decode(row: Bytes) -> Result<RangeLocks, DecodeError> {
        let mut decoder = Decoder::new(row);
        decoder.format(FORMAT, "range locks format")?;
        let transaction = decoder.transaction()?;
        let ranges = decoder.space_ranges("range locks count")?;
        decoder.finish()?;
        Ok(RangeLocks { transaction, ranges })
    }
}

/// The tablet key of a transaction's range locks.
///
/// ```text
///   kind u8 | id u128
/// ```
pub fn range_locks_key(id: TransactionId) -> Bytes {
    id_key(KeyKind::RangeLocks, id)
}
