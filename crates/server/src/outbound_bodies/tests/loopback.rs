//! Clients that do not read, over a whole connection.

use strata_proto::v1;
use strata_proto::v1::kv_client::KvClient;
use tonic::transport::Channel;

use super::*;
use crate::inbound_bodies::InboundBodies;
use crate::loopback::{self, LARGE_KEY, LONG, Loopback, VALUE_BYTES};

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
