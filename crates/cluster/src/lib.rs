//! Runs one node of a cluster: everything but sockets.
//!
//! # Problem
//! Machines that were started with the same line must become one cluster exactly once, whatever crashes meanwhile; a
//! restarted one must find its place again, also on other ports; and a copy of a data directory must not vote as the
//! original. Then every node must know where everything is, and leaders must not pile up.
//!
//! # Model
//! ```text
//!   data directory        FORMAT, identity          who am I?
//!        |  fresh                  | member
//!        v                         v
//!   join: introductions      greet: introductions    Introductions (before and beside the cluster's own messages)
//!        |  the founder decides    |
//!        v  a Charter              v
//!   Wal, Host, group 0 --- Found(charter) ---> ShardMap --- FetchMap, long poll ---> MapKeeper of every node
//!                                                                |
//!                              shard replicas, addresses, routing, leaders back to their preferred nodes
//! ```
//! The *founder* is the node that answers at the first `--join` address. It gathers candidates until there are as many
//! as expected, gives them ids, and writes that down as the [`Charter`] before anybody hears of it. Each member keeps
//! the charter, so that any of them can answer a candidate that missed the founder's answer.
//!
//! # Path of a start
//! 1. FORMAT and identity are read; a newer format is refused.
//! 2. A fresh node introduces itself to every join address until somebody hands it the charter. A member greets every
//!    node it knows, and stops if one of them has a living node with its id.
//! 3. The log is opened, then the replica of the meta group if one lives here. Its leader proposes `Found`.
//! 4. The map arrives; the shard replicas that it places here are opened; the node is ready when each has a leader.
//!
//! # Invariants
//! - CLUSTER-1: a charter is durable at the founder before anybody else sees it, and never changes.
//! - CLUSTER-2: an instance gets the same node id however often it asks, and no other instance ever gets that id.
//! - CLUSTER-3: of two processes with one node id at most one takes part: the later one is refused.
//! - CLUSTER-4: the epoch of a node's map only rises.
//! - CLUSTER-5: a damaged replica refuses to serve and says which file; it does not stop the node.
//!
//! # Left out
//! Nodes that join or leave a founded cluster.

mod address_book;
mod balance;
mod charter;
mod data_directory;
mod error;
mod founding;
mod greeting;
mod identity_file;
mod introduction;
mod introduction_wire;
mod joining;
mod map_keeper;
mod map_watch;
mod meta_group;
mod node;
mod overview;
mod phase;
mod question;
mod question_wire;
mod reception;
mod registration;
mod replicas;
mod report;
mod service;
mod settings;
mod start;

pub use charter::{Charter, InstanceId, Seat};
pub use error::StartError;
pub use node::{Identity, Node};
pub use overview::{ClusterOverview, NodeOverview, ReplicaOverview, ShardOverview};
pub use phase::Phase;
pub use settings::{NodeParts, NodeSettings};
