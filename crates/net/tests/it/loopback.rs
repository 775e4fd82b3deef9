//! Two real transports over loopback.

#![allow(clippy::disallowed_methods, reason = "these tests are about real sockets")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use strata_env::{Env, real};
use strata_net::grpc::{GrpcSettings, GrpcTransport, PeerServer};
use strata_net::{Caller, Handler, Inbox, Introductions, Lane, MessageKind, NetError, Replier, Switchboard, Transport};
use strata_types::limits::PEER_MESSAGE_BYTES_MAX;
use strata_types::{ClusterId, GroupId, NodeId};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

pub(crate) const CLUSTER: ClusterId = ClusterId(0xc1);
/// Far longer than anything here takes: what ends earlier did not end by deadline.
const LONG: Duration = Duration::from_secs(60);

pub(crate) struct TestNode {
    pub(crate) id: NodeId,
    pub(crate) address: String,
    pub(crate) transport: Arc<GrpcTransport>,
    caller: Arc<Caller>,
    switchboard: Arc<Switchboard>,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
}

impl TestNode {
    async fn start(cluster: ClusterId, id: u64, settings: GrpcSettings) -> TestNode {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        TestNode::start_on(listener, cluster, id, settings)
    }

    fn start_on(listener: TcpListener, cluster: ClusterId, id: u64, settings: GrpcSettings) -> TestNode {
        let env = real::env();
        let transport = GrpcTransport::new(env.clone(), settings);
        TestNode::start_with(env, transport, listener, cluster, id)
    }

    pub(crate) fn start_with(
        env: Env,
        transport: Arc<GrpcTransport>,
        listener: TcpListener,
        cluster: ClusterId,
        id: u64,
    ) -> TestNode {
        let id = NodeId(id);
        let address = listener.local_addr().expect("it is bound").to_string();
        let caller = Caller::new(env, transport.clone());
        let switchboard = Switchboard::new(caller.clone(), transport.clone());
        switchboard.set_handler(MessageKind::Append, Arc::new(Echo));
        let service = PeerServer::new(&transport, switchboard.clone());
        transport.identify(cluster, id);
        caller.identify(id);
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            service.serve(listener, stopped).await.expect("it serves");
        });
        TestNode { id, address, transport, caller, switchboard, stop: Some(stop), server }
    }

    pub(crate) fn call(
        &self,
        to: NodeId,
        kind: MessageKind,
        body: Bytes,
    ) -> impl Future<Output = Result<Bytes, NetError>> + Send + use<> {
        self.caller.call(to, Lane::Data, GroupId(3), kind, body, LONG)
    }

    pub(crate) fn knows(&self, other: &TestNode) {
        self.transport.set_address(other.id, &other.address);
    }

    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        within(&mut self.server).await.expect("it stops");
    }
}

/// Two nodes that know each other.
async fn pair() -> (TestNode, TestNode) {
    let a = TestNode::start(CLUSTER, 1, GrpcSettings::default()).await;
    let b = TestNode::start(CLUSTER, 2, GrpcSettings::default()).await;
    a.knows(&b);
    b.knows(&a);
    (a, b)
}

pub(crate) async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it ends long before its deadline")
}

struct Echo;

impl Handler for Echo {
    fn handle(&self, _from: NodeId, _group: GroupId, body: Bytes, replier: Replier) {
        replier.reply(Ok(body));
    }
}

/// Hands every request to the test.
struct Forward(mpsc::UnboundedSender<(NodeId, Bytes, Replier)>);

impl Handler for Forward {
    fn handle(&self, from: NodeId, _group: GroupId, body: Bytes, replier: Replier) {
        self.0.send((from, body, replier)).expect("the test is there");
    }
}

#[tokio::test]
async fn calls_are_answered_both_ways_and_by_the_node_itself() {
    let (a, b) = pair().await;
    for (node, to) in [(&a, b.id), (&b, a.id), (&a, a.id)] {
        for lane in Lane::ALL {
            let body = Bytes::from(format!("{} to {to}", node.id));
            let call = node.caller.call(to, lane, GroupId(3), MessageKind::Append, body.clone(), LONG);
            assert_eq!(within(call).await, Ok(body));
        }
    }
    let stranger = a.call(NodeId(9), MessageKind::Append, Bytes::from_static(b"x"));
    assert!(matches!(stranger.await, Err(NetError::Unreachable { .. })), "its address is not known");
}

#[tokio::test]
async fn requests_of_a_lane_arrive_in_order_and_all_are_answered() {
    let (a, b) = pair().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    struct Recorder(Arc<Mutex<Vec<u32>>>);
    impl Handler for Recorder {
        fn handle(&self, _from: NodeId, _group: GroupId, body: Bytes, replier: Replier) {
            self.0.lock().push(u32::from_be_bytes(body[..4].try_into().expect("four bytes")));
            replier.reply(Ok(body.slice(..4)));
        }
    }
    b.switchboard.set_handler(MessageKind::Requests, Arc::new(Recorder(seen.clone())));
    // Sizes differ, so that batches are cut in different places.
    let body = |n: u32| [n.to_be_bytes().to_vec(), vec![0; n as usize % 5000]].concat();
    let calls: Vec<_> = (0..4000).map(|n| a.call(b.id, MessageKind::Requests, body(n).into())).collect();
    for (n, call) in (0u32..).zip(calls) {
        assert_eq!(within(call).await, Ok(Bytes::copy_from_slice(&n.to_be_bytes())));
    }
    assert_eq!(*seen.lock(), (0..4000).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_maximal_message_passes_and_a_larger_one_is_refused() {
    let (a, b) = pair().await;
    let largest = Bytes::from(vec![7; PEER_MESSAGE_BYTES_MAX - 1024]);
    assert_eq!(within(a.call(b.id, MessageKind::Append, largest.clone())).await, Ok(largest));
    let larger = Bytes::from(vec![7; PEER_MESSAGE_BYTES_MAX]);
    let error = within(a.call(b.id, MessageKind::Append, larger)).await.expect_err("too large");
    assert!(matches!(error, NetError::Refused { .. }), "{error}");
}

/// NET-1
#[tokio::test]
async fn a_node_of_another_cluster_is_refused_with_a_sentence() {
    let a = TestNode::start(CLUSTER, 1, GrpcSettings::default()).await;
    let foreign = TestNode::start(ClusterId(0xc2), 2, GrpcSettings::default()).await;
    a.knows(&foreign);
    let error = within(a.call(foreign.id, MessageKind::Append, Bytes::from_static(b"x"))).await.expect_err("refused");
    assert!(matches!(error, NetError::Unreachable { .. }), "nothing was carried out: {error}");
    assert!(error.to_string().contains("the caller belongs to cluster"), "{error}");
}

/// NET-1
#[tokio::test]
async fn a_message_for_another_node_is_not_delivered() {
    let (a, b) = pair().await;
    a.transport.set_address(NodeId(3), &b.address);
    let error = within(a.call(NodeId(3), MessageKind::Append, Bytes::from_static(b"x"))).await.expect_err("refused");
    assert!(error.to_string().contains("this is node n2, not n3"), "{error}");
}

/// NET-2, CALL-2
#[tokio::test]
async fn a_full_queue_refuses_and_calls_fail_as_not_sent() {
    let deaf = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let settings = GrpcSettings {
        data_queue_bytes_max: 10_000,
        handshake_timeout: Duration::from_millis(200),
        ..GrpcSettings::default()
    };
    let a = TestNode::start(CLUSTER, 1, settings).await;
    a.transport.set_address(NodeId(2), &deaf.local_addr().expect("bound").to_string());
    let calls: Vec<_> = (0..20).map(|_| a.call(NodeId(2), MessageKind::Append, vec![0; 1000].into())).collect();
    let mut errors = Vec::new();
    for call in calls {
        errors.push(within(call).await.expect_err("nobody shakes hands"));
    }
    let full = errors.iter().filter(|error| matches!(error, NetError::Overflow { .. })).count();
    let unsent = errors.iter().filter(|error| matches!(error, NetError::Unreachable { .. })).count();
    assert_eq!((unsent, full), (9, 11), "{errors:?}");
}

/// NET-3
#[tokio::test]
async fn the_death_of_a_node_ends_its_open_calls_and_its_return_is_noticed() {
    let a = TestNode::start(CLUSTER, 1, GrpcSettings::default()).await;
    let (sender, mut requests) = mpsc::unbounded_channel();
    // In a runtime of its own, which can be killed with everything in it.
    let machine =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let b = machine.spawn(async move {
        let b = TestNode::start(CLUSTER, 2, GrpcSettings::default()).await;
        b.switchboard.set_handler(MessageKind::Requests, Arc::new(Forward(sender)));
        b
    });
    let b = b.await.expect("it started");
    a.knows(&b);
    let call = a.call(b.id, MessageKind::Requests, Bytes::from_static(b"x"));
    let (from, body, replier) = within(requests.recv()).await.expect("it arrived");
    assert_eq!((from, body.as_ref()), (a.id, b"x".as_slice()));

    machine.shutdown_background();
    let error = within(call).await.expect_err("nobody will answer");
    assert!(matches!(error, NetError::NoAnswer { .. }), "it had arrived: {error}");
    drop(replier);
    let (id, address) = (b.id, b.address.clone());
    drop(b);
    let error = within(a.call(id, MessageKind::Append, Bytes::from_static(b"x"))).await.expect_err("it is down");
    assert!(matches!(error, NetError::Unreachable { .. }), "it was not sent: {error}");

    let listener = within(async {
        loop {
            match TcpListener::bind(&address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    });
    let back = TestNode::start_on(listener.await, CLUSTER, 2, GrpcSettings::default());
    back.knows(&a);
    let answer = within(async {
        loop {
            match a.call(back.id, MessageKind::Append, Bytes::from_static(b"again")).await {
                Ok(answer) => break answer,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    });
    assert_eq!(answer.await, Bytes::from_static(b"again"));
}

#[tokio::test]
async fn a_clean_stop_ends_streams_and_calls() {
    let (a, b) = pair().await;
    let (sender, mut requests) = mpsc::unbounded_channel();
    b.switchboard.set_handler(MessageKind::Requests, Arc::new(Forward(sender)));
    let call = a.call(b.id, MessageKind::Requests, Bytes::from_static(b"x"));
    let request = within(requests.recv()).await;
    within(b.stop()).await;
    let error = within(call).await.expect_err("stopped");
    assert!(matches!(error, NetError::NoAnswer { .. }), "{error}");
    drop(request);
}

#[tokio::test]
async fn a_node_that_moves_is_found_at_its_new_address() {
    let (a, b) = pair().await;
    assert!(within(a.call(b.id, MessageKind::Append, Bytes::from_static(b"x"))).await.is_ok());
    let moved = TestNode::start(CLUSTER, 2, GrpcSettings::default()).await;
    let (sender, mut requests) = mpsc::unbounded_channel();
    moved.switchboard.set_handler(MessageKind::Append, Arc::new(Forward(sender)));
    a.knows(&moved);
    let (_, body, replier) = within(async {
        loop {
            // Until the old connection is given up, calls may end there.
            let call = a.call(b.id, MessageKind::Append, Bytes::from_static(b"y"));
            tokio::select! {
                _ = call => tokio::task::yield_now().await,
                request = requests.recv() => break request.expect("it is there"),
            }
        }
    })
    .await;
    assert_eq!(body, "y");
    drop(replier);
}

struct Doorman;

#[async_trait]
impl Introductions for Doorman {
    async fn introduce(&self, body: Bytes) -> Result<Bytes, String> {
        if body == "friend" { Ok(Bytes::from_static(b"come in")) } else { Err("the cluster is full".into()) }
    }
}

#[tokio::test]
async fn introductions_need_no_identity() {
    let b = TestNode::start(CLUSTER, 2, GrpcSettings::default()).await;
    b.switchboard.set_introductions(Arc::new(Doorman));
    let nobody = GrpcTransport::new(real::env(), GrpcSettings::default());
    let introduce = |address: String, body: &'static str| {
        let nobody = nobody.clone();
        async move { within(nobody.introduce(&address, Bytes::from_static(body.as_bytes()), LONG)).await }
    };
    assert_eq!(introduce(b.address.clone(), "friend").await, Ok(Bytes::from_static(b"come in")));
    let refused = NetError::Refused { target: b.address.clone(), detail: "the cluster is full".into() };
    assert_eq!(introduce(b.address.clone(), "foe").await, Err(refused));

    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let dead = listener.local_addr().expect("bound").to_string();
    drop(listener);
    let error = introduce(dead, "friend").await.expect_err("nobody is there");
    assert!(matches!(error, NetError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("refused"), "the cause is named: {error}");
    let error = introduce("no address".into(), "friend").await.expect_err("no address");
    assert!(error.to_string().contains("HOST:PORT"), "{error}");
}

#[tokio::test]
async fn nothing_is_sent_without_an_identity() {
    let transport = GrpcTransport::new(real::env(), GrpcSettings::default());
    let caller = Caller::new(real::env(), transport.clone());
    let inbox: Arc<dyn Inbox> = Switchboard::new(caller.clone(), transport.clone());
    transport.attach(&inbox);
    caller.identify(NodeId(1));
    let call = caller.call(NodeId(1), Lane::Control, GroupId(0), MessageKind::Vote, Bytes::new(), LONG);
    let error = call.await.expect_err("no identity");
    assert!(error.to_string().contains("no identity"), "{error}");
}
