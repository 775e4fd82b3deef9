//! A pipe to a node that answers when it is let.

#![allow(clippy::disallowed_methods, reason = "a test is an edge: it starts its own tasks")]

use async_trait::async_trait;
use strata_env::real;
use strata_grpc::{ClusterOverview, ClusterView, Parts};
use strata_meta::{MetaCommand, MetaReply};
use strata_router::{Kv, PageRange, ShardExecutor};
use strata_types::{
    Epoch, Error, ErrorCode, Operation, Reply, Request, RequestHeader, Revision, ShardId, ShardMap, Timestamp,
};
use tokio::sync::watch;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use super::*;

const BATCH_BYTES: usize = 1024 * 1024;

/// Carries batches out, and answers once the gate is open.
struct Slow {
    gate: watch::Receiver<bool>,
}

fn refuse<T>() -> strata_types::Result<T> {
    Err(Error::not_applied(ErrorCode::NotReady, "this node has streams only"))
}

#[async_trait]
impl ShardExecutor for Slow {
    async fn execute(&self, batch: ShardBatch) -> ShardReply {
        self.gate.clone().wait_for(|is_open| *is_open).await.expect("the test outlives it");
        let reply = Reply::Put { revision: Revision::default() };
        ShardReply::Done { results: batch.requests.iter().map(|_| Ok(reply.clone())).collect(), time: Timestamp(0) }
    }
}

#[async_trait]
impl Kv for Slow {
    async fn call(&self, _request: Request, _deadline: Duration) -> strata_types::Result<Reply> {
        refuse()
    }

    async fn scan_shard(&self, _: ShardId, _range: PageRange, _deadline: Duration) -> strata_types::Result<Reply> {
        refuse()
    }

    fn map(&self) -> Arc<ShardMap> {
        Arc::default()
    }

    fn time(&self) -> Timestamp {
        Timestamp(0)
    }
}

#[async_trait]
impl ClusterView for Slow {
    async fn overview(&self) -> strata_types::Result<ClusterOverview> {
        refuse()
    }

    fn map(&self) -> Arc<ShardMap> {
        Arc::default()
    }

    async fn command(&self, _: MetaCommand, _deadline: Duration) -> strata_types::Result<MetaReply> {
        refuse()
    }
}

/// A pipe to a node on loopback, and the gate of its answers.
async fn open() -> (Arc<Pipe>, watch::Sender<bool>) {
    let (open, gate) = watch::channel(false);
    let node = Arc::new(Slow { gate });
    let parts = Parts { env: real::env(), kv: node.clone(), executor: node.clone(), view: node, transactions: None };
    let (routes, _) = strata_grpc::routes(parts).await.expect("routes");
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let address = incoming.local_addr().expect("bound").to_string();
    tokio::spawn(Server::builder().add_routes(routes).serve_with_incoming(incoming));
    (Pipe::new(real::env(), crate::link::wire::endpoint(&address).expect("an address"), None), open)
}

fn batch() -> ShardBatch {
    let operation = Operation::Put { key: "k".into(), value: vec![7; BATCH_BYTES].into() };
    let request = Request { header: RequestHeader::default(), operation };
    ShardBatch { epoch: Epoch(1), shard: ShardId(0), requests: Arc::new(vec![request]) }
}

/// CLIENT-2
#[tokio::test]
async fn what_waits_is_bounded_in_bytes_and_callers_wait_for_room_by_their_deadline() {
    let (pipe, gate) = open().await;
    let fitting = PIPE_BYTES_MAX as usize / (BATCH_BYTES + 1 + REQUEST_OVERHEAD);
    let patient: Vec<_> = (0..fitting)
        .map(|_| {
            let pipe = pipe.clone();
            tokio::spawn(async move { pipe.call(batch(), Duration::from_secs(60)).await })
        })
        .collect();
    while pipe.room.available_permits() >= BATCH_BYTES {
        tokio::task::yield_now().await;
    }
    // There is no room for one more, whether the others were sent or not.
    for _ in 0..3 {
        let refused = pipe.call(batch(), Duration::from_millis(20)).await;
        let Err(LinkError::NotSent { detail }) = &refused else { panic!("{refused:?}") };
        assert!(detail.contains("earlier batches"), "{detail}");
    }
    // One that waits longer gets the room of those that were answered.
    let waiting = tokio::spawn({
        let pipe = pipe.clone();
        async move { pipe.call(batch(), Duration::from_secs(60)).await }
    });
    gate.send_replace(true);
    for call in patient.into_iter().chain([waiting]) {
        let reply = call.await.expect("joined");
        assert!(matches!(&reply, Ok(ShardReply::Done { results, .. }) if results.len() == 1), "{reply:?}");
    }
    assert_eq!(pipe.room.available_permits(), PIPE_BYTES_MAX as usize, "all room is given back");
}
