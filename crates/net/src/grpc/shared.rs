//! What the sending and the receiving half of a node have in common.

use std::sync::{Arc, OnceLock, Weak};

use strata_env::Env;
use strata_types::NodeId;
use tokio::sync::broadcast;

use super::GrpcSettings;
use super::handshake::Identity;
use crate::tls::NodeTls;
use crate::{Inbox, Lane, Message};

/// How many nodes may have called between two looks of a link; a link that missed some looks anyway.
const CALLED_CAPACITY: usize = 64;

pub(super) struct Shared {
    pub(super) env: Env,
    pub(super) settings: GrpcSettings,
    /// What the node shows and whom it believes; `None`: nothing is encrypted.
    pub(super) tls: Option<Arc<NodeTls>>,
    /// Nodes that just connected to this one: they are up, so links to them need not wait any longer.
    pub(super) called: broadcast::Sender<NodeId>,
    identity: OnceLock<Identity>,
    /// Weak: the inbox answers through the transport, so it owns it.
    inbox: OnceLock<Weak<dyn Inbox>>,
}

impl Shared {
    pub(super) fn new(env: Env, settings: GrpcSettings, tls: Option<Arc<NodeTls>>) -> Arc<Shared> {
        let (called, _) = broadcast::channel(CALLED_CAPACITY);
        Arc::new(Shared { env, settings, tls, called, identity: OnceLock::new(), inbox: OnceLock::new() })
    }

    /// `None` until the node has an identity.
    pub(super) fn identity(&self) -> Option<Identity> {
        self.identity.get().copied()
    }

    /// Whether this was the first time.
    pub(super) fn identify(&self, identity: Identity) -> bool {
        let first = self.identity.set(identity).is_ok();
        assert_eq!(self.identity(), Some(identity), "a node never changes its identity");
        first
    }

    pub(super) fn attach(&self, inbox: &Arc<dyn Inbox>) {
        // The first one stays: a transport belongs to one node.
        let _ = self.inbox.set(Arc::downgrade(inbox));
    }

    /// Delivers a message, unless nobody is there yet or any more.
    pub(super) fn deliver(&self, lane: Lane, message: Message) {
        if let Some(inbox) = self.inbox.get().and_then(Weak::upgrade) {
            inbox.deliver(lane, message);
        }
    }

    pub(super) fn lane_failed(&self, node: NodeId, lane: Lane, unsent: &[u64], detail: &str) {
        if let Some(inbox) = self.inbox.get().and_then(Weak::upgrade) {
            inbox.lane_failed(node, lane, unsent, detail);
        }
    }
}
