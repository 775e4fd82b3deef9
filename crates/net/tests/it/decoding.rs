//! A peer that says what no node of ours says.

#![allow(clippy::disallowed_methods, reason = "these tests are about real sockets")]

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use strata_env::real;
use strata_net::grpc::{GrpcSettings, GrpcTransport, PeerServer};
use strata_net::{Caller, Handler, Inbox, MessageKind, Replier, Switchboard, Transport};
use strata_proto::internal::{self, DeliverRequest, Frame, Hello, peer_client::PeerClient};
use strata_types::limits::PEER_MESSAGE_BYTES_MAX;
use strata_types::{GroupId, NodeId};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};

use crate::loopback::{CLUSTER, within};

/// Remembers how long the bodies were.
#[derive(Default)]
struct Lengths(Mutex<Vec<usize>>);

impl Handler for Lengths {
    fn handle(&self, _from: NodeId, _group: GroupId, body: Bytes, replier: Replier) {
        self.0.lock().push(body.len());
        replier.reply(Ok(Bytes::new()));
    }
}

/// A node that is there for the length of a test, and where it is.
async fn node(lengths: Arc<Lengths>) -> (Arc<Switchboard>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    let transport = GrpcTransport::new(real::env(), GrpcSettings::default());
    let caller = Caller::new(real::env(), transport.clone());
    let switchboard = Switchboard::new(caller.clone(), transport.clone());
    switchboard.set_handler(MessageKind::Append, lengths);
    let inbox: Arc<dyn Inbox> = switchboard.clone();
    let service = PeerServer::new(&transport, inbox);
    transport.identify(CLUSTER, NodeId(2));
    caller.identify(NodeId(2));
    tokio::spawn(service.serve(listener, std::future::pending()));
    (switchboard, address)
}

/// What becomes of a stream with a good hello and then these frames: how it ended.
async fn talk(address: &str, frames: Vec<Frame>) -> Option<Status> {
    let client = PeerClient::connect(format!("http://{address}")).await.expect("it listens");
    let mut client = client.max_encoding_message_size(usize::MAX);
    let (requests, outbound) = mpsc::channel(4);
    let hello = Hello {
        cluster: CLUSTER.to_string(),
        from: 1,
        to: 2,
        lane: internal::Lane::Data.into(),
        protocol_min: 1,
        protocol_max: 1,
    };
    requests.send(DeliverRequest { hello: Some(hello), frames: Vec::new() }).await.expect("there is room");
    let mut answers = client.deliver(ReceiverStream::new(outbound)).await.expect("accepted").into_inner();
    answers.message().await.expect("a welcome").expect("a welcome");
    requests.send(DeliverRequest { hello: None, frames }).await.expect("there is room");
    drop(requests);
    answers.message().await.err()
}

#[tokio::test]
async fn a_message_over_the_limit_ends_its_stream_and_a_strange_one_does_not() {
    let lengths = Arc::new(Lengths::default());
    let (_switchboard, address) = node(lengths.clone()).await;
    let frame = |kind, length| Frame { group: 1, kind, correlation: 0, body: vec![0; length].into() };
    let append = MessageKind::Append as u32;

    let strange = vec![frame(77, 1), frame(MessageKind::Reply as u32, 9), frame(append, 7)];
    assert!(within(talk(&address, strange)).await.is_none(), "it ended as its sender ended it");
    assert_eq!(*lengths.0.lock(), [7]);

    let over = within(talk(&address, vec![frame(append, PEER_MESSAGE_BYTES_MAX + (2 << 20))])).await;
    assert_eq!(over.map(|status| status.code()), Some(Code::OutOfRange));
    // Many that are short each are too long together.
    let many = (0..16).map(|_| frame(append, PEER_MESSAGE_BYTES_MAX / 8)).collect();
    assert_eq!(within(talk(&address, many)).await.map(|status| status.code()), Some(Code::OutOfRange));
    assert_eq!(*lengths.0.lock(), [7]);
}
