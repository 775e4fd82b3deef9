//! Clients that do not read, over a whole connection.

use strata_http::{Metrics, Readiness};
use strata_proto::v1;
use strata_proto::v1::kv_client::KvClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::transport::Channel;

use super::*;
use crate::inbound_bodies::InboundBodies;
use crate::loopback::{self, LARGE_KEY, LONG, Loopback, VALUE_BYTES};
use crate::prefixed::Prefixed;
use crate::protocols::Http;
use crate::sniff::{Connection, Protocol};

/// What a client takes of a reply that it does not read.
const WINDOW: u32 = 1_024;
/// Enough for one large reply.
const ROOM: usize = 150 << 10;

/// A client of a port with [`ROOM`] for its connection, and what the node holds.
async fn connect() -> (Loopback, Arc<Room>) {
    let replies = replies(10 * ROOM, ROOM);
    let node = replies.node.clone();
    (loopback::connect(InboundBodies::new(&real::env()), replies, Some(WINDOW)).await, node)
}

/// Reads a key, up to the head of the reply.
async fn get(channel: &Channel, key: &str) -> Response<tonic::body::Body> {
    let length = u8::try_from(key.len()).expect("a short key");
    // What stands before a message, and what stands before the key in it.
    let mut bytes = vec![0, 0, 0, 0, length + 2, 0x0a, length];
    bytes.extend(key.as_bytes());
    let (sender, message) = mpsc::unbounded_channel();
    sender.send(bytes.into()).expect("the body lives");
    // So that the request ends.
    drop(sender);
    timeout(LONG, loopback::begin_get(channel.clone(), message)).await.expect("in time")
}

/// Reads a reply to its end: how long it is, and its status.
async fn read(response: Response<tonic::body::Body>) -> (usize, Status) {
    let mut body = response.into_body();
    let mut bytes = 0;
    loop {
        let frame = timeout(LONG, poll_fn(|context| Pin::new(&mut body).poll_frame(context))).await.expect("in time");
        match frame.expect("trailers are the last").expect("the connection lives").into_data() {
            Ok(data) => bytes += data.len(),
            Err(frame) => {
                let trailers = frame.into_trailers().expect("trailers");
                return (bytes, Status::from_header_map(&trailers).expect("a status"));
            }
        }
    }
}

/// Until what is held is so much.
async fn until(node: &Room, is_so: impl Fn(usize) -> bool) {
    let so = async {
        while !is_so(node.held()) {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, so).await.expect("in time");
}

/// SERVER-3
#[tokio::test]
async fn a_large_reply_beside_one_that_is_not_read_is_refused_and_little_ones_are_not() {
    let (port, node) = connect().await;
    let channel = &port.channel;
    let first = get(channel, LARGE_KEY).await;
    until(&node, |held| held > VALUE_BYTES).await;
    let (bytes, status) = read(get(channel, LARGE_KEY).await).await;
    assert_eq!((bytes, status.code()), (0, Code::ResourceExhausted));
    let error = strata_proto::error_of(&status);
    assert_eq!(error, Error::not_applied(ErrorCode::Overloaded, error.message.clone()));

    let (_, status) = read(get(channel, "small").await).await;
    assert_eq!(status.code(), Code::Ok);
    let put = KvClient::new(channel.clone()).put(v1::PutRequest::default()).await;
    put.expect("there is room for little");

    let (bytes, status) = read(first).await;
    assert!(bytes > VALUE_BYTES && status.code() == Code::Ok, "{bytes} {status:?}");
    until(&node, |held| held == 0).await;
    let (bytes, status) = read(get(channel, LARGE_KEY).await).await;
    assert!(bytes > VALUE_BYTES && status.code() == Code::Ok, "{bytes} {status:?}");
}

/// SERVER-3
#[tokio::test]
async fn a_call_that_its_client_gives_up_gives_its_room_back() {
    let (port, node) = connect().await;
    let channel = &port.channel;
    let first = get(channel, LARGE_KEY).await;
    until(&node, |held| held > VALUE_BYTES).await;
    drop(first);
    until(&node, |held| held == 0).await;
    let (_, status) = read(get(channel, LARGE_KEY).await).await;
    assert_eq!(status.code(), Code::Ok);
}

/// SERVER-3
#[tokio::test(start_paused = true)]
async fn a_connection_whose_client_does_not_read_is_closed() {
    let (mut port, node) = connect().await;
    let channel = &port.channel.clone();
    let (_, status) = read(get(channel, LARGE_KEY).await).await;
    assert_eq!(status.code(), Code::Ok);
    assert!(timeout(5 * UNREAD_DEADLINE, &mut port.served).await.is_err(), "everything was read: it may be idle");
    let begin = Instant::now();
    let unread = get(channel, LARGE_KEY).await;
    timeout(3 * UNREAD_DEADLINE, port.served).await.expect("it is closed").expect("no panic");
    assert!(begin.elapsed() >= UNREAD_DEADLINE, "{:?}", begin.elapsed());
    until(&node, |held| held == 0).await;
    drop(unread);
}

/// A client of HTTP/1, and its connection.
struct Operator {
    wire: DuplexStream,
    served: JoinHandle<()>,
    _stop: watch::Sender<bool>,
}

/// A port for operators that has so much room for all of them.
fn http1(room: usize) -> (Arc<Http>, Arc<Room>) {
    let replies = replies(room, room);
    let node = replies.node.clone();
    let readiness: Arc<dyn Readiness> = Arc::new(|| Ok(()));
    (Arc::new(Http { router: strata_http::router(Metrics::detached(), readiness), replies }), node)
}

impl Operator {
    /// Asks for something, and reads nothing.
    async fn ask(http: &Arc<Http>, path: &str) -> Operator {
        let (mut wire, far) = tokio::io::duplex(1 << 10);
        let (stop, stopping) = watch::channel(false);
        let (http, stream) = (http.clone(), Prefixed::new(Bytes::new(), far));
        let served = tokio::spawn(async move { http.serve(Connection { stream, stopping }).await });
        let request = format!("GET /{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        wire.write_all(request.as_bytes()).await.expect("taken");
        Operator { wire, served, _stop: stop }
    }

    /// Reads to the end.
    async fn read(mut self) -> String {
        let mut answer = Vec::new();
        let reading = self.wire.read_to_end(&mut answer);
        timeout(LONG, reading).await.expect("in time").expect("readable");
        String::from_utf8(answer).expect("text")
    }
}

/// A path that nothing is at. The answer repeats it, and more, so that it counts.
fn long_path() -> String {
    "x".repeat(UNCOUNTED_BYTES - 200)
}

/// SERVER-3
#[tokio::test]
async fn operators_share_room_too_and_short_answers_need_none() {
    let (http, node) = http1(UNCOUNTED_BYTES + 4096);
    let lazy = Operator::ask(&http, &long_path()).await;
    until(&node, |held| held > UNCOUNTED_BYTES).await;
    let answer = Operator::ask(&http, &long_path()).await.read().await;
    assert!(answer.len() < UNCOUNTED_BYTES, "it was cut off: {} bytes", answer.len());
    let answer = Operator::ask(&http, "health/live").await.read().await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(lazy);
    until(&node, |held| held == 0).await;
    let answer = Operator::ask(&http, &long_path()).await.read().await;
    assert!(answer.starts_with("HTTP/1.1 404") && answer.ends_with("}\n"), "{} bytes", answer.len());
}

/// SERVER-3
#[tokio::test(start_paused = true)]
async fn an_operator_that_does_not_read_is_closed() {
    let (http, node) = http1(1 << 20);
    let lazy = Operator::ask(&http, &long_path()).await;
    until(&node, |held| held > UNCOUNTED_BYTES).await;
    let begin = Instant::now();
    timeout(3 * UNREAD_DEADLINE, lazy.served).await.expect("it is closed").expect("no panic");
    assert!(begin.elapsed() >= UNREAD_DEADLINE, "{:?}", begin.elapsed());
    assert_eq!(node.held(), 0);
}
