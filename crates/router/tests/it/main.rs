//! The router against a model of a cluster.
#![allow(clippy::disallowed_methods, reason = "tests drive paused time and tasks by themselves")]

mod budgets;
mod faults;
mod hedging;
mod levels;
mod model;
mod reasons;
mod retry;
mod routing;
mod scan;
mod scan_memory;
mod seen;
mod session;
mod timestamps;
mod waiting;
