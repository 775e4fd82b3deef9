//! Load on a cluster, and what it took.
//!
//! ```text
//!   Plan (keys, mix, phases) --> closed: N callers, one operation after the other   --+
//!                            \-> open:   one operation every 1/rate, on time or not  --+--> Recorder --> Report
//! ```
//! An open loop counts latency from the moment an operation was due, so that a slow answer is not hidden by the
//! operations that it kept from being sent.

mod load;
mod mix;
mod recorder;
mod report;
mod target;

pub use load::{Load, Pace, Plan};
pub use mix::{KEY_PREFIX, Mix};
pub use recorder::Recorder;
pub use report::Report;
pub use target::Target;
