//! Runs one node of a cluster: everything but sockets.
//!
//! # Problem
//! Machines that were started with the same line must become one cluster exactly once, whatever crashes meanwhile; a
//! restarted one must find its place again, also on other ports; and a copy of a data directory must not vote as the
//! original. Later nodes must become members by themselves, one data directory one node. Then every node must know where
//! everything is, and leaders must not pile up.
//!
//! # Model
//! ```text
//!   data directory        FORMAT, identity          who am I?
//!        |  fresh                  | member
//!        v                         v
//!   join: introductions      greet: introductions    Introductions (before and beside the cluster's own messages)
//!        |  the founder, or later  |
//!        |  the meta group, decides|
//!        v  a Charter              v
//!   Wal, Host, group 0 --- Found(charter) ---> ShardMap --- FetchMap, long poll ---> MapKeeper of every node
//!                                                                |
//!                              shard replicas, addresses, routing, leaders back to their preferred nodes
//! ```
//! The *founder* is the node that answers at the first `--join` address. It gathers candidates until there are as many
//! as expected, gives them ids, and writes that down as the [`Charter`] before anybody hears of it. Each member keeps
//! the charter, so that any of them can answer a candidate that missed the founder's answer.
//!
//! Once there is a cluster, any member takes candidates in: it asks back, has the meta group carry out `Join`, and answers
//! with a charter of now. Every node proposes `Join` at each start, and whenever the map has it otherwise: that is how
//! addresses change, how a node that was given up comes back, and how a removed one learns that it is no member.
//!
//! Nodes write down who the nodes and the meta group are (file `map`), so that a cluster that has moved to other nodes
//! than it was founded with finds itself again after all of them have stopped.
//!
//! # Path of a start
//! 1. FORMAT, identity and map are read; a newer format is refused.
//! 2. A fresh node asks at every join address who is there. If members of a cluster answer, it asks them to take it in;
//!    otherwise it introduces itself to all, until somebody hands it the charter. A member greets every node it knows,
//!    and stops if one of them has a living node with its id.
//! 3. The log is opened, then the replica of the meta group if one lives here. While there is no cluster, its leader
//!    proposes `Found`.
//! 4. The map arrives; the shard replicas that it places here are opened; the node is ready when each has a leader.
//!
//! # Invariants
//! - CLUSTER-1: a charter is durable at the founder before anybody else sees it, and never changes.
//! - CLUSTER-2: an instance gets the same node id however often it asks, and no other instance ever gets that id.
//! - CLUSTER-3: of two processes with one node id at most one takes part: the later one is refused.
//! - CLUSTER-4: the epoch of a node's map only rises.
//! - CLUSTER-5: a damaged replica refuses to serve and says which file; it does not stop the node.
//! - CLUSTER-6: a leader changes voters only by a change of the map that was decided in its term, or goes on with one that
//!   it found begun and that nobody can have abandoned; a change is abandoned only when the members show no trace of it.
//! - CLUSTER-7: a replica is deleted only when it has left its group, or when the map has another one on this node that
//!   replaces it, and it is damaged or the meta group confirms that.
//! - CLUSTER-8: a node that has heard of a member of a cluster founds none.
//! - CLUSTER-9: a node opens a replica of the meta group only after it has written down that one lives on it; who joined
//!   later founds no group.
//! - CLUSTER-10: a node becomes, and stays, a member only of a cluster of the name that it was started for.
//! - CLUSTER-11: a node whose program the cluster has outgrown ends, at its start and while it runs.
//!
//! # Path of a change of members
//! 1. The leader of the meta group sees that something is to be done (`planning`), and proposes `Plan`. It also says which
//!    nodes have been silent for long, which replicas are damaged, and which nodes have no room for more (`rooms`), as
//!    these say themselves (`room_watch`). The machine decides.
//! 2. The map names a replica that is added; its node opens it, empty (`replicas`).
//! 3. The leader of the group takes one step after the other (`changes`): what the next one is follows from map and
//!    members alone (`change_step`), so any leader can go on, whoever began.
//! 4. The map names a replica as leaving; its node deletes it and says so (`deletions`).
//!
//! # Time
//! Timestamps for the whole cluster are handed out by the leader of the meta group, and the clocks of shards are opened by
//! them: see `time`, with invariants of its own (TIME-1 to TIME-7).
//!
//! # Leaders by load
//! Nodes count the requests that they carry out as leaders (`paces`) and tell the rates when they are asked how they are. The
//! leader of the meta group remembers them (`leader_loads`). When all leaders have been where they should be for a while and
//! one node serves far more than its share, it proposes which other replicas to prefer; the machine decides, and the leaders
//! follow as after any other change of the map (`balance`).
//!
//! # Left out
//! Sizes: replicas count alike where they are placed, however much is in them.

mod address_book;
mod admission;
mod asking;
mod balance;
mod change_step;
mod changes;
mod charter;
mod closed;
mod cluster_name;
mod commanding;
mod data_directory;
#[cfg(test)]
mod decoding;
mod deletions;
mod error;
mod founding;
mod greeting;
mod hurry;
mod identity_file;
mod introduction;
mod introduction_wire;
mod joining;
mod leader_loads;
mod map_file;
mod map_keeper;
mod map_watch;
mod meta_group;
#[cfg(debug_assertions)]
pub mod mutant;
mod node;
mod overview;
mod paces;
mod phase;
mod planning;
mod progress;
mod question;
mod question_wire;
mod reception;
mod registration;
mod repairs;
mod replicas;
mod report;
mod room_watch;
mod rooms;
mod service;
mod settings;
mod start;
mod tally;
mod time;
mod vigil;

pub use charter::{Charter, InstanceId, Seat};
pub use cluster_name::ClusterName;
pub use commanding::CommandError;
pub use error::StartError;
pub use node::{Identity, Node};
pub use paces::Paces;
pub use phase::Phase;
pub use settings::{NodeParts, NodeSettings};
pub use time::{Begun, TimeError, TimeLimits, TimestampGuard, Timestamps};
