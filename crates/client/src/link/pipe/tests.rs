//! A pipe to a node that answers when it is let.

#![allow(clippy::disallowed_methods, reason = "a test is an edge: it starts its own tasks")]

use async_trait::async_trait;
use strata_env::real;
use strata_grpc::{ClusterOverview, ClusterView, HealthSwitch, Parts};
use strata_meta::{MetaCommand, MetaReply};
use strata_router::{Kv, PageRange, ShardExecutor};
use strata_types::{
    ClusterId, Epoch, Error, ErrorCode, Operation, Reply, Request, RequestHeader, Revision, ShardId, ShardMap,
    Timestamp,
};
use tokio::sync::watch;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use super::*;

const BATCH_BYTES: usize = 1024 * 1024;

/// Carries batches out, and answers once the gate is open.
struct Slow {
    gate: watch::Receiver<bool>,
    begun: watch::Sender<usize>,
}

fn refuse<T>() -> strata_types::Result<T> {
    Err(Error::not_applied(ErrorCode::NotReady, "this node has streams only"))
}

#[async_trait]
impl ShardExecutor for Slow {
    async fn execute(&self, batch: ShardBatch) -> ShardReply {
        self.begun.send_modify(|begun| *begun += 1);
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

/// A pipe to a node on loopback.
struct Opened {
    pipe: Arc<Pipe>,
    node: Arc<Slow>,
    /// The gate of its answers.
    gate: watch::Sender<bool>,
    health: HealthSwitch,
}

async fn open() -> Opened {
    let (open, gate) = watch::channel(false);
    let node = Arc::new(Slow { gate, begun: watch::Sender::new(0) });
    let view = node.clone();
    let parts = Parts { env: real::env(), kv: node.clone(), executor: node.clone(), view, transactions: None };
    let (routes, health) = strata_grpc::routes(parts).await.expect("routes");
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let address = incoming.local_addr().expect("bound").to_string();
    tokio::spawn(Server::builder().add_routes(routes).serve_with_incoming(incoming));
    let pipe = Pipe::new(real::env(), crate::link::wire::endpoint(&address).expect("an address"), None, ClusterId(1));
    Opened { pipe, node, gate: open, health }
}

/// Sends so many batches that wait long.
fn send(pipe: &Arc<Pipe>, count: usize) -> Vec<tokio::task::JoinHandle<Result<ShardReply, LinkError>>> {
    let call = |_| {
        let pipe = pipe.clone();
        tokio::spawn(async move { pipe.call(batch(), Duration::from_secs(60)).await })
    };
    (0..count).map(call).collect()
}

fn batch() -> ShardBatch {
    let operation = Operation::Put { key: "k".into(), value: vec![7; BATCH_BYTES].into() };
    let request = Request { header: RequestHeader::default(), operation };
    ShardBatch { epoch: Epoch(1), shard: ShardId(0), requests: Arc::new(vec![request]) }
}

/// CLIENT-2
#[tokio::test]
async fn what_waits_is_bounded_in_bytes_and_callers_wait_for_room_by_their_deadline() {
    let Opened { pipe, gate, health: _health, .. } = open().await;
    let fitting = PIPE_BYTES_MAX as usize / (BATCH_BYTES + 1 + REQUEST_OVERHEAD);
    let patient = send(&pipe, fitting);
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
    let waiting = send(&pipe, 1);
    gate.send_replace(true);
    for call in patient.into_iter().chain(waiting) {
        let reply = call.await.expect("joined");
        assert!(matches!(&reply, Ok(ShardReply::Done { results, .. }) if results.len() == 1), "{reply:?}");
    }
    assert_eq!(pipe.room.available_permits(), PIPE_BYTES_MAX as usize, "all room is given back");
}

/// CLIENT-1, GRPC-6
#[tokio::test]
async fn a_node_that_stops_answers_what_it_took_and_says_that_it_took_nothing_else() {
    let Opened { pipe, node, gate, health } = open().await;
    // More than the node takes at once: the rest waits in the stream, and here.
    let calls = send(&pipe, 60);
    let mut begun = node.begun.subscribe();
    let taken = *begun.wait_for(|begun| *begun >= 30).await.expect("it takes what it has room for");
    health.end_streams();
    gate.send_replace(true);
    let (mut done, mut refused) = (0, 0);
    for call in calls {
        match call.await.expect("joined") {
            Ok(ShardReply::Done { .. }) => done += 1,
            // Those that were sent are refused by the node, the others by the pipe.
            Err(LinkError::NotSent { detail }) => refused += usize::from(detail.ends_with("the node stops")),
            other => panic!("nobody can tell what became of it: {other:?}"),
        }
    }
    assert_eq!(done, *begun.borrow(), "what was carried out was answered, and nothing else");
    assert!(taken <= done && refused > 0, "{taken} were taken, {done} answered and {refused} sent in vain");
    assert_eq!(pipe.room.available_permits(), PIPE_BYTES_MAX as usize, "all room is given back");
}
