//! Wire types, and conversions between them and the domain types.
//!
//! # Problem
//! What travels between processes must be readable by other languages and by older and newer programs; what the rest
//! of the code works with should be neither optional everywhere nor numbered. So the two are different types, and
//! this crate is the only place that knows both.
//!
//! # Model
//! ```text
//!   proto/strata/v1/*.proto        --build.rs, protox-->  v1         public, versioned
//!   proto/strata/internal/*.proto  --build.rs, protox-->  internal   between nodes of one cluster
//!
//!   types::Request  <-->  v1::GetRequest, PutRequest, ...         unary calls
//!   [types::Request]  <-->  v1::ShardBatch                        the SDK's stream and forwarding between nodes
//!   types::TransactionCall  <-->  v1::TransactionCall             steps of transactions, within a ShardBatch
//!   types::Error  <-->  tonic::Status with v1::ErrorDetail        status_of, error_of
//! ```
//! Conversions are in `convert`, one file a message. `From` where every value has a counterpart, `TryFrom` with
//! [`strata_types::Error`] where it may have none.
//!
//! # Memory
//! Two bytes of a message can be an operation that takes hundreds of them in memory. So what comes from outside is counted
//! first ([`decode`], and the codec of all services): see `bounded.rs`.
//!
//! # Invariants
//! - PROTO-1: no received message, however wrong, makes a conversion panic: it is an `invalid_argument` error.
//! - PROTO-2: an error never loses its outcome on the way; where the other side said none, it is `unknown`.
//! - PROTO-3: a request that would take more than [`strata_types::limits::MESSAGE_MEMORY_MAX`] beside its own bytes is
//!   refused before anything of it is decoded.

pub mod bounded;
mod convert;
mod status;

pub use bounded::decode;
pub use convert::{
    ShardAnswer, ShardCall, level_parts, lock_wait_of, slot_of, transaction_id_bytes, transaction_id_of,
};
pub use status::{error_of, status_of};

/// Metadata of a client's streams and questions for timestamps: the cluster that it belongs to, whose shards and time it
/// means.
pub const CLUSTER_METADATA: &str = "strata-cluster";

/// Descriptors of the public interface, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/strata.v1.descriptors"));

/// The public interface, version 1.
#[allow(missing_docs, dead_code, unused_qualifications, clippy::all, reason = "generated")]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/strata.v1.rs"));
    include!(concat!(env!("OUT_DIR"), "/strata.v1.shapes.rs"));
}

/// Between nodes of one cluster.
#[allow(missing_docs, dead_code, unused_qualifications, clippy::all, reason = "generated")]
pub mod internal {
    include!(concat!(env!("OUT_DIR"), "/strata.internal.rs"));
    include!(concat!(env!("OUT_DIR"), "/strata.internal.shapes.rs"));
}
