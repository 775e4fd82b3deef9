//! The memory engine against the conformance suite, a model, and its faults.
#![allow(clippy::unwrap_used, reason = "tests")]

mod faults;
mod memory_conformance;
mod model;
