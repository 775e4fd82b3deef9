//! Clients over a real connection.

use std::sync::OnceLock;

use http::header;
use strata_http::{Metrics, Readiness};
use strata_proto::v1;
use strata_proto::v1::kv_client::KvClient;
use strata_proto::v1::kv_server::{Kv, KvServer};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tonic::codegen::BoxStream;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint};
use tonic::{Streaming, async_trait};
use tower::ServiceExt;

use super::*;
use crate::outbound_bodies::OutboundBodies;
use crate::prefixed::Prefixed;
use crate::protocols::Grpc;
use crate::sniff::{Connection, Protocol};

/// Long enough for a busy machine.
const LONG: Duration = Duration::from_secs(60);
/// The message that the calls of these tests begin with.
const MESSAGE_BYTES: usize = 100 << 10;
/// How much of it they send at first.
const FIRST_BYTES: usize = 60 << 10;

/// Answers every get.
struct Gets;

type Answer<T> = Result<tonic::Response<T>, Status>;

#[async_trait]
impl Kv for Gets {
    type ScanStream = BoxStream<v1::ScanReply>;
    type StreamStream = BoxStream<v1::KvStreamReply>;

    async fn get(&self, _: tonic::Request<v1::GetRequest>) -> Answer<v1::GetReply> {
        Ok(tonic::Response::new(v1::GetReply::default()))
    }

    async fn put(&self, _: tonic::Request<v1::PutRequest>) -> Answer<v1::PutReply> {
        Err(Status::unimplemented("put"))
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

/// One connection to a port that has so much room, and what keeps the port open.
async fn connect(bodies: InboundBodies) -> (Channel, watch::Sender<bool>) {
    let readiness: Arc<dyn Readiness> = Arc::new(|| Ok(()));
    let router = strata_http::router(Metrics::detached(), readiness.clone());
    let routes = Arc::new(OnceLock::from(Routes::new(KvServer::new(Gets))));
    let replies = OutboundBodies::new(&real::env());
    let grpc = Grpc { routes, router, readiness, bodies, replies };
    let (stop, stopping) = watch::channel(false);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        grpc.serve(Connection { stream: Prefixed::new(Bytes::new(), stream), stopping }).await;
    });
    let endpoint: Endpoint = format!("http://{address}").try_into().expect("a valid address");
    (endpoint.connect().await.expect("connected"), stop)
}

/// The message of a get with an unknown field, and what stands before it.
fn get() -> Bytes {
    // Field 14, of bytes; their number takes three bytes.
    let payload = MESSAGE_BYTES - 4;
    let low = |shift: usize| u8::try_from((payload >> shift) & 0x7f).expect("seven bits");
    let mut bytes = vec![0];
    bytes.extend(u32::try_from(MESSAGE_BYTES).expect("short").to_be_bytes());
    bytes.extend([0x72, low(0) | 0x80, low(7) | 0x80, low(14)]);
    bytes.resize(5 + MESSAGE_BYTES, 0);
    bytes.into()
}

struct Open {
    client: mpsc::UnboundedSender<Bytes>,
    answer: JoinHandle<Option<Status>>,
}

/// Begins a call, and does not finish its message. The answer is the status in the head of the response.
fn begin(channel: &Channel) -> Open {
    let (client, sent) = mpsc::unbounded_channel();
    client.send(get().slice(..FIRST_BYTES)).expect("the body lives");
    let request = Request::post("/strata.v1.Kv/Get")
        .version(http::Version::HTTP_2)
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(tonic::body::Body::new(Script(sent)))
        .expect("a request");
    let channel = channel.clone();
    let answer = tokio::spawn(async move {
        let response = channel.oneshot(request).await.expect("a response");
        Status::from_header_map(response.headers())
    });
    Open { client, answer }
}

/// SERVER-3
#[tokio::test]
async fn a_call_whose_message_has_no_room_ends_and_the_others_of_its_connection_go_on() {
    let room = HEADER_BYTES + MESSAGE_BYTES;
    let bodies = bodies(10 * room, room);
    let node = bodies.node.clone();
    let (channel, _stop) = connect(bodies).await;
    let first = begin(&channel);
    let arrived = async {
        while node.available_permits() != 10 * room - FIRST_BYTES {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, arrived).await.expect("what was sent is counted");
    let second = begin(&channel);
    let status = timeout(LONG, second.answer).await.expect("it does not wait").expect("no panic").expect("an error");
    assert_eq!(status.code(), Code::ResourceExhausted);
    let error = strata_proto::error_of(&status);
    assert_eq!(error, Error::not_applied(ErrorCode::Overloaded, error.message.clone()));

    assert!(!first.answer.is_finished());
    let mut client = KvClient::new(channel);
    let small = client.get(v1::GetRequest::default());
    timeout(LONG, small).await.expect("in time").expect("there is room for little");
    first.client.send(get().slice(FIRST_BYTES..)).expect("the body lives");
    drop(first.client);
    let status = timeout(LONG, first.answer).await.expect("in time").expect("no panic");
    assert!(status.is_none(), "{status:?}");
}
