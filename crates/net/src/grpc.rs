//! Messages over gRPC.
//!
//! # Model
//! ```text
//!   send(lane, message) -> queue of (node, lane) -> stream of batches == HTTP/2 connection of its own ==> peer server -> inbox
//!                              ^                         |
//!                              +-- link: connects, shakes hands, reports what is lost, backs off
//! ```
//! Each lane to each node has a queue bounded in bytes, a link (one task) and, while it is up, one connection with one
//! stream. The stream takes what is queued when the connection can write, so an idle lane sends at once and a busy one
//! sends large batches; nothing waits for company.
//!
//! When a connection breaks, everything queued is dropped and reported to the inbox, so that calls fail at once; while
//! a node is out of reach, sends to it fail at once as well. Each end names itself in the handshake: a node of another
//! cluster, or another node than the one expected at that address, is refused with a sentence.
//!
//! With certificates ([`crate::tls`]) each connection is encrypted, and each end has shown that it is a node of the
//! cluster before the first message.
//!
//! This module uses real sockets and tonic's own tasks on the current tokio runtime: the simulator has a transport of
//! its own.

#![allow(clippy::disallowed_methods, reason = "this module is where the sockets are")]

mod connect;
#[cfg(test)]
mod decoding;
mod encrypted;
mod handshake;
mod link;
mod queue;
mod receive;
mod server;
mod shared;
mod stream;
mod transport;

use std::time::Duration;

pub use encrypted::connect;
pub use server::PeerServer;
pub use transport::GrpcTransport;

/// What can be set about connections between nodes.
#[derive(Clone, Debug)]
pub struct GrpcSettings {
    /// Longest a TCP connection may take to be made.
    pub connect_timeout: Duration,
    /// Longest connecting and shaking hands may take together.
    pub handshake_timeout: Duration,
    /// A connection is probed when nothing came for this long.
    pub keep_alive_interval: Duration,
    /// A connection is broken when a probe has no answer for this long.
    pub keep_alive_timeout: Duration,
    /// Pause after the first failure to connect; doubles with each further one.
    pub backoff_min: Duration,
    /// Longest pause between attempts to connect. Part of the time to notice that a node is back.
    pub backoff_max: Duration,
    /// Pause after the other side refused this node: only an operator or a new shard map will change that.
    pub refused_pause: Duration,
    /// Most bytes queued for one node in the control lane.
    pub control_queue_bytes_max: usize,
    /// Most bytes queued for one node in the data lane.
    pub data_queue_bytes_max: usize,
    /// Most bytes queued for one node in the bulk lane.
    pub bulk_queue_bytes_max: usize,
    /// A gRPC message is closed when it passes this: large enough to amortize its cost, small enough that the
    /// receiver can begin with it while the next one travels.
    pub batch_bytes_target: usize,
    /// HTTP/2 window of a stream: what may be under way without the receiver having read it.
    pub window_bytes: u32,
}

impl Default for GrpcSettings {
    fn default() -> GrpcSettings {
        GrpcSettings {
            connect_timeout: Duration::from_secs(1),
            handshake_timeout: Duration::from_secs(3),
            keep_alive_interval: Duration::from_secs(2),
            keep_alive_timeout: Duration::from_secs(5),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_millis(500),
            refused_pause: Duration::from_secs(5),
            control_queue_bytes_max: 4 << 20,
            data_queue_bytes_max: 64 << 20,
            bulk_queue_bytes_max: 16 << 20,
            batch_bytes_target: 256 << 10,
            window_bytes: 8 << 20,
        }
    }
}

impl GrpcSettings {
    fn queue_bytes_max(&self, lane: crate::Lane) -> usize {
        match lane {
            crate::Lane::Control => self.control_queue_bytes_max,
            crate::Lane::Data => self.data_queue_bytes_max,
            crate::Lane::Bulk => self.bulk_queue_bytes_max,
        }
    }
}
