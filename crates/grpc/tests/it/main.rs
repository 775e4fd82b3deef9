//! The front door over real connections. What needs a cluster behind it is tested by the SDK, against this.
#![allow(clippy::disallowed_methods, reason = "tests of real sockets live outside the simulated world")]

mod crowds;
mod deadlines;
mod full_nodes;
mod health;
mod nobody;
mod operations;
mod reflection;
#[allow(dead_code, reason = "the rest is for the tests of the inside, which it belongs to")]
#[path = "../../../txn/src/open/tests/shards.rs"]
mod shards;
mod streams;
mod transactions;
