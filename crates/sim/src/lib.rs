//! A whole cluster in one thread, from one seed.
//!
//! # Problem
//! The bugs that lose data need a crash between two lines, a message that arrives late, and a disk that kept half of
//! what it was given. Real machines show such a coincidence once a year; a simulator makes thousands an hour and can
//! show each of them again.
//!
//! # Model
//! ```text
//!   clients -- Router --+                       +-- SimDisk: loses and tears what was not synced
//!   transactions -------+
//!                       |    +--------------+   |
//!   nemesis --faults--> +--> | cluster::Node| --+-- Fabric: delays, loses, doubles, reorders, cuts
//!   operator -commands->+    | (the real one)|  |
//!   invariants <--states---- +--------------+   +-- clocks with offset and drift; everything random from the seed
//!       |
//!       +-- every map at once, all else every 20 ms; at the end: healing, final reads, linearizability of every key
//! ```
//! The nodes run the code that production runs, from the log up to the router; replaced are only the disk, the
//! network, the clock, the randomness, and RocksDB by an engine in memory that flushes by itself, early in some runs, and
//! forgets in a crash what is not flushed, or the later part of it.
//!
//! The seed decides how many machines there are, whether others join them, and whether there is an operator: who drains
//! and removes nodes, moves and rebuilds replicas, takes that back, stops nodes in good order, loses disks, and starts
//! machines with the data of nodes that were removed. In some runs all programs are old at first, and are exchanged; in
//! some, disks fill up while members change, one at a time (`full_disks`). Most runs have clients that use transactions
//! too (`txn`); their machines die at any moment. Refusals are fine, but for those that blame the client. What nobody
//! survives is not asked for: of all copies of something a majority stays, because one disk is lost at a time, and none
//! while a replica is rebuilt. One that is about to become a member may be damaged whenever the others have everything.
//!
//! # Path of a run
//! 1. `run` founds a cluster and waits until it is `settled`.
//! 2. Clients work (`client`), faults come and go (`nemesis`), and the operator acts (`operator`), side by side.
//! 3. Everything heals; the operator only gives up nodes whose disks are gone. The cluster must settle: nothing is under
//!    way or planned, members are those of the map and alike.
//! 4. Of transactions nothing may be left open; all whose end nobody knows are asked for, and all that they wrote is read.
//! 5. Every key is read, and every key's history is checked; and all transactions together.
//!
//! # Invariants
//! - SIM-DET-1: equal seeds give byte-equal traces.
//! - SIM-LIVE-8: a run that injected no faults or acknowledged no operations proves nothing and counts as failed.
//! - What nodes must keep, SIM-RAFT, SIM-MAP, SIM-MEMBER, SIM-NODE, SIM-LIVE and SIM-CLIENT, is in `invariants` and in what
//!   it is made of: `map_history` (between maps), `member_rules` (between maps, leaders and disks), `files` (disks); and in
//!   `cluster/ends` (why machines stop), `overdue` (calls that never end) and `client`.
//! - Leases rest on clocks that run at about the same rate (`strata-raft`, `lease`). Clocks of nodes differ by nearly a
//!   fifth here, of the quarter that is allowed; how wrong they are otherwise does not matter. In runs with leases the same
//!   oracles judge.
//! - What transactions must keep, SIM-TXN, is in `txn`; what timestamps must, SIM-TIME, in `time_rules`; what the version of
//!   the cluster must, SIM-VERSION, in `version_rules`.
//!
//! # Left out
//! tonic, RocksDB and the real disk: real processes test those. Damage of the log, which all replicas of a node share:
//! `strata-wal` and `strata-cluster` test that. Programs that are older indeed: older versions are played by the present
//! program (`exchange`). Limits of sizes: data are small.

#![allow(clippy::disallowed_methods, reason = "the simulator is the runtime that the simulated world stands on")]

mod act;
mod client;
mod cluster;
mod dice;
mod exchange;
mod fabric;
mod fault;
mod files;
mod former_leader;
mod full_disks;
mod handovers;
mod healing;
mod invariants;
mod link;
mod map_history;
mod member_rules;
pub mod model;
mod nemesis;
mod operator;
mod overdue;
mod probe;
mod promises;
mod repeated_prepare;
mod run;
mod seat;
mod settled;
mod shape;
mod staff;
mod stragglers;
mod tablets;
mod time_rules;
mod trace;
mod txn;
mod version_rules;

pub use run::{Plan, Report, run};
pub use txn::Stories;
