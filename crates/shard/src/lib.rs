//! The data machine: what a shard's replicas do with a committed command.
//!
//! # Problem
//! Every replica of a shard applies the same commands and must hold the same bytes afterwards; a client that sends a write
//! again because it heard no answer must not have it applied twice; and transactions that lie on several shards must look
//! as if each had happened alone, at one moment. Nothing here does I/O, reads a clock or draws a random number.
//!
//! # Model
//! ```text
//!   command -> session? -- known result --> the same reply again, no write
//!                 |   \--- below the floor, or maybe forgotten --> session_expired, outcome unknown, no write
//!                 v
//!              held by an undecided transaction of another? --> blocked by it: no write, not remembered
//!                 |
//!                 v
//!              execute: data rows (key -> StoredValue with the command's revision and timestamp), history, reply
//!                 |
//!                 v
//!              session row: reply, floor, last use                                       -> reply
//! ```
//! Every log entry has a timestamp, its *stamp*; one stamped zero is from before there were transactions, and is carried
//! out as it was then. A key has its newest value under its data key; what a reader of an older timestamp may need of it
//! stands in its history (`versions.rs`). Reads ([`get`], [`scan`]) do not go through the log; they see what there is now,
//! or what there was at a timestamp.
//!
//! A transaction that lies on one shard is one command. One that lies on several is *prepared* on each but that of its
//! anchor: what it has read is checked, and what it has read and wants to write is held (`locks.rs`). Then the part of the
//! anchor is committed, as if it were the only one, and that leaves its *record*: committed. An abort leaves one before, and
//! the commit is refused. With what the record says it is *resolved* on the others (`transactions.rs`). Rows that nobody
//! needs any more, because nobody reads below the *horizon*, are collected (`collect.rs`).
//!
//! # Path of a put with a session
//! 1. [`ShardMachine`] decodes the command; its keys and values are slices of the log entry.
//! 2. `sessions` reads the client's row and finds the sequence neither answered nor below the floor.
//! 3. `writes` reads the row that says whether anything is held here ([`shard_state`]), and if so, whether the key is.
//! 4. `versions` puts the old value into the history, if its timestamp is an earlier one, and then the data row.
//! 5. `sessions` adds the reply to the row, drops results below the client's floor and writes the row.
//!
//! # Path of a transaction on two shards
//! 1. Prepare, on the other shard: nothing that it has read was changed since its read timestamp; nobody else holds what it
//!    has read or wants to write. It takes its locks; the answer is the stamp.
//! 2. Commit, on the anchor's shard, not stamped before that: the same checks; its writes here are versions, and its record
//!    says committed, at the stamp of this entry.
//! 3. Resolve, on the other shard: each write becomes a version at that timestamp; the locks go; a mark stays, so that a
//!    prepare that was late is refused.
//! 4. Forget, on the anchor's shard: record and marks are garbage when the horizon has passed the read timestamp.
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
//! - SHARD-6: what is read at a timestamp at the horizon or above is the same whenever it is read, once everything stamped
//!   up to there is applied: the newest versions that are not newer, without what is not decided.
//! - SHARD-7: what an undecided transaction wants to write is neither written nor read by others, and what it has read is
//!   not written by others. Who is kept from something has changed nothing.
//! - SHARD-8: a step of a transaction that comes again gets the first answer and changes nothing; after a transaction was
//!   resolved no prepare of it succeeds.
//! - SHARD-9: a record says committed only if none was there, and what was decided never changes: after an abort no commit
//!   succeeds.
//! - SHARD-10: a transaction commits or is prepared only if no key and no range that it has read was changed after its
//!   read timestamp, and with a stamp after that; it commits with a stamp not before any of its prepared parts, and is
//!   resolved with one not before its commit.
//! - SHARD-11: what begins or reads below the horizon is refused.
//! - SHARD-12: what [`shard_state`] counts is there, a key is locked only by transactions that are prepared, and what has
//!   ended leaves nothing for good but the newest values.
//!
//! # Left out
//! Expiry: the field is stored, not looked at. Locks that only make success likelier: they are the leader's, in memory.

/// Whether a seeded bug is switched on: never in a release build.
macro_rules! mutated {
    ($name:ident) => {{
        #[cfg(debug_assertions)]
        let is = crate::mutant::is(crate::mutant::Mutant::$name);
        #[cfg(not(debug_assertions))]
        let is = false;
        is
    }};
}

mod collect;
mod locks;
mod machine;
#[cfg(debug_assertions)]
pub mod mutant;
mod page;
mod reads;
mod rows;
mod sessions;
mod snapshot_page;
pub mod testing;
mod transactions;
mod unfinished;
mod versions;
mod work;
mod writes;

pub use collect::{Garbage, garbage};
pub use locks::blocker_of;
pub use machine::ShardMachine;
pub use reads::{Obstacle, decode_item, get, newest, scan};
pub use rows::{shard_state, status};
pub use unfinished::{Unfinished, UnfinishedState, unfinished, unfinished_from};
pub use versions::{are_short, newest_change};
