//! The data machine: what a shard's replicas do with a committed command.
//!
//! # Problem
//! Every replica of a shard applies the same commands and must hold the same bytes afterwards, and a client that sends
//! a write again because it heard no answer must not have it applied twice. Nothing here does I/O, reads a clock or
//! draws a random number.
//!
//! # Model
//! ```text
//!   command -> session? -- known result --> the same reply again, no write
//!                 |   \--- below the floor, or maybe forgotten --> session_expired, outcome unknown, no write
//!                 v
//!              execute: data rows (key -> StoredValue with the command's revision), reply
//!                 |
//!                 v
//!              session row: reply, floor, last use                                       -> reply
//! ```
//! A blind put is one write and no read. A delete reads to say whether the key existed; a compare-and-set reads to
//! compare; a batch of puts reads nothing. Reads ([`get`], [`scan`]) do not go through the log.
//!
//! # Path of a put with a session
//! 1. [`ShardMachine`] decodes the command; its keys and values are slices of the log entry.
//! 2. `sessions` reads the client's row and finds the sequence neither answered nor below the floor.
//! 3. `writes` puts the data row and encodes the reply.
//! 4. `sessions` adds the reply to the row, drops results below the client's floor and writes the row.
//!
//! # Invariants
//! - SHARD-1: apply is a function of the view and the command (MACHINE-1); the only position it uses is the command's.
//! - SHARD-2: the revision of a key only rises, and all writes of one command have the command's revision.
//! - SHARD-3: a sequence of a session whose row is there is applied at most once: it is either among the results, below
//!   the floor, or new.
//! - SHARD-4: a request of a session that the shard has forgotten is not applied. Its client may have raised its floor,
//!   which tells; or it opened the session before the last use of the session that was forgotten last, which may be its
//!   own. A new session that was opened there is refused in the same way, once: the answer says how far the log is, and
//!   the next session is opened there. The argument is in `sessions.rs`.
//! - SHARD-5: a shard has at most `SESSIONS_PER_SHARD_MAX` session rows of at most `SESSION_RESULTS_MAX` results; the
//!   session used longest ago, by revision, is forgotten first.
//!
//! # Left out
//! Timestamps: until transactions exist, values carry [`strata_types::Timestamp`] zero. Expiry: the field is stored, not
//! looked at.

mod machine;
mod reads;
mod sessions;
mod writes;

pub use machine::ShardMachine;
pub use reads::{decode_item, get, scan};
