//! Commands: the writes that the log carries.

use bytes::Bytes;
use strata_types::{
    Decision, Error, ErrorCode, Expected, Mutation, Operation, Part, Request, Slot, Timestamp, Transaction,
    TransactionCall,
};

use crate::command_header::{COMMAND_VERSION, CommandHeader};
use crate::fields::{LENGTH_BYTES, REVISION_BYTES, optional_bytes_size};
use crate::{DecodeError, Decoder};

const TAG_NOOP: u8 = 0;
const TAG_PUT: u8 = 1;
const TAG_DELETE: u8 = 2;
const TAG_COMPARE_AND_SET: u8 = 3;
const TAG_BATCH: u8 = 4;
pub(crate) const TAG_COMMIT: u8 = 5;
pub(crate) const TAG_PREPARE: u8 = 6;
// 7 was a decision apart from the commits; no release wrote one.
pub(crate) const TAG_ABORT: u8 = 8;
pub(crate) const TAG_RESOLVE: u8 = 9;
pub(crate) const TAG_FORGET: u8 = 10;
pub(crate) const TAG_COLLECT: u8 = 11;
pub(crate) const TAG_COMMIT_LAST: u8 = 12;

const MUTATION_PUT: u8 = 1;
const MUTATION_DELETE: u8 = 2;
const MUTATION_BYTES_MIN: usize = 1 + LENGTH_BYTES;

const EXPECTED_ABSENT: u8 = 0;
const EXPECTED_VALUE: u8 = 1;
const EXPECTED_REVISION: u8 = 2;

/// One write, as the log carries it.
///
/// ```text
///   version u8 | tag u8 | length u32 | header | body                    length = bytes of header and body
///   header: database u32 | key space u32 | seen u64 | schema u32 | durability u8 | session u8
///           session 0: none    1: client u64 | sequence u64 | floor u64    2: the same | opened u64, which is not 0
///   body of put: key, value    of delete: key    of batch: count u32, (tag u8, key, value?) ...    of noop: nothing
///        of compare-and-set: key, expected tag u8 [value | revision], new value? u8 [value]
///        of steps of transactions: transaction_command.rs
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// What every command has.
    pub header: CommandHeader,
    /// What it does.
    pub body: CommandBody,
}

/// What a command does.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommandBody {
    /// Nothing.
    Noop,
    /// Writes one key whatever it holds.
    Put {
        /// The key.
        key: Bytes,
        /// Its new value.
        value: Bytes,
    },
    /// Removes one key.
    Delete {
        /// The key.
        key: Bytes,
    },
    /// Writes or removes one key if it holds what is expected.
    CompareAndSet {
        /// The key.
        key: Bytes,
        /// What it must hold.
        expected: Expected,
        /// Its new value; `None` removes it.
        value: Option<Bytes>,
    },
    /// Several writes, all or none.
    Batch {
        /// The writes, in order.
        mutations: Vec<Mutation>,
    },
    /// Checks and writes the part of a transaction that decides: all others are prepared.
    Commit(Part),
    /// Checks a part of a transaction, and locks what it has read and wants to write.
    Prepare(Part),
    /// Aborts a transaction, unless it is committed.
    Abort {
        /// Which one.
        transaction: Transaction,
    },
    /// Makes the writes of a decided transaction what they have become.
    Resolve {
        /// Which one.
        transaction: Transaction,
        /// A slot of the shard.
        slot: Slot,
        /// What was decided.
        decision: Decision,
    },
    /// Every participant of a committed transaction has resolved it.
    Forget {
        /// Which one.
        transaction: Transaction,
    },
    /// Raises the horizon, and removes rows that nobody needs above it.
    Collect {
        /// The new horizon.
        horizon: Timestamp,
        /// Tablet keys of the rows.
        rows: Vec<Bytes>,
    },
}

/// Encodes the command of a request whose operation is a write, without copying keys and values more than once.
///
/// # Errors
/// `InvalidArgument` when the operation is a read: reads do not go through the log.
pub fn encode_command(request: &Request) -> strata_types::Result<Bytes> {
    let header = CommandHeader::of(&request.header);
    match &request.operation {
        Operation::Put { key, value } => Ok(header.encode_put(key, value)),
        Operation::Delete { key } => Ok(header.encode_delete(key)),
        Operation::CompareAndSet { key, expected, value } => {
            Ok(header.encode_compare_and_set(key, expected, value.as_ref()))
        }
        Operation::Batch { mutations } => Ok(header.encode_batch(mutations)),
        Operation::Get { .. } | Operation::Scan { .. } => Err(Error::not_applied(
            ErrorCode::InvalidArgument,
            "a read is not a command: it does not go through the log",
        )),
        Operation::Transact(call) => encode_call(&header, call),
    }
}

/// Encodes the command that removes rows which nobody needs above a horizon.
pub fn encode_collect(horizon: Timestamp, rows: &[Bytes]) -> Bytes {
    CommandHeader::default().encode_collect(horizon, rows)
}

fn encode_call(header: &CommandHeader, call: &TransactionCall) -> strata_types::Result<Bytes> {
    match call {
        TransactionCall::Commit(part) => Ok(header.encode_commit(part)),
        TransactionCall::Prepare(part) => Ok(header.encode_prepare(part)),
        TransactionCall::Abort { transaction } => Ok(header.encode_about(TAG_ABORT, transaction)),
        TransactionCall::Resolve { transaction, slot, decision } => {
            Ok(header.encode_resolve(transaction, *slot, *decision))
        }
        TransactionCall::Forget { transaction } => Ok(header.encode_about(TAG_FORGET, transaction)),
        TransactionCall::Push { .. }
        | TransactionCall::Status { .. }
        | TransactionCall::Lock { .. }
        | TransactionCall::Unlock { .. } => Err(Error::not_applied(
            ErrorCode::InvalidArgument,
            "this step of a transaction is not a command: it does not go through the log",
        )),
    }
}

impl Command {
    /// The bytes of the command.
    pub fn encode(&self) -> Bytes {
        match &self.body {
            CommandBody::Noop => self.header.encoder(TAG_NOOP, 0).finish(),
            CommandBody::Put { key, value } => self.header.encode_put(key, value),
            CommandBody::Delete { key } => self.header.encode_delete(key),
            CommandBody::CompareAndSet { key, expected, value } => {
                self.header.encode_compare_and_set(key, expected, value.as_ref())
            }
            CommandBody::Batch { mutations } => self.header.encode_batch(mutations),
            CommandBody::Commit(part) => self.header.encode_commit(part),
            CommandBody::Prepare(part) => self.header.encode_prepare(part),
            CommandBody::Abort { transaction } => self.header.encode_about(TAG_ABORT, transaction),
            CommandBody::Resolve { transaction, slot, decision } => {
                self.header.encode_resolve(transaction, *slot, *decision)
            }
            CommandBody::Forget { transaction } => self.header.encode_about(TAG_FORGET, transaction),
            CommandBody::Collect { horizon, rows } => self.header.encode_collect(*horizon, rows),
        }
    }

    /// Decodes a command; keys and values share its memory.
    pub fn decode(command: Bytes) -> Result<Command, DecodeError> {
        let mut decoder = Decoder::new(command);
        decoder.format(COMMAND_VERSION, "command version")?;
        let tag = decoder.u8("command tag")?;
        let length = decoder.u32("command length")? as usize;
        match decoder.remaining() {
            remaining if remaining < length => return Err(DecodeError::Truncated { field: "command body" }),
            remaining if remaining > length => return Err(DecodeError::Trailing { count: remaining - length }),
            _ => {}
        }
        let header = CommandHeader::decode(&mut decoder)?;
        let body = CommandBody::decode(tag, &mut decoder)?;
        decoder.finish()?;
        Ok(Command { header, body })
    }
}

impl CommandHeader {
    fn encode_put(&self, key: &[u8], value: &[u8]) -> Bytes {
        let mut encoder = self.encoder(TAG_PUT, 2 * LENGTH_BYTES + key.len() + value.len());
        encoder.bytes(key).bytes(value);
        encoder.finish()
    }

    fn encode_delete(&self, key: &[u8]) -> Bytes {
        let mut encoder = self.encoder(TAG_DELETE, LENGTH_BYTES + key.len());
        encoder.bytes(key);
        encoder.finish()
    }

    fn encode_compare_and_set(&self, key: &[u8], expected: &Expected, value: Option<&Bytes>) -> Bytes {
        let expected_bytes = match expected {
            Expected::Absent => 0,
            Expected::Value(value) => LENGTH_BYTES + value.len(),
            Expected::Revision(_) => REVISION_BYTES,
        };
        let body_bytes = LENGTH_BYTES + key.len() + 1 + expected_bytes + optional_bytes_size(value);
        let mut encoder = self.encoder(TAG_COMPARE_AND_SET, body_bytes);
        encoder.bytes(key);
        match expected {
            Expected::Absent => encoder.u8(EXPECTED_ABSENT),
            Expected::Value(value) => encoder.u8(EXPECTED_VALUE).bytes(value),
            Expected::Revision(revision) => encoder.u8(EXPECTED_REVISION).revision(*revision),
        };
        encoder.optional_bytes(value.map(Bytes::as_ref));
        encoder.finish()
    }

    fn encode_batch(&self, mutations: &[Mutation]) -> Bytes {
        let mutation_bytes = |mutation: &Mutation| match mutation {
            Mutation::Put { .. } => 1 + 2 * LENGTH_BYTES + mutation.size(),
            Mutation::Delete { .. } => 1 + LENGTH_BYTES + mutation.size(),
        };
        let mut encoder = self.encoder(TAG_BATCH, 4 + mutations.iter().map(mutation_bytes).sum::<usize>());
        encoder.u32(u32::try_from(mutations.len()).expect("a batch has far fewer than 2^32 mutations"));
        for mutation in mutations {
            match mutation {
                Mutation::Put { key, value } => encoder.u8(MUTATION_PUT).bytes(key).bytes(value),
                Mutation::Delete { key } => encoder.u8(MUTATION_DELETE).bytes(key),
            };
        }
        encoder.finish()
    }
}

impl CommandBody {
    fn decode(tag: u8, decoder: &mut Decoder) -> Result<CommandBody, DecodeError> {
        match tag {
            TAG_NOOP => Ok(CommandBody::Noop),
            TAG_PUT => Ok(CommandBody::Put { key: decoder.bytes("put key")?, value: decoder.bytes("put value")? }),
            TAG_DELETE => Ok(CommandBody::Delete { key: decoder.bytes("delete key")? }),
            TAG_COMPARE_AND_SET => Ok(CommandBody::CompareAndSet {
                key: decoder.bytes("compare-and-set key")?,
                expected: decode_expected(decoder)?,
                value: decoder.optional_bytes("compare-and-set value")?,
            }),
            TAG_BATCH => {
                let count = decoder.count(MUTATION_BYTES_MIN, "batch count")?;
                let mutations = (0..count).map(|_| decode_mutation(decoder)).collect::<Result<_, _>>()?;
                Ok(CommandBody::Batch { mutations })
            }
            tag => CommandBody::decode_transaction(tag, decoder),
        }
    }
}

fn decode_expected(decoder: &mut Decoder) -> Result<Expected, DecodeError> {
    match decoder.u8("compare-and-set expected")? {
        EXPECTED_ABSENT => Ok(Expected::Absent),
        EXPECTED_VALUE => Ok(Expected::Value(decoder.bytes("compare-and-set expected value")?)),
        EXPECTED_REVISION => Ok(Expected::Revision(decoder.revision("compare-and-set expected revision")?)),
        value => Err(DecodeError::BadValue { field: "compare-and-set expected", value: value.into() }),
    }
}

fn decode_mutation(decoder: &mut Decoder) -> Result<Mutation, DecodeError> {
    match decoder.u8("mutation tag")? {
        MUTATION_PUT => {
            Ok(Mutation::Put { key: decoder.bytes("mutation key")?, value: decoder.bytes("mutation value")? })
        }
        MUTATION_DELETE => Ok(Mutation::Delete { key: decoder.bytes("mutation key")? }),
        value => Err(DecodeError::BadValue { field: "mutation tag", value: value.into() }),
    }
}
