//! The contract of disks, run on each of them, and the faults of the simulated world.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "the harness waits in the world's time, not in a node's")]

mod disk_contract;
mod sim_disk;
mod sim_node;
