//! End-to-end tests: the real binary, real processes, real sockets, real disks.
//!
//! Every wait polls with a deadline, and says what it waited for when that passes. Each test has ports and
//! directories of its own, so that they may run side by side.
#![cfg(unix)]
#![allow(clippy::disallowed_methods, reason = "tests of real processes use the real world")]
#![allow(unreachable_pub, reason = "a test has no outside: `pub` here means that other modules use it")]

mod connections;
mod demo;
mod examples;
mod failover;
#[cfg(target_os = "linux")]
mod full_disk;
mod harness;
#[cfg(target_os = "linux")]
mod isolation;
mod leases;
mod membership;
mod refusals;
mod start;
mod stop;
#[cfg(target_os = "linux")]
mod terminal;
mod tls;
mod transactions;
mod upgrade;
