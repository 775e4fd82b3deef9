//! Every persisted byte.
//!
//! # Problem
//! What is on disk outlives the program that wrote it, and replicas of different versions exchange log entries. So the
//! persisted bytes are written by hand, apart from the wire format of clients, and are pinned by golden files.
//!
//! # Model
//! ```text
//!   log entry  = EntryPayload [ Command, Command, ... ]     entry.rs, command.rs
//!   tablet row = key (key.rs) -> value:
//!       APPLIED_KEY                    AppliedState         applied.rs   how far the tablet has applied the log
//!       session_key(client)            SessionRow           session.rs   results of a client's last writes
//!       session_use_key(used, client)  (empty)              session.rs   sessions by last use, for forgetting
//!       SESSION_SUMMARY_KEY            SessionSummary       session.rs   how many sessions there are
//!       data_key(db, key space, key)   StoredValue          value.rs     what users store: the newest version
//!       history_key(key, timestamp)    Version              history.rs   older versions, and that a key was removed
//!       intent_key(key)                KeyLocks             key_locks.rs who wants to write a key, who has read it
//!       range_locks_key(transaction)   RangeLocks           range_locks.rs  who has read ranges
//!       participant_key(transaction)   Participant          participant.rs  what is prepared here
//!       resolved_participant_key(..)   ResolvedParticipant  participant.rs  what must not be prepared again
//!       record_key(transaction)        TransactionRecord    record.rs    whether a transaction is committed
//!       closed_record_key(..)          TransactionRecord    record.rs    the same, when nobody has to act on it
//!       SHARD_STATE_KEY                ShardState           shard_state.rs  horizon, and how much is locked
//!   reply      = encode_reply(Result<Reply, Error>)         reply.rs     also kept in session rows
//! ```
//! Each format begins with a format byte; numbers are fixed-width and big-endian, bytes are length-prefixed
//! ([`Encoder`], [`Decoder`]). Decoding shares the input's memory and never copies payloads.
//!
//! # Invariants
//! - CODEC-1: a number that was given to a format, tag or key kind keeps its meaning for ever; new ones are appended.
//! - CODEC-2: tablet keys order as (kind, database, key space, user key) do, so a range of user keys is one range. In a
//!   history key the user key is escaped (`escape.rs`), and of one user key the newest version comes first.
//! - CODEC-3: decoders return an error for any input that is not a value's encoding; they never panic and never
//!   allocate more than a small multiple of the input.
//! - CODEC-4: encodings are canonical: decoding and encoding again yields the same bytes.

mod applied;
mod command;
mod command_header;
pub mod damage;
mod entry;
mod escape;
mod fields;
mod history;
mod key;
mod key_locks;
mod participant;
mod range_locks;
mod record;
mod reply;
mod session;
mod shard_state;
mod transaction;
mod transaction_command;
mod transaction_reply;
mod value;
mod wire;

pub use applied::AppliedState;
pub use command::{Command, CommandBody, encode_collect, encode_command};
pub use command_header::CommandHeader;
pub use entry::EntryPayload;
pub use history::{Version, history_after_key, history_entry, history_key, history_range, history_range_of_key};
pub use key::{
    APPLIED_KEY, KeyKind, SESSION_SUMMARY_KEY, data_key, data_range, session_key, session_use_client, session_use_key,
    session_use_range, user_key, user_key_slice,
};
pub use key_locks::{Intent, KeyLocks, intent_key, intent_range, intent_user_key};
pub use participant::{Participant, ResolvedParticipant, participant_key, resolved_participant_key};
pub use range_locks::{RangeLocks, range_locks_key};
pub use record::{RecordState, TransactionRecord, closed_record_key, record_key};
pub use reply::{decode_reply, encode_reply};
pub use session::{FIRST_SEQUENCE, SessionResult, SessionRow, SessionSummary};
pub use shard_state::{SHARD_STATE_KEY, ShardState};
pub use value::StoredValue;
pub use wire::{DecodeError, Decoder, Encoder, checksum, checksum_append};
