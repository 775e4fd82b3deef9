//! A whole cluster in one thread, from one seed.
//!
//! # Problem
//! The bugs that lose data need a crash between two lines, a message that arrives late, and a disk that kept half of
//! what it was given. Real machines show such a coincidence once a year; a simulator makes thousands an hour and can
//! show each of them again.
//!
//! # Model
//! ```text
//!   clients -- Router --+                       +-- SimDisk: loses and tears what was not synced
//!                       |    +--------------+   |
//!   nemesis --faults--> +--> | cluster::Node| --+-- Fabric: delays, loses, doubles, reorders, cuts
//!                            | (the real one)|  |
//!   invariants <--states---- +--------------+   +-- clocks with offset and drift; everything random from the seed
//!       |
//!       +-- every 20 ms; at the end: healing, final reads, linearizability of every key
//! ```
//! The nodes run the code that production runs, from the log up to the router; replaced are only the disk, the
//! network, the clock, the randomness, and RocksDB by an engine in memory that forgets unflushed writes in a crash.
//!
//! # Invariants
//! - SIM-DET-1: equal seeds give byte-equal traces.
//! - A run that injected no faults or acknowledged no operations proves nothing and counts as failed.
//!
//! # Left out
//! tonic, RocksDB and the real disk: real processes test those.

#![allow(clippy::disallowed_methods, reason = "the simulator is the runtime that the simulated world stands on")]

mod client;
mod cluster;
mod dice;
mod fabric;
mod invariants;
mod link;
mod nemesis;
mod run;
mod trace;

pub use run::{Plan, Report, run};
