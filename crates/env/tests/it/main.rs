//! The contract of disks, run on each of them, and the faults of the simulated world.

mod disk_contract;
mod sim_disk;
mod sim_node;
