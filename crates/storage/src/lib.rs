//! The tablet: one ordered, crash-safe map of bytes for each replica of a shard.
//!
//! # Problem
//! A replica's state is rebuilt from its log after a crash, so its engine needs no log of its own. It needs this
//! instead: a write is atomic, a crash rolls the engine back to *some* earlier write (a prefix of the writes, never a
//! mix), and one can ask what would survive a crash right now, so that the log is not cut too early.
//!
//! # Model
//! ```text
//!   Tablets  -- opens, receives and removes -->  Engine (one tablet)
//!   Engine::write(batch)   atomic, in memory, not durable
//!   Engine::flush()        everything written so far survives a crash
//!   Engine::get_persisted  reads what would survive a crash
//!   Engine::checkpoint()   an immutable copy, read file by file and sent to another replica
//! ```
//! Two engines implement it: [`memory`] for simulation and tests, and RocksDB in its own crate. Both run the
//! [`conformance`] suite.
//!
//! # Invariants
//! - STORE-1: after a crash the content is that after a prefix of the writes, which includes all flushed ones.
//! - STORE-2: a checkpoint holds a prefix of the writes, which includes all made before it began.
//! - STORE-3: a received tablet replaces the old one whole or not at all.

pub mod conformance;
mod engine;
mod error;
mod file_name;
pub mod memory;
mod scan_over;
mod write_batch;

pub use engine::{Checkpoint, CheckpointFile, Engine, Receiver, Snapshot, Tablets};
pub use error::{StorageError, StorageResult};
pub use file_name::{FILE_NAME_BYTES_MAX, check_file_name};
pub use scan_over::scan_over;
pub use write_batch::{WriteBatch, WriteOp};
