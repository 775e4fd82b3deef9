//! RocksDB tablets against the conformance suite, the memory engine and damaged disks.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "these tests damage and copy files behind the engine's back")]

mod damage;
mod differential;
mod layout;
mod node;
mod recent;
mod rocksdb_conformance;
