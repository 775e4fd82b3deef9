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
//! [`UniqueWrites`] is the cheap check for long runs: each write has a name of its own, and one final read tells
//! which acknowledged ones are gone.
//!
//! # Invariants
//! - CHECK-1: a history that a linearizable register can produce never yields a violation.
//! - CHECK-2: a history that none can produce never yields [`Verdict::Linearizable`].
//! - CHECK-3: equal histories give equal verdicts and equal reports.
//!
//! # Left out
//! Atomic batches are recorded as one write for each key, with the same ends: their atomicity is not judged here.
//! Conditions on revisions are not modelled; record them as reads and writes of values or leave them out whole keys
//! at a time.

mod durability;
mod history;
mod linearizability;
mod register;
mod search;

pub use durability::{DurabilityReport, UniqueWrites};
pub use history::{Answer, Call, History, HistoryOperation, OperationId, Outcome};
pub use linearizability::{STEPS_DEFAULT, Verdict, Violation, check};
