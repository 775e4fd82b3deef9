//! The gRPC front door of a node: `strata.v1.Kv`, `strata.v1.Txn`, `strata.v1.Admin`, health and reflection.
//!
//! # Problem
//! One interface serves two kinds of clients: everybody's generated code, which calls one operation at a time and asks
//! any node, and our SDK, which routes by itself and sends thousands of operations a message. A client may also stop
//! reading, ask for more than fits, or send nonsense; none of that may cost more than a bounded amount of memory.
//!
//! # Model
//! ```text
//!   Get Put Delete CompareAndSet Batch --> dyn Kv (the node's router: finds the leader, retries)
//!   Scan  ---------------------------> Scan over dyn Kv; a page is made when the client begins to read the one before
//!   Stream: [reader] -- ShardBatch --> dyn ShardExecutor (this node's shards only) -- reply --> [writer]
//!              ^ stops reading while too much is under way: of this stream,          coalesces replies
//!                of its connection, of the node
//!   Txn ------------------------------> strata_txn::OpenTransactions, by id
//!   Admin ----------------------------> dyn ClusterView: overview, map, commands of the meta group
//! ```
//!
//! # Path of one unary request
//! 1. tonic decodes the message (at most [`limits::GRPC_MESSAGE_BYTES_MAX`]); `grpc-timeout` becomes the deadline.
//! 2. `proto` turns it into a [`strata_types::Request`]; what does not fit is `invalid_argument`.
//! 3. [`strata_router::Kv::call`] answers, and errors travel as `strata.v1.ErrorDetail` in the status.
//!
//! # Invariants
//! - GRPC-1: every error of ours carries its code and outcome.
//! - GRPC-2: what one stream holds is bounded: its requests, its batches under way and its unread replies; and so is what
//!   all streams of a connection, and of the node, hold together. Beside that each has one message that waits.
//! - GRPC-3: every request ends by its deadline; a request without one gets a default.
//! - GRPC-6: a stream ends with `ends` only if every batch that was taken from it is answered, and none is taken later.
//! - GRPC-7: a node carries out nothing of a stream that was opened for another cluster, and tells its clients no time.

mod admin;
mod choice;
mod cluster_view;
mod deadline;
mod figures;
mod foreign;
mod health;
mod kv_service;
mod kv_stream;
mod measure;
mod operations;
mod room;
mod scan_pages;
mod stream_room;
mod transaction_admin;
mod transaction_overview;
mod txn;
mod verdict;

use std::sync::Arc;

use strata_env::Env;
use strata_proto::v1::{admin_server::AdminServer, kv_server::KvServer, txn_server::TxnServer};
use strata_router::{Kv, ShardExecutor};
use strata_txn::OpenTransactions;
use strata_types::limits;
use tonic::service::Routes;

pub use cluster_view::ClusterView;
pub use health::HealthSwitch;
pub use room::Room;
pub use strata_types::{ClusterOverview, NodeOverview, ReplicaOverview, ShardOverview};
pub use stream_room::ConnectionRoom;
pub use transaction_overview::{TransactionList, TransactionOverview, TransactionPhase};

/// What the front door opens onto.
pub struct Parts {
    /// Time and tasks.
    pub env: Env,
    /// The whole key space, for unary calls and scans.
    pub kv: Arc<dyn Kv>,
    /// This node's own shards, for clients that route by themselves.
    pub executor: Arc<dyn ShardExecutor>,
    /// The cluster, for administration.
    pub view: Arc<dyn ClusterView>,
    /// The transactions that are kept for clients; `None`: this node takes none.
    pub transactions: Option<OpenTransactions>,
}

/// A part of the front door could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The compiled-in descriptors are damaged.
    #[error("the descriptors for reflection cannot be read")]
    Reflection(#[source] tonic_reflection::server::Error),
}

/// All services, and the switch that tells health checks whether the node serves. It starts switched off.
pub async fn routes(parts: Parts) -> Result<(Routes, HealthSwitch), BuildError> {
    let Parts { env, kv, executor, view, transactions } = parts;
    let (health, health_service) = health::health().await;
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(strata_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let kv_service = KvServer::new(kv_service::KvService::new(env.clone(), kv.clone(), executor, health.ending()))
        .max_decoding_message_size(limits::GRPC_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(limits::GRPC_MESSAGE_BYTES_MAX);
    let admin_service = AdminServer::new(admin::AdminService::new(env, kv, view, transactions.clone()));
    let mut routes = Routes::new(kv_service).add_service(admin_service);
    if let Some(transactions) = transactions {
        let service = TxnServer::new(txn::TxnService::new(transactions))
            .max_decoding_message_size(limits::GRPC_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(limits::GRPC_MESSAGE_BYTES_MAX);
        routes = routes.add_service(service);
    }
    let routes = routes
        .add_service(health_service)
        .add_service(reflection().build_v1().map_err(BuildError::Reflection)?)
        // grpcurl and others still ask for the older version first.
        .add_service(reflection().build_v1alpha().map_err(BuildError::Reflection)?)
        .prepare();
    Ok((routes, health))
}
