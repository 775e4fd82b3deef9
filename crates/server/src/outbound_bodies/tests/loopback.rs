//! Clients that do not read, over a whole connection.

use std::io;
use std::sync::OnceLock;

use http::{Request, Uri, header};
use hyper_util::rt::TokioIo;
use strata_http::{Metrics, Readiness};
use strata_proto::v1;
use strata_proto::v1::kv_client::KvClient;
use strata_proto::v1::kv_server::{Kv, KvServer};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::codegen::BoxStream;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint};
use tonic::{Streaming, async_trait};
use tower::ServiceExt;

use super::*;
use crate::inbound_bodies::InboundBodies;
use crate::prefixed::Prefixed;
use crate::protocols::Grpc;
use crate::sniff::{Connection, Protocol};

/// Long enough for a busy machine.
const LONG: Duration = Duration::from_secs(60);
/// What a client takes of a reply that it does not read.
const WINDOW: u32 = 1_024;
/// A key with a value of [`VALUE_BYTES`]; others do not exist.
const LARGE_KEY: &str = "large";
const VALUE_BYTES: usize = 100 << 10;
/// Enough for one such reply.
const ROOM: usize = 150 << 10;

/// Answers gets and puts.
struct Answers;

type Answer<T> = Result<tonic::Response<T>, Status>;

#[async_trait]
impl Kv for Answers {
    type ScanStream = BoxStream<v1::ScanReply>;
    type StreamStream = BoxStream<v1::KvStreamReply>;

    async fn get(&self, request: tonic::Request<v1::GetRequest>) -> Answer<v1::GetReply> {
        let item = (request.get_ref().key == LARGE_KEY)
            .then(|| v1::Item { value: vec![7; VALUE_BYTES].into(), ..v1::Item::default() });
        Ok(tonic::Response::new(v1::GetReply { item, ..v1::GetReply::default() }))
    }

    async fn put(&self, _: tonic::Request<v1::PutRequest>) -> Answer<v1::PutReply> {
        Ok(tonic::Response::new(v1::PutReply::default()))
    }

    async fn delete(&self, _: tonic::Request<v1::DeleteRequest>) -> Answer<v1::DeleteReply> {
        Err(Status::unimplemented("delete"))
    }

    async fn compare_and_set(&self, _: tonic::Request<v1::CompareAndSetRequest>) -> Answer<v1::CompareAndSetReply> {
        Err(Status::unimplemented("compare_and_set"))
    }

    async fn batch(&self, _: tonic::Request<v1::BatchRequest>) -> Answer<v1::BatchReply> {
        Err(Status::unimplemented("batch"))
    }

    async fn scan(&self, _: tonic::Request<v1::ScanRequest>) -> Answer<Self::ScanStream> {
        Err(Status::unimplemented("scan"))
    }

    async fn stream(&self, _: tonic::Request<Streaming<v1::KvStreamRequest>>) -> Answer<Self::StreamStream> {
        Err(Status::unimplemented("stream"))
    }
}

/// A client of a port with [`ROOM`] for its connection.
struct Connected {
    channel: Channel,
    node: Arc<Room>,
    served: JoinHandle<()>,
    _stop: watch::Sender<bool>,
}

async fn connect() -> Connected {
    let replies = replies(10 * ROOM, ROOM);
    let node = replies.node.clone();
    let readiness: Arc<dyn Readiness> = Arc::new(|| Ok(()));
    let router = strata_http::router(Metrics::detached(), readiness.clone());
    let routes = Arc::new(OnceLock::from(Routes::new(KvServer::new(Answers))));
    let bodies = InboundBodies::new(&real::env());
    let grpc = Grpc { routes, router, readiness, bodies, replies };
    let (stop, stopping) = watch::channel(false);
    let (near, far) = tokio::io::duplex(1 << 16);
    let served = tokio::spawn(async move {
        grpc.serve(Connection { stream: Prefixed::new(Bytes::new(), far), stopping }).await;
    });
    let mut near = Some(near);
    let connector = tower::service_fn(move |_: Uri| {
        let near = near.take().map(TokioIo::new);
        async move { near.ok_or_else(|| io::Error::other("there is one connection")) }
    });
    let endpoint = Endpoint::from_static("http://node").initial_stream_window_size(WINDOW);
    let channel = endpoint.connect_with_connector(connector).await.expect("connected");
    Connected { channel, node, served, _stop: stop }
}

/// Reads a key, up to the head of the reply.
async fn get(channel: &Channel, key: &str) -> Response<tonic::body::Body> {
    let length = u8::try_from(key.len()).expect("a short key");
    // What stands before a message, and what stands before the key in it.
    let mut bytes = vec![0, 0, 0, 0, length + 2, 0x0a, length];
    bytes.extend(key.as_bytes());
    let (sender, script) = mpsc::unbounded_channel();
    sender.send(bytes.into()).expect("the body lives");
    let request = Request::post(READ)
        .version(http::Version::HTTP_2)
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(tonic::body::Body::new(Script(script)))
        .expect("a request");
    // So that the request ends.
    drop(sender);
    timeout(LONG, channel.clone().oneshot(request)).await.expect("in time").expect("a response")
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
    let Connected { channel, node, served: _served, _stop } = connect().await;
    let first = get(&channel, LARGE_KEY).await;
    until(&node, |held| held > VALUE_BYTES).await;
    let (bytes, status) = read(get(&channel, LARGE_KEY).await).await;
    assert_eq!((bytes, status.code()), (0, Code::ResourceExhausted));
    let error = strata_proto::error_of(&status);
    assert_eq!(error, Error::not_applied(ErrorCode::Overloaded, error.message.clone()));

    let (_, status) = read(get(&channel, "small").await).await;
    assert_eq!(status.code(), Code::Ok);
    let put = KvClient::new(channel.clone()).put(v1::PutRequest::default()).await;
    put.expect("there is room for little");

    let (bytes, status) = read(first).await;
    assert!(bytes > VALUE_BYTES && status.code() == Code::Ok, "{bytes} {status:?}");
    until(&node, |held| held == 0).await;
    let (bytes, status) = read(get(&channel, LARGE_KEY).await).await;
    assert!(bytes > VALUE_BYTES && status.code() == Code::Ok, "{bytes} {status:?}");
}

/// SERVER-3
#[tokio::test]
async fn a_call_that_its_client_gives_up_gives_its_room_back() {
    let Connected { channel, node, served: _served, _stop } = connect().await;
    let first = get(&channel, LARGE_KEY).await;
    until(&node, |held| held > VALUE_BYTES).await;
    drop(first);
    until(&node, |held| held == 0).await;
    let (_, status) = read(get(&channel, LARGE_KEY).await).await;
    assert_eq!(status.code(), Code::Ok);
}

/// SERVER-3
#[tokio::test(start_paused = true)]
async fn a_connection_whose_client_does_not_read_is_closed() {
    let Connected { channel, node, mut served, _stop } = connect().await;
    let (_, status) = read(get(&channel, LARGE_KEY).await).await;
    assert_eq!(status.code(), Code::Ok);
    assert!(timeout(5 * UNREAD_DEADLINE, &mut served).await.is_err(), "everything was read: it may be idle");
    let begin = Instant::now();
    let unread = get(&channel, LARGE_KEY).await;
    timeout(3 * UNREAD_DEADLINE, served).await.expect("it is closed").expect("no panic");
    assert!(begin.elapsed() >= UNREAD_DEADLINE, "{:?}", begin.elapsed());
    until(&node, |held| held == 0).await;
    drop(unread);
}
