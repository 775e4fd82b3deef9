//! The tablet on RocksDB.
//!
//! # Problem
//! A replica's data outgrows memory, so its tablet lives in a log-structured tree on disk. The Raft log already makes
//! writes durable: a second log below the tree would double the fsyncs. So RocksDB runs without its write-ahead log,
//! and the engine must still keep the contract of [`strata_storage`]: atomic batches, a crash that leaves a prefix,
//! and an answer to "what would survive a crash right now?".
//!
//! # Model
//! One database for each replica, default column family only. It gets nothing but whole files: what was written since the
//! last flush is in memory, in tables and lists of our own, and a flush makes one file of all of it. So whatever is on disk
//! is a prefix of the writes. One database for each replica also makes checkpoints, replacement and removal a matter of
//! directories, and keeps stalls apart.
//!
//! ```text
//!   <root>/<replica id>/
//!     CURRENT-tablet     the name of the tablet and its checksum, replaced atomically
//!     tablet-3/          the database that it names
//!       rows.new         a file that is being made, or the second name of one that became part of the database
//!     tablet-4/          one being received, or about to be installed
//!     checkpoint-2/      hard links, while somebody holds the checkpoint
//! ```
//!
//! Directories that nobody holds and the pointer does not name are leftovers of a crash; opening the replica removes
//! them. All databases of a node share one block cache, one rate limiter and RocksDB's background threads
//! ([`RocksOptions`]), and the two threads that put recent rows in order and flush them (`keeper.rs`); an idle one costs a
//! few hundred KiB.
//!
//! # Path of a write
//! [`Engine::write`](strata_storage::Engine::write) → recent rows (`recent.rs` says what they are and why). When a bundle of
//! them is full, the node's thread puts it in order; sixteen of them become one, sixteen of those again. Later, by
//! [`Engine::flush`](strata_storage::Engine::flush) or when the node needs room: all of it, merged → SST file, fsynced →
//! manifest, fsynced. Everything that RocksDB has survives a crash, so `get_persisted` reads only there.
//!
//! # Path of a read
//! One row: the table of recent rows → the former table → RocksDB's blocks. A range: RocksDB's iterator under what of the
//! range RocksDB does not have yet; both are taken at one moment, so a scan and a snapshot show one state.
//!
//! # When memory is short
//! Recent rows of all tablets take half of the node's memory for tablets. At three quarters of that, rows that RocksDB has
//! are forgotten; if that is not enough, the fullest tablet is flushed by the node's thread. At the whole of it writers
//! wait: they flush the fullest themselves. What only a snapshot holds any more does not count: no flush would free it.
//!
//! A tablet is *held up* while RocksDB has twenty files of it to merge: reads look into each of them. Nobody waits
//! for that, because who waits takes a thread from others: a flush fails with
//! [`StorageError::Behind`](strata_storage::StorageError::Behind), and is tried again. Meanwhile the tablet may have half of the
//! room, and other tablets are flushed. Who copies or closes it adds a file all the same.
//!
//! # A full disk
//! A flush that found no room fails with [`StorageError::Full`](strata_storage::StorageError::Full), leaves no file, and the
//! next one makes it again; reads go on, and what was written stays in memory. Writes fail when there is no room for recent
//! rows any more. If RocksDB itself ran out of room, it looks for some every five seconds and then resumes by itself.
//! For five seconds nobody else tries again either.
//!
//! # A failed disk
//! After any other error of a flush, whoever asked for it, a tablet answers each write and each flush with that error
//! (`failure.rs`): what is durable is not known. Reads go on.
//!
//! # Invariants
//! - STORE-1, STORE-2, STORE-3 of [`strata_storage`], by its conformance suite.
//! - ROCKS-1: the pointer names a database that was whole and durable before it was named.
//! - ROCKS-2: a directory is removed only when it is not named and no handle of it is left.
//! - ROCKS-3: RocksDB gets all that was written before a flush as one file, and nothing else: what it holds is a prefix of the
//!   writes.
//!
//! # Left out
//! Range deletes (slow reads until compaction), RocksDB's own tiering (temperatures are only hints), merge operators
//! (apply reads, then writes).
#![allow(clippy::disallowed_methods, reason = "RocksDB keeps its own files, so this crate's live beside them")]

mod budget;
mod bundle;
mod checkpoint;
mod database;
mod directory;
mod error;
mod failure;
mod files;
mod item;
mod keeper;
mod merge;
mod options;
mod part;
mod pointer;
mod receiver;
mod recent;
mod rocks;
mod run;
mod snapshot;
mod table;
mod tablet;
mod tablets;
#[cfg(test)]
mod testing;
mod tiers;

pub use options::RocksOptions;
pub use tablets::RocksTablets;
