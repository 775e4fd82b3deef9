//! The SDK and the front door against each other, over real sockets on loopback; behind them a cluster in memory.
#![allow(clippy::disallowed_methods, reason = "tests of real sockets live outside the simulated world")]

mod cluster;
mod counted;
mod examples;
mod front_door;
mod sdk;
mod streams;
