//! Groups of three replicas on simulated nodes, over a network without delays: the promises of the crate, and the
//! traps of the Raft library below it, one test each.

mod harness;
mod snapshots;
mod writes;
