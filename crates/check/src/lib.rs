//! Checkers of histories: did the cluster keep its promise, judged only by what its clients saw.
//!
//! # Problem
//! A fault test ends with a list of operations: who asked what, when, and what came back. Some operations were never
//! answered, so nobody knows whether they took effect. From that list alone we must tell a correct cluster (never an
//! alarm) from a broken one (always an alarm), and say which few operations contradict each other.
//!
//! # Model
//! ```text
//!   History --by key--> operations of one register --interned, pruned--> search --> Verdict
//!     c1  |---put a---|
//!     c2      |---get -> a---|            ok: took effect between its two ends
//!     c3    |---put b-- - - - -           unknown: at any time after its start, or never
//!     c1                 |-put c-| failed: not applied, so nobody may see it
//! ```
//! Every key is a register that holds a value or nothing. A history is linearizable when each key's operations can be
//! put into an order that respects real time and explains every answer; keys are independent, so each is searched
//! alone. The search is Wing and Gong's with Lowe's refinements: operations take effect as late as their answers
//! allow, and a configuration (position, which open operations took effect, value) is never searched twice. It is
//! bounded by a number of steps, never by time, so that a verdict is repeatable; past it the verdict is
//! [`Verdict::Unknown`], which is not a pass.
//!
//! A [`transactions::TransactionHistory`] is judged over all its keys at once: [`check_serializable`] and
//! [`check_strictly_serializable`] ask whether some order of whole transactions explains what each of them read.
//! ```text
//!   t1 |--append 1 to x, append 1 to y--|        t1 -wr-> t2: t2 read what t1 wrote to x
//!   t2    |--read x = [1], y = []--|             t2 -rw-> t1: t1 wrote what t2 did not find in y
//!                                                a cycle with one rw: G-single, read skew
//! ```
//! Trying orders is hopeless there. Instead every value is written once, so that reads tell who wrote before whom, and
//! what must come before itself is wrong: this is Adya's theory and Elle's method. A list shows the order of all its
//! versions in each read; it finds most. Anomalies are named: G0, G1a, G1b, G1c, G-single, G2, lost update, internal
//! contradictions; with `-process` or `-realtime` behind the name where only the order of a client or of time is
//! broken. A million transactions take about a second (`examples/cycles_bench.rs`).
//!
//! [`workloads`] has the checkers of single workloads: bank, long fork, causal reverse, counter, set.
//!
//! [`UniqueWrites`] is the cheap check for long runs: each write has a name of its own, and one final read tells
//! which acknowledged ones are gone.
//!
//! # Invariants
//! - CHECK-1: a history that a linearizable register can produce never yields a violation.
//! - CHECK-2: a history that none can produce never yields [`Verdict::Linearizable`].
//! - CHECK-3: equal histories give equal verdicts and equal reports.
//! - CHECK-4: a history of transactions that some order explains never yields an anomaly.
//! - CHECK-5: a history of transactions over lists that no order explains always yields one.
//! - CHECK-6: equal histories of transactions give equal verdicts and equal reports.
//!
//! # Left out
//! Atomic batches are recorded as one write for each key, with the same ends: their atomicity is not judged here.
//! Conditions on revisions are not modelled; record them as reads and writes of values or leave them out whole keys
//! at a time. Transactions over registers: what follows only from trying orders of blind writes is not found (the
//! problem is NP-complete). Reads by predicate are not judged: read lists and registers by key.

mod cycles;
mod durability;
mod history;
mod linearizability;
mod register;
mod search;
pub mod transactions;
pub mod workloads;

pub use cycles::{
    Anomaly, AnomalyKind, CycleClass, CycleOrder, CycleVerdict, check_serializable, check_strictly_serializable,
};
pub use durability::{DurabilityReport, UniqueWrites};
pub use history::{Answer, Call, History, HistoryOperation, OperationId, Outcome};
pub use linearizability::{STEPS_DEFAULT, Verdict, Violation, check};
