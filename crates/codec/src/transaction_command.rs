//! Commands of transactions, as the log carries them after the header.
//!
//! ```text
//!   commit, prepare: part                       commit last: part | prepared, of one other shard at least
//!   abort, forget: transaction                  resolve: transaction | slot u16 | committed u8, [timestamp u64]
//!   collect: horizon u64 | count u32, tablet keys
//! ```

use bytes::Bytes;
use strata_types::{Decision, Part, Slot, Timestamp, Transaction};

use crate::command::{
    CommandBody, TAG_ABORT, TAG_COLLECT, TAG_COMMIT, TAG_COMMIT_LAST, TAG_FORGET, TAG_PREPARE, TAG_RESOLVE,
};
use crate::command_header::CommandHeader;
use crate::fields::LENGTH_BYTES;
use crate::transaction::{SLOT_BYTES, TRANSACTION_BYTES, part_size, prepared_size};
use crate::{DecodeError, Decoder};

impl CommandHeader {
    pub(crate) fn encode_commit(&self, part: &Part) -> Bytes {
        if part.prepared.participants.is_empty() {
            return self.encode_part(TAG_COMMIT, part);
        }
        let mut encoder = self.encoder(TAG_COMMIT_LAST, part_size(part) + prepared_size(&part.prepared));
        encoder.part(part).prepared(&part.prepared);
        encoder.finish()
    }

    pub(crate) fn encode_prepare(&self, part: &Part) -> Bytes {
        self.encode_part(TAG_PREPARE, part)
    }

    fn encode_part(&self, tag: u8, part: &Part) -> Bytes {
        let mut encoder = self.encoder(tag, part_size(part));
        encoder.part(part);
        encoder.finish()
    }

    /// A command that says nothing but which transaction it is about.
    pub(crate) fn encode_about(&self, tag: u8, transaction: &Transaction) -> Bytes {
        let mut encoder = self.encoder(tag, TRANSACTION_BYTES);
        encoder.transaction(transaction);
        encoder.finish()
    }

    pub(crate) fn encode_resolve(&self, transaction: &Transaction, slot: Slot, decision: Decision) -> Bytes {
        let timestamp_bytes = if let Decision::Committed(_) = decision { 8 } else { 0 };
        let mut encoder = self.encoder(TAG_RESOLVE, TRANSACTION_BYTES + SLOT_BYTES + 1 + timestamp_bytes);
        encoder.transaction(transaction).slot(slot);
        match decision {
            Decision::Aborted => encoder.u8(0),
            Decision::Committed(at) => encoder.u8(1).u64(at.0),
        };
        encoder.finish()
    }

    pub(crate) fn encode_collect(&self, horizon: Timestamp, rows: &[Bytes]) -> Bytes {
        let row_bytes: usize = rows.iter().map(|row| LENGTH_BYTES + row.len()).sum();
        let mut encoder = self.encoder(TAG_COLLECT, 8 + 4 + row_bytes);
        encoder.u64(horizon.0).list(rows, |encoder, row| {
            encoder.bytes(row);
        });
        encoder.finish()
    }
}

impl CommandBody {
    pub(crate) fn decode_transaction(tag: u8, decoder: &mut Decoder) -> Result<CommandBody, DecodeError> {
        Ok(match tag {
            TAG_COMMIT => CommandBody::Commit(decoder.part()?),
            TAG_PREPARE => CommandBody::Prepare(decoder.part()?),
            TAG_COMMIT_LAST => {
                let part = decoder.part()?;
                CommandBody::Commit(Part { prepared: decoder.prepared()?, ..part })
            }
            TAG_ABORT => CommandBody::Abort { transaction: decoder.transaction()? },
            TAG_RESOLVE => CommandBody::Resolve {
                transaction: decoder.transaction()?,
                slot: decoder.slot("resolve slot")?,
                decision: match decoder.flag("resolve committed")? {
                    true => Decision::Committed(decoder.timestamp("resolve timestamp")?),
                    false => Decision::Aborted,
                },
            },
            TAG_FORGET => CommandBody::Forget { transaction: decoder.transaction()? },
            TAG_COLLECT => CommandBody::Collect {
                horizon: decoder.timestamp("collect horizon")?,
                rows: decoder.list(LENGTH_BYTES, "collect row count", |decoder| decoder.bytes("collect row"))?,
            },
            value => return Err(DecodeError::BadValue { field: "command tag", value: value.into() }),
        })
    }
}
