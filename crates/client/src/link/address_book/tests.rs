//! Nodes of two clusters.

#![allow(clippy::disallowed_methods, reason = "a test is an edge: it starts its own tasks")]

use async_trait::async_trait;
use strata_env::real;
use strata_grpc::{ClusterOverview, ClusterView, HealthSwitch, Parts};
use strata_meta::{MetaCommand, MetaReply};
use strata_router::{Kv, PageRange, ShardBatch, ShardExecutor, ShardReply};
use strata_types::{
    ClusterId, NodeDescriptor, NodeId, ReplicaId, ReplicaPlacement, Reply, Request, ShardId, ShardPlacement, SlotRange,
    Timestamp,
};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use super::*;

/// Tells its map, and nothing else.
struct Node {
    map: Arc<ShardMap>,
}

fn refuse<T>() -> Result<T> {
    Err(Error::not_applied(ErrorCode::NotReady, "this node has a map only"))
}

#[async_trait]
impl ShardExecutor for Node {
    async fn execute(&self, _: ShardBatch) -> ShardReply {
        ShardReply::NotLeader { leader: None }
    }
}

#[async_trait]
impl Kv for Node {
    async fn call(&self, _: Request, _deadline: Duration) -> Result<Reply> {
        refuse()
    }

    async fn scan_shard(&self, _: ShardId, _range: PageRange, _deadline: Duration) -> Result<Reply> {
        refuse()
    }

    fn map(&self) -> Arc<ShardMap> {
        self.map.clone()
    }

    fn time(&self) -> Timestamp {
        Timestamp(0)
    }
}

#[async_trait]
impl ClusterView for Node {
    async fn overview(&self) -> Result<ClusterOverview> {
        refuse()
    }

    fn map(&self) -> Arc<ShardMap> {
        self.map.clone()
    }

    async fn command(&self, _: MetaCommand, _deadline: Duration) -> Result<MetaReply> {
        refuse()
    }
}

fn map(cluster: u64, epoch: u64) -> Arc<ShardMap> {
    let placement = ShardPlacement {
        slots: SlotRange::share(0, 1),
        replicas: vec![ReplicaPlacement { replica: ReplicaId(1), node: NodeId(1) }],
        ..ShardPlacement::default()
    };
    Arc::new(ShardMap {
        cluster: ClusterId(cluster.into()),
        epoch: Epoch(epoch),
        nodes: vec![NodeDescriptor { id: NodeId(1), ..NodeDescriptor::default() }],
        shards: vec![placement],
        ..ShardMap::default()
    })
}

async fn start(map: Arc<ShardMap>) -> (String, HealthSwitch) {
    let node = Arc::new(Node { map });
    let view = node.clone();
    let parts = Parts { env: real::env(), kv: node.clone(), executor: node, view, transactions: None };
    let (routes, health) = strata_grpc::routes(parts).await.expect("routes");
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let address = incoming.local_addr().expect("bound").to_string();
    tokio::spawn(Server::builder().add_routes(routes).serve_with_incoming(incoming));
    (address, health)
}

#[tokio::test]
async fn a_node_of_another_cluster_does_not_end_the_search() {
    let (foreign, _foreign_health) = start(map(2, 9)).await;
    let (own, _own_health) = start(map(1, 5)).await;
    let book = |seeds: &[&String]| {
        let seeds = seeds.iter().map(ToString::to_string).collect();
        let book = AddressBook::new(real::env(), seeds, None).expect("addresses");
        book.learn(&map(1, 4));
        book
    };
    let error = book(&[&foreign]).fetch(Epoch(4)).await.expect_err("nobody of ours");
    assert!(error.code == ErrorCode::Unavailable && error.message.contains("belongs to"), "{error}");
    // Whoever answers first.
    for _ in 0..20 {
        let found = book(&[&foreign, &own, &foreign]).fetch(Epoch(4)).await.expect("one of ours");
        assert_eq!((found.cluster, found.epoch), (ClusterId(1), Epoch(5)));
    }
}
