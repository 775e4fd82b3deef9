//! Transactions over keys of any shards: the coordinator, the same one in the SDK and in a node's gateway.
//!
//! # Problem
//! Several reads and writes of any keys are to take effect together, as if nobody else were there, although shards
//! share nothing but a counter, messages get lost, and the program that coordinates may end at any moment. The shards
//! keep the promises ([`strata_types::TransactionCall`] says which); whoever asks them has to ask the right things in
//! the right order, and to tell the truth about what came of it.
//!
//! # Model
//! ```text
//!   Transactions --- begin, transact ---> Transaction { read timestamp, what was read, what is to be written, locks }
//!        |                                     |  get, scan: at the read timestamp, own writes on top
//!        |                                     |  get_for_update: lock, then read
//!        `-- snapshot, snapshot_at --> Snapshot|  commit
//!                                              v
//!                       parts, one for each shard that was read or is written
//!             one part: Commit      several: Prepare each but the anchor's -> Commit the anchor's -> answer
//!                                            in the background: Resolve the others -> Unlock, Forget
//! ```
//! Everything goes through [`strata_router::Router`], which finds leaders and repeats steps: a step that is repeated
//! changes nothing and gets the first answer.
//!
//! # Path of a transfer between two shards
//! 1. `begin` takes a timestamp T of the meta group's counter.
//! 2. Two reads at T. Each keeps its shard from writing anything at or below T from then on.
//! 3. Two `put`s stay here.
//! 4. `commit` splits both into parts. The shard of the key written first is the anchor's. The other one checks that what
//!    was read is what is still there, and writes intents: it is prepared.
//! 5. The anchor's shard checks its part, writes, and notes that the transaction is committed, in one entry of its log, not
//!    stamped before the other part was prepared. This is the moment; the caller has its answer.
//! 6. In the background the other shard makes versions of its intents. When it has, the record may go: that is told to the
//!    anchor's shard together with what other transactions of the same time have to tell (`ticks.rs`).
//!
//! # Hot keys
//! Checks at the commit alone would let many who change one key fail in turn. [`Transaction::get_for_update`] locks
//! the key at its leader first, and then looks: if the key was changed since the transaction began, it goes on at a
//! newer timestamp, provided that everything it has read is the same there. Locks are advice in a leader's memory:
//! what is right is decided by the checks of step 4 alone, so what a lock found is never used as a read.
//!
//! # What became of it
//! "Not applied" is said after a refusal that stands in the log, or when nobody was asked to commit. An answer that
//! did not come makes the outcome `unknown`, and the error names the [`TransactionHandle`] with which
//! [`Transactions::outcome`] tells later. [`Transactions::settle`] makes sure: it asks the shard of the record to refuse
//! the commit from now on, which says that it is too late if it is committed. A commit runs in a task of its own, so that a caller that goes away leaves
//! nothing half done. If the whole program goes away, nodes that meet what it left push it to its end.
//!
//! # Transactions that a client leaves to a node
//! Whoever has no coordinator of its own, because it speaks a language of front doors, leaves its transaction to the node
//! that it is connected to and names it by its id. [`OpenTransactions`] keeps them all, whatever the language: how many
//! there are, what they hold and how long they last is bounded, and how one ended is remembered for a client whose answer
//! was lost. Any node can be asked for the outcome.
//!
//! # Invariants
//! - COORD-1: whatever was read, and every write, is sent to be checked, to every shard that has some of it; of a scan
//!   the keys from its start up to the last one that was returned, present or absent.
//! - COORD-2: all that a transaction has read is true at the one read timestamp that its commit names.
//! - COORD-3: the anchor's part is committed only after every other part was prepared, and names all of these and the
//!   latest of their timestamps.
//! - COORD-4: an outcome is `not applied` only if no copy of any message of the transaction can commit it any more.
//! - COORD-5: one that did not commit leaves no lock, and intents only as long as its shards cannot be reached.
//! - COORD-6: the anchor is chosen once. Who was told of one asks there, and believes that nothing else is committed.
//! - COORD-7: what a node keeps for clients is bounded: how many, what they hold, how long they are idle and how long they
//!   last.
//! - COORD-8: a call about a transaction that may be committed never says that it is not.
//!
//! # Left out
//! Locks of ranges: a scan whose result decides what is written may have to be done again. Shards that are split while
//! a transaction is open.

/// Whether a seeded bug is switched on: never in a release build.
macro_rules! is_mutant {
    ($name:ident) => {{
        #[cfg(debug_assertions)]
        let is = crate::mutant::is(crate::mutant::Mutant::$name);
        #[cfg(not(debug_assertions))]
        let is = false;
        is
    }};
}

mod commit;
mod core;
mod deadline;
mod handle;
mod locks;
#[cfg(debug_assertions)]
pub mod mutant;
mod open;
mod options;
mod parts;
mod reads;
mod retry;
mod scan;
mod snapshot;
mod ticks;
mod transaction;
mod transactions;
mod writes;

pub use deadline::sooner;
pub use handle::TransactionHandle;
pub use open::{Heartbeat, OpenScan, OpenTransactions, OpenWish, Told};
pub use options::{BeginOptions, TransactionOptions};
pub use retry::Attempt;
pub use scan::TransactionScan;
pub use snapshot::{Snapshot, SnapshotScan};
pub use transaction::Transaction;
pub use transactions::Transactions;
pub use writes::Savepoint;
