//! Replies of commands: what a client gets and what a session row keeps.

use bytes::Bytes;
use strata_types::{Error, ErrorCode, Item, LogIndex, Outcome, Reply};

use crate::fields::{ITEM_OVERHEAD_BYTES, LENGTH_BYTES, REVISION_BYTES, optional_bytes_size};
use crate::transaction::TRANSACTION_BYTES;
use crate::transaction_reply::{decode_transaction_reply, encode_transaction_reply, transaction_reply_size};
use crate::{DecodeError, Decoder, Encoder};

const VERSION: u8 = 1;
const PREFIX_BYTES: usize = 2;

const TAG_ERROR: u8 = 0;
const TAG_GET: u8 = 1;
const TAG_PUT: u8 = 2;
const TAG_DELETE: u8 = 3;
const TAG_COMPARE_AND_SET: u8 = 4;
const TAG_BATCH: u8 = 5;
const TAG_SCAN: u8 = 6;
const TAG_ERROR_AT: u8 = 7;
const TAG_TRANSACT: u8 = 8;
const TAG_BLOCKED: u8 = 9;

const OUTCOME_APPLIED: u8 = 0;
const OUTCOME_NOT_APPLIED: u8 = 1;
const OUTCOME_UNKNOWN: u8 = 2;

/// Encodes the result of an operation.
///
/// ```text
///   version u8 | tag u8 | body
///   put, batch: revision   delete: existed u8, revision   compare-and-set: succeeded u8, revision, item?
///   get: item?   scan: count u32, items, resume?   error: code name, outcome u8, message
///   error that says how far the log is: position u64, then as error
///   transact: transaction_reply.rs   blocked: transaction
///   item: revision, timestamp u64, key, value      x?: presence u8, then x
/// ```
pub fn encode_reply(result: &Result<Reply, Error>) -> Bytes {
    match result {
        Ok(Reply::Put { revision }) => prefix(TAG_PUT, REVISION_BYTES).with(|e| e.revision(*revision)),
        Ok(Reply::Batch { revision }) => prefix(TAG_BATCH, REVISION_BYTES).with(|e| e.revision(*revision)),
        Ok(Reply::Delete { existed, revision }) => {
            prefix(TAG_DELETE, 1 + REVISION_BYTES).with(|e| e.u8(u8::from(*existed)).revision(*revision))
        }
        Ok(Reply::CompareAndSet { succeeded, revision, current }) => {
            prefix(TAG_COMPARE_AND_SET, 1 + REVISION_BYTES + optional_item_size(current.as_ref()))
                .with(|e| optional_item(e.u8(u8::from(*succeeded)).revision(*revision), current.as_ref()))
        }
        Ok(Reply::Get { item, .. }) => {
            prefix(TAG_GET, optional_item_size(item.as_ref())).with(|e| optional_item(e, item.as_ref()))
        }
        Ok(Reply::Scan { items, resume, .. }) => encode_scan(items, resume.as_ref()),
        Ok(Reply::Transact(reply)) => {
            prefix(TAG_TRANSACT, transaction_reply_size(reply)).with(|encoder| encode_transaction_reply(encoder, reply))
        }
        Ok(Reply::Blocked { by }) => prefix(TAG_BLOCKED, TRANSACTION_BYTES).with(|encoder| encoder.transaction(by)),
        Err(error) => encode_error(error),
    }
}

/// Decodes what [`encode_reply`] wrote; items share its memory.
pub fn decode_reply(reply: Bytes) -> Result<Result<Reply, Error>, DecodeError> {
    let mut decoder = Decoder::new(reply);
    decoder.format(VERSION, "reply version")?;
    let result = match decoder.u8("reply tag")? {
        TAG_ERROR => Err(decode_error(&mut decoder)?),
        TAG_ERROR_AT => {
            let position = LogIndex(decoder.u64("error position")?);
            Err(decode_error(&mut decoder)?.at(position))
        }
        TAG_GET => Ok(Reply::Get { item: decode_optional_item(&mut decoder, "get item")?, freshness: None }),
        TAG_PUT => Ok(Reply::Put { revision: decoder.revision("put revision")? }),
        TAG_DELETE => Ok(Reply::Delete {
            existed: decoder.flag("delete existed")?,
            revision: decoder.revision("delete revision")?,
        }),
        TAG_COMPARE_AND_SET => Ok(Reply::CompareAndSet {
            succeeded: decoder.flag("compare-and-set succeeded")?,
            revision: decoder.revision("compare-and-set revision")?,
            current: decode_optional_item(&mut decoder, "compare-and-set current")?,
        }),
        TAG_BATCH => Ok(Reply::Batch { revision: decoder.revision("batch revision")? }),
        TAG_SCAN => {
            let count = decoder.count(ITEM_OVERHEAD_BYTES, "scan count")?;
            let items = (0..count).map(|_| decoder.item()).collect::<Result<_, _>>()?;
            Ok(Reply::Scan { items, resume: decoder.optional_bytes("scan resume")?, freshness: None })
        }
        TAG_TRANSACT => Ok(Reply::Transact(decode_transaction_reply(&mut decoder)?)),
        TAG_BLOCKED => Ok(Reply::Blocked { by: decoder.transaction()? }),
        value => return Err(DecodeError::BadValue { field: "reply tag", value: value.into() }),
    };
    decoder.finish()?;
    Ok(result)
}

/// An encoder of exactly the reply's size that already holds its prefix.
fn prefix(tag: u8, body_bytes: usize) -> Encoder {
    let mut encoder = Encoder::with_capacity(PREFIX_BYTES + body_bytes);
    encoder.u8(VERSION).u8(tag);
    encoder
}

impl Encoder {
    fn with(mut self, fill: impl FnOnce(&mut Encoder) -> &mut Encoder) -> Bytes {
        fill(&mut self);
        self.finish()
    }
}

pub(crate) fn optional_item<'a>(encoder: &'a mut Encoder, item: Option<&Item>) -> &'a mut Encoder {
    match item {
        Some(item) => encoder.u8(1).item(item),
        None => encoder.u8(0),
    }
}

pub(crate) fn optional_item_size(item: Option<&Item>) -> usize {
    1 + item.map_or(0, item_size)
}

fn item_size(item: &Item) -> usize {
    ITEM_OVERHEAD_BYTES + item.key.len() + item.value.len()
}

pub(crate) fn decode_optional_item(decoder: &mut Decoder, field: &'static str) -> Result<Option<Item>, DecodeError> {
    match decoder.flag(field)? {
        true => decoder.item().map(Some),
        false => Ok(None),
    }
}

fn encode_scan(items: &[Item], resume: Option<&Bytes>) -> Bytes {
    let body_bytes = 4 + items.iter().map(item_size).sum::<usize>() + optional_bytes_size(resume);
    let mut encoder = prefix(TAG_SCAN, body_bytes);
    encoder.u32(u32::try_from(items.len()).expect("a page has far fewer than 2^32 items"));
    for item in items {
        encoder.item(item);
    }
    encoder.optional_bytes(resume.map(Bytes::as_ref));
    encoder.finish()
}

/// Codes are written as their names: those are stable and public, so there is no second numbering to keep.
fn encode_error(error: &Error) -> Bytes {
    let code = error.code.name();
    let outcome = match error.outcome {
        Outcome::Applied => OUTCOME_APPLIED,
        Outcome::NotApplied => OUTCOME_NOT_APPLIED,
        Outcome::Unknown => OUTCOME_UNKNOWN,
    };
    let body_bytes = 2 * LENGTH_BYTES + code.len() + 1 + error.message.len();
    let mut encoder = match error.position {
        None => prefix(TAG_ERROR, body_bytes),
        Some(position) => {
            let mut encoder = prefix(TAG_ERROR_AT, 8 + body_bytes);
            encoder.u64(position.0);
            encoder
        }
    };
    encoder.bytes(code.as_bytes()).u8(outcome).bytes(error.message.as_bytes());
    encoder.finish()
}

fn decode_error(decoder: &mut Decoder) -> Result<Error, DecodeError> {
    let name = decoder.string("error code")?;
    let code =
        ErrorCode::from_name(&name).ok_or(DecodeError::BadValue { field: "error code", value: name.len() as u64 })?;
    let outcome = match decoder.u8("error outcome")? {
        OUTCOME_APPLIED => Outcome::Applied,
        OUTCOME_NOT_APPLIED => Outcome::NotApplied,
        OUTCOME_UNKNOWN => Outcome::Unknown,
        value => return Err(DecodeError::BadValue { field: "error outcome", value: value.into() }),
    };
    Ok(Error::new(code, outcome, decoder.string("error message")?))
}
