//! Transactions without a cluster: random schedules of the real apply code, millions of them, each judged.
//!
//! # Problem
//! The rules of `docs/transactions.md` depend on each other, and each looks as if one could do without. A simulated
//! cluster plays a few schedules a second; the ones that break a rule are rarer. Here there is no Raft, disk, network
//! or runtime: a schedule is some hundred small steps, and a second has thousands of schedules.
//!
//! # Model
//! ```text
//!   actors (futures)              world                                      afterwards
//!   transactions, snapshots  -->  bag of messages: late, twice, never   -->  settle: all arrives, is resolved, is read
//!   sessions, collector           groups: logs, terms, leaders that      -->  judge: is there an order of everything
//!        ^                         were deposed, clocks, replicas                   that gives what was promised?
//!        |                        counter: blocks, deposed leaders that answer
//!        +--- one step at a time, chosen by the seed ---+
//! ```
//! Real is what decides: [`strata_shard::ShardMachine`] and its reads, and the bytes of its commands. Modelled in few
//! lines: what Raft promises (`group`), how leaders stamp and answer reads (`group`, `reading`), the counter
//! (`counter`) and who asks it (`time`), the coordinator and who meets its intents (`commit`, `context`). A read is the
//! same steps as in `strata_raft`: raise, round, wait, look; between any two of them anything may happen. A timestamp is
//! handed out at once, by leaders of the meta group that were deposed too, and confirmed beside the first read at it, as in
//! `strata_cluster`.
//!
//! # Rules
//! Each [`Rule`] has a switch that takes it out: here, or in the shard's seeded bugs (debug builds only). The tests
//! show that each one is missed, and that the code as it is passes.
//!
//! # Path of a schedule
//! 1. `schedule` draws who takes part, who is slow, and whether there are elections and losses.
//! 2. Step by step, an actor has its turn, a message arrives, a shard gets on, or something fails.
//! 3. `settle` lets everything come to its end: late messages too. Whoever is left resolves what is not.
//! 4. `judge` looks for an order.
//!
//! # Left out
//! Clocks of machines: none takes part. Waiting politely: who pushes waits for a random while. Sessions that make
//! writes apply once: single writes are never sent twice here. Snapshots of logs. Locks of `get_for_update`: they
//! promise nothing.

mod client;
mod commit;
mod context;
mod counter;
mod group;
mod history;
mod judge;
mod reading;
mod rows;
mod rule;
mod schedule;
mod settle;
mod time;
mod words;
mod world;

pub use rule::Rule;
pub use schedule::{Outcome, play};
