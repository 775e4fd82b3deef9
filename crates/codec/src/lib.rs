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
//!       data_key(db, key space, key)   StoredValue          value.rs     what users store
//!   reply      = encode_reply(Result<Reply, Error>)         reply.rs     also kept in session rows
//! ```
//! Each format begins with a format byte; numbers are fixed-width and big-endian, bytes are length-prefixed
//! ([`Encoder`], [`Decoder`]). Decoding shares the input's memory and never copies payloads.
//!
//! # Invariants
//! - CODEC-1: a number that was given to a format, tag or key kind keeps its meaning for ever; new ones are appended.
//! - CODEC-2: tablet keys order as (kind, database, key space, user key) do, so a range of user keys is one range.
//! - CODEC-3: decoders return an error for any input that is not a value's encoding; they never panic and never
//!   allocate more than a small multiple of the input.
//! - CODEC-4: encodings are canonical: decoding and encoding again yields the same bytes.

mod applied;
mod command;
pub mod damage;
mod entry;
mod fields;
mod key;
mod reply;
mod session;
mod value;
mod wire;

pub use applied::AppliedState;
pub use command::{Command, CommandBody, CommandHeader, encode_command};
pub use entry::EntryPayload;
pub use key::{
    APPLIED_KEY, KeyKind, SESSION_SUMMARY_KEY, data_key, data_range, session_key, session_use_client, session_use_key,
    session_use_range, user_key, user_key_slice,
};
pub use reply::{decode_reply, encode_reply};
pub use session::{FIRST_SEQUENCE, SessionResult, SessionRow, SessionSummary};
pub use value::StoredValue;
pub use wire::{DecodeError, Decoder, Encoder, checksum, checksum_append};
