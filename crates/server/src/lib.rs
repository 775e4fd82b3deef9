//! Assembles a node out of everything below, and lets the world in.
//!
//! # Problem
//! The layers below know neither sockets nor signals nor settings files, so that the simulator can run them. Somebody
//! must give them the real ones, in the right order, and say in one sentence what is wrong when that fails.
//!
//! # Model
//! ```text
//!   settings     flag > environment > strata.toml > default, each value with its origin
//!   data_dir     LOCK: one process per directory
//!   ports        both taken before anything is read, or a sentence about who has them
//!
//!   certificates read, if there are any; then both ports speak TLS, and what follows is inside it
//!
//!   client port -> front: count, sniff --+-- PRI * HTTP/2.0 --> Grpc  -> Kv, Txn, Admin, health, reflection
//!                                        +-- GET, POST, ...  --> Http -> /metrics, /health
//!                                        +-- anything else   --> one helpful line
//!   peer port   -> net::grpc::PeerServer -> switchboard -> raft, cluster, kv
//! ```
//!
//! # Path of a start
//! [`Server::start`]: certificates, lock, ports, peer port and client port answer (health says "not ready: ..."), the
//! node checks the format of its directory, recovers its log and finds its cluster, gRPC is let in.
//!
//! # Invariants
//! - SERVER-1: no byte of a data directory is read before its lock is held, and none is written after it was let go.
//! - SERVER-2: without `insecure`, nothing but loopback is ever bound, unless clients must show certificates.
//! - SERVER-3: connections, and the bytes of requests and of unread replies that each can make us hold, are bounded;
//!   connections leave open files for the node itself, and places for whoever asks how it is.
//! - SERVER-4: when a stop returns, leaders have moved away as far as anybody was there to take over, and everything
//!   acknowledged is durable.
#![allow(clippy::disallowed_methods, reason = "an edge: it is here that the world is let in")]

mod data_dir;
mod error;
mod front;
mod inbound_bodies;
mod late_tablets;
#[cfg(test)]
mod loopback;
mod network;
mod outbound_bodies;
mod port_holder;
mod ports;
mod prefixed;
mod process;
mod protocols;
mod readiness;
mod server;
pub mod settings;
mod sniff;
mod stopping;
mod view;

pub use data_dir::{DataDirectory, DataDirectoryError};
pub use error::StartError;
pub use port_holder::port_holder;
pub use ports::{PortError, Ports, is_free, next_free};
pub use prefixed::{Prefixed, Wire};
pub use process::{connections_within, raise_open_files_limit};
pub use server::{Listener, OpenTablets, Server, ServerParts};
pub use sniff::{Connection, FIRST_BYTES_MAX, HANDSHAKE_DEADLINE, Protocol, Verdict};
pub use strata_cluster::Phase;
pub use strata_http::Metrics;
