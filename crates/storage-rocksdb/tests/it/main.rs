//! RocksDB tablets against the conformance suite, the memory engine, damaged disks and many threads at once.
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "these tests damage and copy files behind the engine's back")]

mod concurrency;
mod damage;
mod differential;
mod extremes;
mod layout;
mod node;
mod numbered;
mod recent;
mod rocksdb_conformance;
