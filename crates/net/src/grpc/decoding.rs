//! What arrives at the peer port, damaged in every way: it is delivered, dropped or refused, and nothing panics. How
//! long a message may be is the library's to keep: `connect.rs` and `server.rs` set it.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message as _;
use strata_env::sim::SimWorld;
use strata_proto::internal::{DeliverRequest, Frame, Hello};
use strata_types::{ClusterId, NodeId};

use super::GrpcSettings;
use super::handshake::{Accepted, Identity, speaks};
use super::receive::Sessions;
use super::shared::Shared;
use crate::{Inbox, Lane, Message, MessageKind, NetError};

strata_codec::fuzz_targets!();

const OWN: NodeId = NodeId(2);
const SENDER: NodeId = NodeId(1);

/// Checks what it is given.
#[derive(Default)]
struct Checking {
    delivered: Mutex<usize>,
}

#[async_trait]
impl Inbox for Checking {
    fn deliver(&self, lane: Lane, message: Message) {
        assert_eq!((lane, message.from, message.to), (Lane::Data, SENDER, OWN), "NET-1: the stream says who speaks");
        *self.delivered.lock() += 1;
    }

    async fn introduce(&self, body: Bytes) -> Result<Bytes, NetError> {
        Ok(body)
    }
}

fn frames() -> Bytes {
    let kinds = MessageKind::ALL.into_iter().map(|kind| kind as u32).chain([77, u32::MAX]);
    let body = Bytes::from_static(b"body");
    let frame = |kind| Frame { group: u64::MAX, kind, correlation: 5, body: body.clone() };
    DeliverRequest { hello: None, frames: kinds.map(frame).collect() }.encode_to_vec().into()
}

#[test]
fn frames_are_delivered_as_from_their_sender_or_dropped() {
    let shared = Shared::new(SimWorld::new(1).node(1).env(), GrpcSettings::default(), None);
    let checking = Arc::new(Checking::default());
    let inbox: Arc<dyn Inbox> = checking.clone();
    shared.attach(&inbox);
    let session = Sessions::default().start(&shared, OWN, Accepted { from: SENDER, lane: Lane::Data, protocol: 1 });
    each(&[frames()], |bytes| {
        let Ok(batch) = DeliverRequest::decode(bytes.clone()) else { return };
        let known = batch.frames.iter().filter(|frame| MessageKind::from_number(frame.kind).is_some()).count();
        assert!(batch.frames.iter().map(|frame| frame.body.len()).sum::<usize>() <= bytes.len());
        *checking.delivered.lock() = 0;
        assert!(session.deliver(batch));
        assert_eq!(*checking.delivered.lock(), known);
    });
}

#[test]
fn hellos_are_accepted_or_refused() {
    let cluster = ClusterId(0xabc);
    let identity = |node| Identity { cluster, node };
    let hellos = Lane::ALL.map(|lane| Bytes::from(identity(SENDER).hello(OWN, lane).encode_to_vec()));
    each(&hellos, |bytes| {
        let Ok(hello) = Hello::decode(bytes) else { return };
        match identity(OWN).accept(&hello) {
            Ok(accepted) => {
                assert_ne!(accepted.from, OWN);
                assert!(speaks(accepted.protocol), "{hello:?}");
                assert_eq!((hello.cluster_id().ok(), hello.to), (Some(cluster), OWN.0), "NET-1");
            }
            Err(sentence) => assert!(!sentence.is_empty()),
        }
    });
}
