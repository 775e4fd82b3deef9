//! Clients over a whole connection.

use strata_proto::v1;
use strata_proto::v1::kv_client::KvClient;
use tokio::task::JoinHandle;
use tonic::Status;
use tonic::transport::Channel;

use super::*;
use crate::loopback::{self, LONG};
use crate::outbound_bodies::OutboundBodies;

/// The message that the calls of these tests begin with.
const MESSAGE_BYTES: usize = 100 << 10;
/// How much of it they send at first.
const FIRST_BYTES: usize = 60 << 10;

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
    let channel = channel.clone();
    let answer = tokio::spawn(async move {
        let response = loopback::begin_get(channel, sent).await;
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
    let port = loopback::connect(bodies, OutboundBodies::new(&real::env()), None).await;
    let first = begin(&port.channel);
    let arrived = async {
        while node.available_permits() != 10 * room - FIRST_BYTES {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, arrived).await.expect("what was sent is counted");
    let second = begin(&port.channel);
    let status = timeout(LONG, second.answer).await.expect("it does not wait").expect("no panic").expect("an error");
    assert_eq!(status.code(), Code::ResourceExhausted);
    let error = strata_proto::error_of(&status);
    assert_eq!(error, Error::not_applied(ErrorCode::Overloaded, error.message.clone()));

    assert!(!first.answer.is_finished());
    let mut client = KvClient::new(port.channel.clone());
    let small = client.get(v1::GetRequest::default());
    timeout(LONG, small).await.expect("in time").expect("there is room for little");
    first.client.send(get().slice(FIRST_BYTES..)).expect("the body lives");
    drop(first.client);
    let status = timeout(LONG, first.answer).await.expect("in time").expect("no panic");
    assert!(status.is_none(), "{status:?}");
}
