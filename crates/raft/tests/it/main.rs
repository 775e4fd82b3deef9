//! Groups of three replicas on simulated nodes, over a network without delays: the promises of the crate, and the
//! traps of the Raft library below it, one test each.

#![allow(clippy::disallowed_methods, reason = "a test is the runtime that the simulated machines stand on")]

mod births;
mod damage;
mod faults;
mod full_disk;
mod handovers;
mod harness;
mod histories;
mod leases;
mod members;
mod reads;
mod removals;
mod snapshots;
mod stamps;
mod transfers;
mod witnesses;
mod writes;
