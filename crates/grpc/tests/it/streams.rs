//! Streams that share a connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use strata_env::sim::SimWorld;
use strata_env::{Env, real};
use strata_grpc::{ConnectionRoom, Parts};
use strata_proto::v1::kv_client::KvClient;
use strata_proto::{ShardCall, v1};
use strata_router::{ShardBatch, ShardExecutor, ShardReply};
use strata_types::{Epoch, Operation, Reply, Request, RequestHeader, Revision, ShardId, Timestamp};
use tokio::sync::watch;
use tonic::service::{InterceptorLayer, Routes};
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Status, Streaming};

use crate::nobody::Node;

const MIB: usize = 1 << 20;
/// What all streams of a connection have under way at most, in requests of a little more than one MiB.
const UNDER_WAY_MAX: usize = 64;
/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(60);

/// Carries out nothing while it is closed.
struct Gate {
    is_open: watch::Sender<bool>,
    started: watch::Sender<usize>,
    under_way: AtomicUsize,
    under_way_max: AtomicUsize,
}

impl Gate {
    fn new() -> Arc<Gate> {
        let (under_way, under_way_max) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Gate { is_open: watch::Sender::new(false), started: watch::Sender::new(0), under_way, under_way_max })
    }
}

#[async_trait]
impl ShardExecutor for Gate {
    async fn execute(&self, batch: ShardBatch) -> ShardReply {
        let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.under_way_max.fetch_max(now, Ordering::SeqCst);
        self.started.send_modify(|started| *started += 1);
        self.is_open.subscribe().wait_for(|is_open| *is_open).await.expect("it outlives its batches");
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        let written = |_| Ok(Reply::Put { revision: Revision::default() });
        ShardReply::Done { results: batch.requests.iter().map(written).collect(), time: Timestamp(0) }
    }
}

/// The front door of a node whose shards are behind a gate.
async fn door(env: Env, gate: Arc<Gate>) -> Routes {
    let node = Node::new();
    let parts = Parts { env, kv: node.clone(), executor: gate, view: node, transactions: None };
    strata_grpc::routes(parts).await.expect("routes").0
}

/// A connection to such a node.
async fn connect(gate: Arc<Gate>) -> Channel {
    let routes = door(real::env(), gate).await;
    let incoming = TcpIncoming::bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
    let address = incoming.local_addr().expect("bound");
    let room = ConnectionRoom::default();
    let share = move |mut request: tonic::Request<()>| {
        request.extensions_mut().insert(room.clone());
        Ok::<_, Status>(request)
    };
    // What a stream that waits has not read must not keep the others from being heard.
    let server = Server::builder().initial_stream_window_size(1 << 20).initial_connection_window_size(16 << 20);
    let server = server.layer(InterceptorLayer::new(share)).add_routes(routes);
    tokio::spawn(server.serve_with_incoming(incoming));
    Endpoint::from_shared(format!("http://{address}")).expect("an address").connect().await.expect("connected")
}

fn message(number: u64) -> v1::KvStreamRequest {
    let operation = Operation::Put { key: Bytes::from(number.to_string()), value: vec![7; MIB].into() };
    let requests = vec![Request { header: RequestHeader::default(), operation }];
    let call = ShardCall { epoch: Epoch(1), shard: ShardId(0), requests, deadline: Some(Duration::from_secs(60)) };
    v1::KvStreamRequest { batches: vec![v1::kv_stream_request::Numbered { number, batch: Some(call.into()) }] }
}

/// GRPC-2
#[tokio::test]
async fn streams_of_one_connection_wait_while_they_hold_too_much_together() {
    let gate = Gate::new();
    let channel = connect(gate.clone()).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = KvClient::new(channel.clone());
        clients.push(tokio::spawn(async move {
            let messages = stream::iter((0..40).map(message));
            let mut replies = client.stream(messages).await.expect("opened").into_inner();
            let mut answered = 0;
            while let Some(message) = replies.message().await.expect("a message") {
                answered += message.replies.len();
            }
            answered
        }));
    }
    let mut started = gate.started.subscribe();
    let all = started.wait_for(|started| *started >= UNDER_WAY_MAX);
    tokio::time::timeout(LONG, all).await.expect("in time").expect("started");
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    gate.is_open.send_replace(true);
    for client in clients {
        assert_eq!(client.await.expect("no panic"), 40);
    }
    assert_eq!(gate.under_way_max.load(Ordering::SeqCst), UNDER_WAY_MAX);
}

/// Opens a stream without a network between: what the client drops is dropped by the node at once.
async fn open(door: &Routes, room: &ConnectionRoom, messages: u64) -> Streaming<v1::KvStreamReply> {
    let mut request = tonic::Request::new(stream::iter((0..messages).map(message)));
    request.extensions_mut().insert(room.clone());
    KvClient::new(door.clone()).stream(request).await.expect("opened").into_inner()
}

/// GRPC-2
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_dropped_gives_its_room_back() {
    // It holds replies that nobody reads, or batches that go on without it.
    for is_answered in [true, false] {
        let gate = Gate::new();
        gate.is_open.send_replace(is_answered);
        let (door, room) = (door(SimWorld::new(1).node(1).env(), gate.clone()).await, ConnectionRoom::default());
        let lazy = [open(&door, &room, 40).await, open(&door, &room, 40).await];
        let mut started = gate.started.subscribe();
        let all = started.wait_for(|started| *started >= UNDER_WAY_MAX);
        tokio::time::timeout(LONG, all).await.expect("in time").expect("started");
        let mut late = open(&door, &room, 1).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(*gate.started.borrow(), UNDER_WAY_MAX, "the connection is full");
        drop(lazy);
        gate.is_open.send_replace(true);
        let answer = tokio::time::timeout(LONG, late.message()).await.expect("in time").expect("readable");
        assert_eq!(answer.expect("a message").replies.len(), 1);
    }
}
