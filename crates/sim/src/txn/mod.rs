//! Clients that use transactions, and judges who look at what became of these.
//!
//! # Model
//! ```text
//!   clients (machines of clients, which die) --> desk (one life) -- bank, registers, doctors, counters, mixed: the stories
//!                                                  |
//!                                                  +-- notes: one transaction --> book: all of them --> judge
//! ```
//! A run has up to two stories. Every value is written once in a run: so a read tells who wrote it, and one checker does
//! for most stories. In the end every key is read once more (`final_reads`).
//!
//! # Invariants
//! - SIM-TXN-1: transactions are strictly serializable: the cycle checker finds nothing; what was aborted is never seen.
//! - SIM-TXN-2: what was read at a timestamp is read there for ever, at any replica; and it is what was committed last up to
//!   that timestamp, as the commits told.
//! - SIM-TXN-3: outcomes stay: who was told that a transaction is committed, or that it is not, is never told otherwise.
//! - SIM-TXN-4: when everything has healed and nobody works, no replica has an intent, a lock or an open record.
//! - SIM-TXN-5: what each story promises: money stays, somebody is on call, counters and sets have what was acknowledged.
//! - SIM-TXN-6: at any time, nothing is prepared above the timestamp at which its transaction is committed.
//! - SIM-TIME-1 is in `time_rules`.

mod bank;
mod book;
mod clients;
mod counters;
mod desk;
mod doctors;
mod final_reads;
mod judge;
mod leftovers;
mod mixed;
mod notes;
mod registers;
mod special;
mod stored;
mod story;
mod work;

pub(crate) use book::Book;
pub(crate) use clients::Transactors;
pub(crate) use leftovers::prepared_too_late;
pub(crate) use notes::Notes;
pub use story::Stories;
pub(crate) use story::Story;
