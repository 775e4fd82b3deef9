//! The sending half.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;
use strata_env::{Env, TaskHandle};
use strata_proto::internal::Introduction;
use strata_types::{ClusterId, NodeId};
use tokio::sync::watch;
use tonic::Code;

use super::GrpcSettings;
use super::connect::{connect, explain_status};
use super::handshake::Identity;
use super::link::Link;
use super::queue::LaneQueue;
use super::shared::Shared;
use crate::metrics::LaneMetrics;
use crate::tls::NodeTls;
use crate::{Inbox, Lane, Message, NetError, Transport};

/// A [`Transport`] over gRPC.
pub struct GrpcTransport {
    shared: Arc<Shared>,
    peers: RwLock<BTreeMap<NodeId, Peer>>,
    /// Messages of the node to itself take the same way as others, without the socket: a handler is never called from
    /// within a send.
    own: RwLock<Option<Peer>>,
}

/// Another node, or this one.
struct Peer {
    address: watch::Sender<String>,
    /// By lane, in the order of [`Lane::ALL`].
    queues: [Arc<LaneQueue>; 3],
    tasks: Vec<TaskHandle>,
}

impl GrpcTransport {
    /// A transport that knows nobody yet. Must be made within the runtime of the node.
    pub fn new(env: Env, settings: GrpcSettings) -> Arc<GrpcTransport> {
        GrpcTransport::with_tls(env, settings, None)
    }

    /// A transport that encrypts, when there are certificates; its [`super::PeerServer`] does as well.
    pub fn with_tls(env: Env, settings: GrpcSettings, tls: Option<Arc<NodeTls>>) -> Arc<GrpcTransport> {
        let shared = Shared::new(env, settings, tls);
        Arc::new(GrpcTransport { shared, peers: RwLock::default(), own: RwLock::default() })
    }

    /// Sets who is told about broken connections and gets the messages of the node to itself. The first call counts;
    /// [`super::PeerServer::new`] makes it.
    pub fn attach(&self, inbox: &Arc<dyn Inbox>) {
        self.shared.attach(inbox);
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn new_peer(&self, node: NodeId, address: String, start: impl Fn(Lane, Arc<LaneQueue>) -> TaskHandle) -> Peer {
        let queues = Lane::ALL.map(|lane| {
            let bytes_max = self.shared.settings.queue_bytes_max(lane);
            Arc::new(LaneQueue::new(node.to_string(), bytes_max, LaneMetrics::new(node, lane)))
        });
        let tasks = Lane::ALL.into_iter().zip(&queues).map(|(lane, queue)| start(lane, queue.clone())).collect();
        Peer { address: watch::Sender::new(address), queues, tasks }
    }

    fn queue(&self, to: NodeId, lane: Lane, own: NodeId) -> Option<Arc<LaneQueue>> {
        let queue_of = |peer: &Peer| peer.queues[lane as usize].clone();
        if to == own { self.own.read().as_ref().map(queue_of) } else { self.peers.read().get(&to).map(queue_of) }
    }
}

#[async_trait]
impl Transport for GrpcTransport {
    fn send(&self, lane: Lane, message: Message) -> Result<(), NetError> {
        let unreachable =
            |detail: &str| NetError::Unreachable { target: message.to.to_string(), detail: detail.to_owned() };
        let identity = self.shared.identity().ok_or_else(|| unreachable("this node has no identity yet"))?;
        debug_assert_eq!(message.from, identity.node, "a node speaks for itself only");
        let queue = self.queue(message.to, lane, identity.node);
        let queue = queue.ok_or_else(|| unreachable("its address is not known"))?;
        queue.push(message)
    }

    fn identify(&self, cluster: ClusterId, node: NodeId) {
        if !self.shared.identify(Identity { cluster, node }) {
            return;
        }
        let start = |lane, queue| {
            let shared = self.shared.clone();
            self.shared.env.spawn("net-loopback", deliver_own(shared, lane, queue))
        };
        *self.own.write() = Some(self.new_peer(node, String::new(), start));
    }

    fn set_address(&self, node: NodeId, address: &str) {
        let mut peers = self.peers.write();
        if let Some(peer) = peers.get(&node) {
            peer.address.send_if_modified(|now| std::mem::replace(now, address.to_owned()) != address);
            return;
        }
        let known = watch::Sender::new(address.to_owned());
        let start = |lane, queue| {
            let link = Link { shared: self.shared.clone(), node, lane, address: known.subscribe(), queue };
            self.shared.env.spawn("net-link", link.run())
        };
        let peer = self.new_peer(node, String::new(), start);
        peers.insert(node, Peer { address: known, ..peer });
    }

    async fn introduce(&self, address: &str, body: Bytes, deadline: Duration) -> Result<Bytes, NetError> {
        let target = || address.to_owned();
        let attempt = Box::pin(async {
            let unreachable = |detail| NetError::Unreachable { target: target(), detail };
            let mut client = connect(address, &self.shared).await.map_err(unreachable)?;
            let answer = client.introduce(Introduction { body }).await.map_err(|status| {
                let detail = explain_status(&status);
                match status.code() {
                    Code::FailedPrecondition => NetError::Refused { target: target(), detail },
                    Code::Unimplemented => NetError::Refused {
                        target: target(),
                        detail: "what listens there is not the peer port of a Strata node".into(),
                    },
                    _ => NetError::NoAnswer { target: target(), detail },
                }
            })?;
            Ok(answer.into_inner().body)
        });
        self.shared.env.timeout(deadline, attempt).await.unwrap_or_else(|_| {
            Err(NetError::NoAnswer { target: target(), detail: format!("nothing came within {deadline:?}") })
        })
    }
}

impl Drop for GrpcTransport {
    fn drop(&mut self) {
        let peers = self.peers.get_mut().values().chain(self.own.get_mut().iter());
        peers.flat_map(|peer| &peer.tasks).for_each(TaskHandle::abort);
    }
}

async fn deliver_own(shared: Arc<Shared>, lane: Lane, queue: Arc<LaneQueue>) {
    let generation = queue.begin();
    queue.flow();
    let bytes_target = shared.settings.batch_bytes_target;
    while let Some(batch) = poll_fn(|context| queue.poll_take(generation, bytes_target, context)).await {
        for message in batch {
            shared.deliver(lane, message);
        }
    }
}
