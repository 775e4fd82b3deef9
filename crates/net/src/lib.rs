//! Messages between (node, group) pairs.
//!
//! # Problem
//! A node runs hundreds of groups, each of which talks to the same few nodes. One connection a group would cost more
//! than the messages; one queue for all would let a snapshot delay a heartbeat.
//!
//! # Model
//! ```text
//!   caller -- call(to, group, kind, body) --> [ lane ] == one gRPC stream of frames ==> switchboard -- handler(kind)
//!     ^                                                                                        |
//!     +------------------------ reply: a message with the same correlation number <-----------+
//! ```
//! [`Transport`] carries one-way [`Message`]s, in order within a [`Lane`] and target, at most once, and may drop any.
//! [`Caller`] makes calls out of them: numbered requests with deadlines. The [`Switchboard`] gives arriving requests
//! to the [`Handler`] of their kind. tonic implements [`Transport`] in [`grpc`], encrypted by [`tls`] when the node has
//! certificates; the simulator has its own.
//!
//! # Invariants
//! - NET-1: a message is delivered to the node it was sent to, of the same cluster, or to nobody.
//! - NET-2: every queue is bounded, in bytes; a full one refuses, it never blocks the sender.
//! - NET-3: every call ends: with a reply, an error or its deadline.

mod caller;
mod error;
pub mod grpc;
mod message;
mod metrics;
mod switchboard;
pub mod tls;

pub use caller::Caller;
pub use error::NetError;
pub use message::{Inbox, Lane, Message, MessageKind, Transport};
pub use metrics::describe_metrics;
pub use switchboard::{Handler, Introductions, Replier, Switchboard};
