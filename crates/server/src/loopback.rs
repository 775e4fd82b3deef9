//! What the tests of connections share: a port that answers a few calls, over a connection in memory, and bodies that the test
//! makes frame by frame.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri, header};
use hyper::body::{Body, Frame};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use strata_grpc::ConnectionRoom;
use strata_http::{Metrics, Readiness};
use strata_proto::v1;
use strata_proto::v1::kv_server::{Kv, KvServer};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tonic::codegen::BoxStream;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming, async_trait};
use tower::ServiceExt;

use crate::inbound_bodies::InboundBodies;
use crate::outbound_bodies::OutboundBodies;
use crate::prefixed::Prefixed;
use crate::protocols::Grpc;
use crate::sniff::{Connection, Protocol};

/// Long enough for a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(60);
/// A key with a value of [`VALUE_BYTES`]; others do not exist.
pub(crate) const LARGE_KEY: &str = "large";
pub(crate) const VALUE_BYTES: usize = 100 << 10;

/// Frames as the test makes them.
pub(crate) struct Script(pub(crate) mpsc::UnboundedReceiver<Bytes>);

impl Body for Script {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|data| data.map(|data| Ok(Frame::data(data))))
    }
}

/// What each stream was told of its connection.
type Rooms = Arc<Mutex<Vec<Option<ConnectionRoom>>>>;

/// Answers gets and puts, and refuses streams.
struct Answers {
    rooms: Rooms,
}

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

    async fn stream(&self, request: tonic::Request<Streaming<v1::KvStreamRequest>>) -> Answer<Self::StreamStream> {
        self.rooms.lock().push(request.extensions().get().cloned());
        Err(Status::unimplemented("stream"))
    }
}

/// A client of such a port. Dropping it closes the port.
pub(crate) struct Loopback {
    pub(crate) channel: Channel,
    /// Ends with the connection.
    pub(crate) served: JoinHandle<()>,
    pub(crate) rooms: Rooms,
    _stop: watch::Sender<bool>,
}

/// Connects to a port that has so much room. `window`: what the client takes of a reply that it does not read.
pub(crate) async fn connect(bodies: InboundBodies, replies: OutboundBodies, window: Option<u32>) -> Loopback {
    let readiness: Arc<dyn Readiness> = Arc::new(|| Ok(()));
    let router = strata_http::router(Metrics::detached(), readiness.clone());
    let rooms = Rooms::default();
    let routes = Arc::new(OnceLock::from(Routes::new(KvServer::new(Answers { rooms: rooms.clone() }))));
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
    let endpoint = Endpoint::from_static("http://node").initial_stream_window_size(window);
    let channel = endpoint.connect_with_connector(connector).await.expect("connected");
    Loopback { channel, served, rooms, _stop: stop }
}

/// Begins a get whose message is what the test makes, and waits for the head of the reply.
pub(crate) async fn begin_get(
    channel: Channel,
    message: mpsc::UnboundedReceiver<Bytes>,
) -> Response<tonic::body::Body> {
    let request = Request::post("/strata.v1.Kv/Get")
        .version(http::Version::HTTP_2)
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(tonic::body::Body::new(Script(message)))
        .expect("a request");
    channel.oneshot(request).await.expect("a response")
}
