//! The measurements, one file each.

pub(crate) mod blackout;
pub(crate) mod failover;
pub(crate) mod idle;
pub(crate) mod latency;
pub(crate) mod membership;
mod memory;
mod peak;
pub(crate) mod peers;
mod read_back;
pub(crate) mod reads;
mod silence;
pub(crate) mod transactions;
mod writers;
