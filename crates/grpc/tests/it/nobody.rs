//! A node that has no shards yet: its front door is open, and the services that every tool knows answer.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use strata_env::real;
use strata_grpc::{ClusterOverview, ClusterView, HealthSwitch, Parts};
use strata_meta::{MetaCommand, MetaReply};
use strata_router::{Kv, PageRange, ShardBatch, ShardExecutor, ShardReply};
use strata_types::{Error, ErrorCode, Reply, Request, Result, ShardId, ShardMap, Timestamp};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};

/// The node.
#[derive(Default)]
pub(crate) struct Node {
    /// Batches are not even refused.
    is_stuck: bool,
    /// How long it was given for each call.
    deadlines: Mutex<Vec<Duration>>,
}

impl Node {
    pub(crate) fn new() -> Arc<Node> {
        Arc::default()
    }

    /// One that never answers batches.
    pub(crate) fn stuck() -> Arc<Node> {
        Arc::new(Node { is_stuck: true, ..Node::default() })
    }

    pub(crate) fn deadlines(&self) -> Vec<Duration> {
        self.deadlines.lock().expect("nobody panicked").clone()
    }
}

fn not_ready<T>() -> Result<T> {
    Err(Error::not_applied(ErrorCode::NotReady, "this node has no shards yet"))
}

#[async_trait]
impl Kv for Node {
    async fn call(&self, _request: Request, deadline: Duration) -> Result<Reply> {
        self.deadlines.lock().expect("nobody panicked").push(deadline);
        not_ready()
    }

    async fn scan_shard(&self, _shard: ShardId, _range: PageRange, _deadline: Duration) -> Result<Reply> {
        not_ready()
    }

    fn map(&self) -> Arc<ShardMap> {
        Arc::default()
    }

    fn time(&self) -> Timestamp {
        Timestamp(0)
    }
}

#[async_trait]
impl ShardExecutor for Node {
    async fn execute(&self, _batch: ShardBatch) -> ShardReply {
        if self.is_stuck {
            std::future::pending::<()>().await;
        }
        ShardReply::NotLeader { leader: None }
    }
}

#[async_trait]
impl ClusterView for Node {
    async fn overview(&self) -> Result<ClusterOverview> {
        not_ready()
    }

    fn map(&self) -> Arc<ShardMap> {
        Arc::default()
    }

    async fn command(&self, _command: MetaCommand, _deadline: Duration) -> Result<MetaReply> {
        not_ready()
    }
}

/// A connection to a new node, and the switch of its health.
pub(crate) async fn connect() -> (Channel, HealthSwitch) {
    connect_to(Node::new()).await
}

/// Opens the door of a node on loopback.
pub(crate) async fn connect_to(node: Arc<Node>) -> (Channel, HealthSwitch) {
    open(Parts { env: real::env(), kv: node.clone(), executor: node.clone(), view: node, transactions: None }).await
}

/// Opens a door on loopback.
pub(crate) async fn open(parts: Parts) -> (Channel, HealthSwitch) {
    let (routes, health) = strata_grpc::routes(parts).await.expect("routes");
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let address = incoming.local_addr().expect("bound");
    tokio::spawn(Server::builder().add_routes(routes).serve_with_incoming(incoming));
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    (endpoint.connect().await.expect("connected"), health)
}
