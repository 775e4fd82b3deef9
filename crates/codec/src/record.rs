//! Transaction records: whether a transaction is committed.

use bytes::Bytes;
use strata_types::{Decision, Slot, Timestamp, Transaction, TransactionId, TransactionStatus};

use crate::transaction::{SLOT_BYTES, TRANSACTION_BYTES, id_key};
use crate::{DecodeError, Decoder, Encoder, KeyKind};

const FORMAT: u8 = 1;
// 0 was a record that is not decided; no release wrote one.
const STATE_COMMITTED: u8 = 1;
const STATE_ABORTED: u8 = 2;

/// The one row that decides about a transaction, on the shard of its anchor.
///
/// ```text
///   format u8 | transaction | state u8 | with committed: timestamp u64, acknowledged u8, count u32, slots
///   state 1: committed    2: aborted
///
///   none --commit, others are prepared--> committed --forget--> acknowledged --\
///    |\------commit, on one shard------------------------------> acknowledged --+--> none, below the horizon
///     \------abort---------------------> aborted ------------------------------/
///                                                 \------------ closed --------/
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionRecord {
    /// Whose.
    pub transaction: Transaction,
    /// What is known of it.
    pub state: RecordState,
}

/// How far a transaction is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordState {
    /// All its writes have this timestamp.
    Committed {
        /// The timestamp.
        at: Timestamp,
        /// Whether every participant has made its writes what they are: nobody will ask for the record then.
        acknowledged: bool,
        /// A slot of each other shard, where it was prepared; none when the transaction lay on one.
        participants: Vec<Slot>,
    },
    /// None of its writes is ever seen.
    Aborted,
}

impl TransactionRecord {
    /// What it says.
    pub fn status(&self) -> TransactionStatus {
        match self.state {
            RecordState::Committed { at, .. } => TransactionStatus::Decided(Decision::Committed(at)),
            RecordState::Aborted => TransactionStatus::Decided(Decision::Aborted),
        }
    }

    /// Whether only a repeated request can still ask for it.
    pub fn is_settled(&self) -> bool {
        match self.state {
            RecordState::Committed { acknowledged, .. } => acknowledged,
            RecordState::Aborted => true,
        }
    }

    /// The bytes of the row.
    pub fn encode(&self) -> Bytes {
        let committed = match &self.state {
            RecordState::Committed { participants, .. } => 8 + 1 + 4 + participants.len() * SLOT_BYTES,
            RecordState::Aborted => 0,
        };
        let mut encoder = Encoder::with_capacity(1 + TRANSACTION_BYTES + 1 + committed);
        encoder.u8(FORMAT).transaction(&self.transaction);
        match &self.state {
            RecordState::Aborted => {
                encoder.u8(STATE_ABORTED);
            }
            RecordState::Committed { at, acknowledged, participants } => {
                encoder.u8(STATE_COMMITTED).u64(at.0).u8(u8::from(*acknowledged));
                encoder.list(participants, |encoder, slot| {
                    encoder.slot(*slot);
                });
            }
        }
        encoder.finish()
    }

    /// Decodes the row.
    pub fn decode(row: Bytes) -> Result<TransactionRecord, DecodeError> {
        let mut decoder = Decoder::new(row);
        decoder.format(FORMAT, "record format")?;
        let transaction = decoder.transaction()?;
        let state = match decoder.u8("record state")? {
            STATE_ABORTED => RecordState::Aborted,
            STATE_COMMITTED => RecordState::Committed {
                at: decoder.timestamp("record commit timestamp")?,
                acknowledged: decoder.flag("record acknowledged")?,
                participants: decoder.list(SLOT_BYTES, "record participant count", |d| d.slot("record participant"))?,
            },
            value => return Err(DecodeError::BadValue { field: "record state", value: value.into() }),
        };
        decoder.finish()?;
        Ok(TransactionRecord { transaction, state })
    }
}

/// The tablet key of a record that somebody may still have to act on: committed, and not acknowledged.
///
/// ```text
///   kind u8 | id u128
/// ```
pub fn record_key(id: TransactionId) -> Bytes {
    id_key(KeyKind::TransactionRecord, id)
}

/// The tablet key of a record that is settled: as [`record_key`], with another kind, so that those that are not are
/// found without looking at it.
pub fn closed_record_key(id: TransactionId) -> Bytes {
    id_key(KeyKind::ClosedRecord, id)
}
