//! Replies to steps of transactions.

use strata_types::{Conflict, ConflictReason, Decision, Timestamp, TransactionId, TransactionReply, TransactionStatus};

use crate::reply::{decode_optional_item, optional_item, optional_item_size};
use crate::transaction::space_key_size;
use crate::{DecodeError, Decoder, Encoder};

const COMMITTED: u8 = 0;
const PREPARED: u8 = 1;
const CONFLICT: u8 = 2;
const STATUS: u8 = 3;
const DONE: u8 = 4;
const LOCKED: u8 = 5;
const SKIPPED: u8 = 6;

const REASON_CHANGED: u8 = 0;
const REASON_ABORTED: u8 = 1;
const REASON_TOO_OLD: u8 = 2;
const REASON_WOUNDED: u8 = 3;
const REASON_LOCKED: u8 = 4;

const STATUS_PENDING: u8 = 0;
const STATUS_COMMITTED: u8 = 1;
const STATUS_ABORTED: u8 = 2;
const STATUS_UNKNOWN: u8 = 3;

/// Bytes of the encoding.
pub(crate) fn transaction_reply_size(reply: &TransactionReply) -> usize {
    1 + match reply {
        TransactionReply::Committed { .. } | TransactionReply::Prepared { .. } => 8,
        TransactionReply::Conflict(conflict) => {
            let key = conflict.key.as_ref().map_or(0, space_key_size);
            1 + 1 + key + 1 + conflict.rival.map_or(0, |_| 16) + 8
        }
        TransactionReply::Status(TransactionStatus::Decided(Decision::Committed(_))) => 1 + 8,
        TransactionReply::Status(_) => 1,
        TransactionReply::Done | TransactionReply::Skipped => 0,
        TransactionReply::Locked { item, .. } => 8 + optional_item_size(item.as_ref()),
    }
}

/// ```text
///   kind u8 | committed, prepared: timestamp u64    conflict: reason u8, key?, rival u128?, timestamp u64
///             status: u8, with committed: timestamp u64    locked: changed u64, item?    done, skipped: nothing
/// ```
pub(crate) fn encode_transaction_reply<'a>(encoder: &'a mut Encoder, reply: &TransactionReply) -> &'a mut Encoder {
    match reply {
        TransactionReply::Committed { at } => encoder.u8(COMMITTED).u64(at.0),
        TransactionReply::Prepared { at } => encoder.u8(PREPARED).u64(at.0),
        TransactionReply::Conflict(conflict) => encode_conflict(encoder.u8(CONFLICT), conflict),
        TransactionReply::Status(status) => {
            encoder.u8(STATUS);
            match status {
                TransactionStatus::Pending => encoder.u8(STATUS_PENDING),
                TransactionStatus::Decided(Decision::Committed(at)) => encoder.u8(STATUS_COMMITTED).u64(at.0),
                TransactionStatus::Decided(Decision::Aborted) => encoder.u8(STATUS_ABORTED),
                TransactionStatus::Unknown => encoder.u8(STATUS_UNKNOWN),
            }
        }
        TransactionReply::Done => encoder.u8(DONE),
        TransactionReply::Locked { item, changed } => optional_item(encoder.u8(LOCKED).u64(changed.0), item.as_ref()),
        TransactionReply::Skipped => encoder.u8(SKIPPED),
    }
}

pub(crate) fn decode_transaction_reply(decoder: &mut Decoder) -> Result<TransactionReply, DecodeError> {
    Ok(match decoder.u8("transaction reply kind")? {
        COMMITTED => TransactionReply::Committed { at: decoder.timestamp("committed timestamp")? },
        PREPARED => TransactionReply::Prepared { at: decoder.timestamp("prepared timestamp")? },
        CONFLICT => TransactionReply::Conflict(decode_conflict(decoder)?),
        STATUS => TransactionReply::Status(decode_status(decoder)?),
        DONE => TransactionReply::Done,
        LOCKED => {
            let changed = Timestamp(decoder.u64("locked changed")?);
            TransactionReply::Locked { item: decode_optional_item(decoder, "locked item")?, changed }
        }
        SKIPPED => TransactionReply::Skipped,
        value => return Err(DecodeError::BadValue { field: "transaction reply kind", value: value.into() }),
    })
}

fn encode_conflict<'a>(encoder: &'a mut Encoder, conflict: &Conflict) -> &'a mut Encoder {
    encoder.u8(match conflict.reason {
        ConflictReason::Changed => REASON_CHANGED,
        ConflictReason::Aborted => REASON_ABORTED,
        ConflictReason::TooOld => REASON_TOO_OLD,
        ConflictReason::Wounded => REASON_WOUNDED,
        ConflictReason::Locked => REASON_LOCKED,
    });
    match &conflict.key {
        Some(key) => encoder.u8(1).space_key(key),
        None => encoder.u8(0),
    };
    match conflict.rival {
        Some(rival) => encoder.u8(1).u128(rival.0),
        None => encoder.u8(0),
    };
    encoder.u64(conflict.at.0)
}

fn decode_conflict(decoder: &mut Decoder) -> Result<Conflict, DecodeError> {
    let reason = match decoder.u8("conflict reason")? {
        REASON_CHANGED => ConflictReason::Changed,
        REASON_ABORTED => ConflictReason::Aborted,
        REASON_TOO_OLD => ConflictReason::TooOld,
        REASON_WOUNDED => ConflictReason::Wounded,
        REASON_LOCKED => ConflictReason::Locked,
        value => return Err(DecodeError::BadValue { field: "conflict reason", value: value.into() }),
    };
    Ok(Conflict {
        reason,
        key: decoder.optional("conflict key", Decoder::space_key)?,
        rival: decoder.optional("conflict rival", |decoder| decoder.u128("conflict rival").map(TransactionId))?,
        at: decoder.timestamp("conflict timestamp")?,
    })
}

fn decode_status(decoder: &mut Decoder) -> Result<TransactionStatus, DecodeError> {
    Ok(match decoder.u8("transaction status")? {
        STATUS_PENDING => TransactionStatus::Pending,
        STATUS_COMMITTED => {
            TransactionStatus::Decided(Decision::Committed(decoder.timestamp("transaction status timestamp")?))
        }
        STATUS_ABORTED => TransactionStatus::Decided(Decision::Aborted),
        STATUS_UNKNOWN => TransactionStatus::Unknown,
        value => return Err(DecodeError::BadValue { field: "transaction status", value: value.into() }),
    })
}
