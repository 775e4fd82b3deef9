//! What nodes ask each other about open transactions, as bytes: a wire format, not a persisted one. Tags are only ever
//! appended.
//!
//! ```text
//!   question   nothing: what shards have | 1: that, and what is kept for clients | 2 id: find it | 3 id patience: end it
//!   answer     to nothing and 1: what shards have; to 1 then what is kept, and how many more there are
//!              to 2 and 3: 0, or 1 and what is kept
//! ```
//! Programs that know only the first question give its answer to all of them.

use std::time::Duration;

use bytes::Bytes;
use strata_codec::{DecodeError, Decoder, Encoder};
use strata_router::{KeptStage, KeptTransaction};
use strata_types::{Decision, NodeId, ShardId, Slot, Timestamp, Transaction, TransactionId};

use super::{OpenPhase, OpenTransaction};

/// Least bytes of a transaction on a shard.
const ON_SHARD_BYTES_MIN: usize = 16 + 2 + 8 + 8 + 1 + 4 + 8 + 4 + 1;
/// Least bytes of one that is kept.
const KEPT_BYTES_MIN: usize = 16 + 1 + 8 + 8 + 8 + 1;

/// Phases by their numbers. 2 was a record that is not decided.
const PHASES: [Option<OpenPhase>; 5] =
    [Some(OpenPhase::Active), Some(OpenPhase::Prepared), None, Some(OpenPhase::Committed), Some(OpenPhase::Waiting)];

/// A question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// What the shards have that the node leads.
    OnShards,
    /// The same, and what the node keeps for clients.
    All,
    /// What the node knows of a transaction that it keeps.
    Find(TransactionId),
    /// The same, after it was ended if that is possible.
    Abort(TransactionId, Duration),
}

/// The answer to [`Question::All`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) on_shards: Vec<OpenTransaction>,
    /// Older programs do not tell.
    pub(super) kept: Option<Vec<KeptTransaction>>,
    /// How many more are kept than told.
    pub(super) left_out: u32,
}

pub(super) fn encode_question(question: Question) -> Bytes {
    let mut output = Encoder::with_capacity(32);
    match question {
        Question::OnShards => {}
        Question::All => _ = output.u8(1),
        Question::Find(id) => _ = output.u8(2).u128(id.0),
        Question::Abort(id, patience) => _ = output.u8(3).u128(id.0).u64(patience.as_millis() as u64),
    }
    output.finish()
}

pub(super) fn decode_question(body: Bytes) -> Result<Question, DecodeError> {
    if body.is_empty() {
        return Ok(Question::OnShards);
    }
    let mut input = Decoder::new(body);
    let question = match input.u8("question")? {
        1 => Question::All,
        2 => Question::Find(TransactionId(input.u128("transaction id")?)),
        3 => {
            let id = TransactionId(input.u128("transaction id")?);
            Question::Abort(id, Duration::from_millis(input.u64("patience")?))
        }
        tag => return Err(DecodeError::BadValue { field: "question", value: tag.into() }),
    };
    input.finish()?;
    Ok(question)
}

pub(super) fn encode_open(open: &Open) -> Bytes {
    let kept = open.kept.as_deref().unwrap_or_default();
    let bytes = 12 + open.on_shards.len() * (ON_SHARD_BYTES_MIN + 16) + kept.len() * (KEPT_BYTES_MIN + 10);
    let mut output = Encoder::with_capacity(bytes);
    put_count(&mut output, open.on_shards.len());
    open.on_shards.iter().for_each(|open| put_on_shard(&mut output, open));
    if let Some(kept) = &open.kept {
        put_count(&mut output, kept.len());
        kept.iter().for_each(|kept| put_kept(&mut output, kept));
        output.u32(open.left_out);
    }
    output.finish()
}

/// The answer of a node.
pub(super) fn decode_open(answer: Bytes, node: NodeId) -> Result<Open, DecodeError> {
    let mut input = Decoder::new(answer);
    let count = input.count(ON_SHARD_BYTES_MIN, "open transactions")?;
    let on_shards = (0..count).map(|_| take_on_shard(&mut input)).collect::<Result<_, _>>()?;
    let (mut kept, mut left_out) = (None, 0);
    if input.remaining() > 0 {
        let count = input.count(KEPT_BYTES_MIN, "kept transactions")?;
        kept = Some((0..count).map(|_| take_kept(&mut input, node)).collect::<Result<_, _>>()?);
        left_out = input.u32("left out")?;
    }
    input.finish()?;
    Ok(Open { on_shards, kept, left_out })
}

pub(super) fn encode_found(found: Option<&KeptTransaction>) -> Bytes {
    let mut output = Encoder::with_capacity(KEPT_BYTES_MIN + 11);
    match found {
        None => _ = output.u8(0),
        Some(kept) => put_kept(output.u8(1), kept),
    }
    output.finish()
}

/// The answer of a node. That of a program that does not know the question is an error: fewer than 2^24 transactions are
/// told, so it begins with a zero and does not end there.
pub(super) fn decode_found(answer: Bytes, node: NodeId) -> Result<Option<KeptTransaction>, DecodeError> {
    let mut input = Decoder::new(answer);
    let found = match input.u8("found")? {
        0 => None,
        1 => Some(take_kept(&mut input, node)?),
        tag => return Err(DecodeError::BadValue { field: "found", value: tag.into() }),
    };
    input.finish()?;
    Ok(found)
}

fn put_count(output: &mut Encoder, count: usize) {
    output.u32(u32::try_from(count).expect("far fewer than 2^32 are told"));
}

fn put_on_shard(output: &mut Encoder, open: &OpenTransaction) {
    let Transaction { id, anchor, read_timestamp, age } = open.transaction;
    output.u128(id.0).u16(anchor.number()).u64(read_timestamp.0).u64(age.0);
    let phase = PHASES.iter().position(|phase| *phase == Some(open.phase)).unwrap_or_default();
    output.u8(u8::try_from(phase).unwrap_or_default()).u32(open.shard.0);
    output.u64(open.elapsed.as_millis() as u64).u32(open.locks);
    match open.waits_for {
        Some(other) => output.u8(1).u128(other.0),
        None => output.u8(0),
    };
}

fn take_on_shard(input: &mut Decoder) -> Result<OpenTransaction, DecodeError> {
    let id = TransactionId(input.u128("transaction id")?);
    let anchor = take_slot(input)?;
    let (read_timestamp, age) = (Timestamp(input.u64("read timestamp")?), Timestamp(input.u64("age")?));
    let number = input.u8("phase")?;
    let phase = PHASES.get(usize::from(number)).copied().flatten();
    let phase = phase.ok_or(DecodeError::BadValue { field: "phase", value: number.into() })?;
    let shard = ShardId(input.u32("shard")?);
    let elapsed = Duration::from_millis(input.u64("elapsed")?);
    let locks = input.u32("locks")?;
    let waits_for = if input.u8("waits for")? != 0 { Some(TransactionId(input.u128("waits for")?)) } else { None };
    let transaction = Transaction { id, anchor, read_timestamp, age };
    Ok(OpenTransaction { transaction, phase, shard, elapsed, locks, waits_for })
}

fn put_kept(output: &mut Encoder, kept: &KeptTransaction) {
    output.u128(kept.id.0);
    match kept.anchor {
        Some(anchor) => output.u8(1).u16(anchor.number()),
        None => output.u8(0),
    };
    output.u64(kept.read_timestamp.0).u64(kept.age.0).u64(kept.elapsed.as_millis() as u64);
    match kept.stage {
        KeptStage::Open => output.u8(0),
        KeptStage::Committing => output.u8(1),
        KeptStage::Unanswered => output.u8(2),
        KeptStage::Ended(Decision::Aborted) => output.u8(3),
        KeptStage::Ended(Decision::Committed(at)) => output.u8(4).u64(at.0),
    };
}

fn take_kept(input: &mut Decoder, node: NodeId) -> Result<KeptTransaction, DecodeError> {
    let id = TransactionId(input.u128("transaction id")?);
    let anchor = if input.u8("is anchored")? != 0 { Some(take_slot(input)?) } else { None };
    let (read_timestamp, age) = (Timestamp(input.u64("read timestamp")?), Timestamp(input.u64("age")?));
    let elapsed = Duration::from_millis(input.u64("elapsed")?);
    let stage = match input.u8("stage")? {
        0 => KeptStage::Open,
        1 => KeptStage::Committing,
        2 => KeptStage::Unanswered,
        3 => KeptStage::Ended(Decision::Aborted),
        4 => KeptStage::Ended(Decision::Committed(Timestamp(input.u64("committed at")?))),
        tag => return Err(DecodeError::BadValue { field: "stage", value: tag.into() }),
    };
    Ok(KeptTransaction { node, id, anchor, read_timestamp, age, elapsed, stage })
}

fn take_slot(input: &mut Decoder) -> Result<Slot, DecodeError> {
    let number = input.u16("anchor")?;
    Slot::new(number).ok_or(DecodeError::BadValue { field: "anchor", value: number.into() })
}

#[cfg(test)]
mod tests;
