//! The tablet on RocksDB.
//!
//! # Problem
//! A replica's data outgrows memory, so its tablet lives in a log-structured tree on disk. The Raft log already makes
//! writes durable: a second log below the tree would double the fsyncs. So RocksDB runs without its write-ahead log,
//! and the engine must still keep the contract of [`strata_storage`]: atomic batches, a crash that leaves a prefix,
//! and an answer to "what would survive a crash right now?".
//!
//! # Model
//! One database for each replica, default column family only. A batch never straddles two memtables, and memtables of
//! one column family reach the disk in order: so whatever is on disk is a prefix of the writes. One database for each
//! replica also makes checkpoints, replacement and removal a matter of directories, and keeps stalls apart.
//!
//! ```text
//!   <root>/<replica id>/
//!     CURRENT-tablet     the name of the tablet and its checksum, replaced atomically
//!     tablet-3/          the database that it names
//!     tablet-4/          one being received, or about to be installed
//!     checkpoint-2/      hard links, while somebody holds the checkpoint
//! ```
//!
//! Directories that nobody holds and the pointer does not name are leftovers of a crash; opening the replica removes
//! them. All databases of a node share one block cache, one write buffer manager, one rate limiter and RocksDB's
//! background threads ([`RocksOptions`]); an idle one costs a few hundred KiB.
//!
//! # Path of a write
//! [`Engine::write`](strata_storage::Engine::write) → recent rows, a table of hashes (`recent.rs` says why). When a bundle of
//! them is full, some 400 KiB: the bundle → the spiller's thread → one RocksDB write batch → memtable. Later, by
//! [`Engine::flush`](strata_storage::Engine::flush) or when the memtable is full: memtable → SST file, fsynced →
//! manifest, fsynced. `get_persisted` reads with `ReadTier::Persisted`, which skips memtables; iterators cannot.
//!
//! # Path of a read
//! One row: recent rows → memtables → blocks. A range: RocksDB's iterator under what of the range RocksDB does not have
//! yet; both are taken at one moment, so a scan and a snapshot show one state.
//!
//! # A full disk
//! A failed flush stops all writes to that database with [`StorageError::Full`](strata_storage::StorageError::Full), as
//! soon as there is no room for recent rows; reads go on, and what was written stays in memory. RocksDB looks for room every
//! five seconds, wants as much as a memtable holds (32 MiB), and then resumes by itself: the same call simply succeeds again.
//!
//! # Invariants
//! - STORE-1, STORE-2, STORE-3 of [`strata_storage`], by its conformance suite.
//! - ROCKS-1: the pointer names a database that was whole and durable before it was named.
//! - ROCKS-2: a directory is removed only when it is not named and no handle of it is left.
//! - ROCKS-3: RocksDB gets the recent rows of a bundle in one batch, and bundles in their order: what it holds is a prefix of
//!   the writes.
//!
//! # Left out
//! Range deletes (slow reads until compaction), RocksDB's own tiering (temperatures are only hints), merge operators
//! (apply reads, then writes).
#![allow(clippy::disallowed_methods, reason = "RocksDB keeps its own files, so this crate's live beside them")]

mod budget;
mod checkpoint;
mod database;
mod directory;
mod error;
mod files;
mod options;
mod part;
mod pointer;
mod receiver;
mod recent;
mod rocks;
mod snapshot;
mod spiller;
mod tablet;
mod tablets;

pub use options::RocksOptions;
pub use tablets::RocksTablets;
