//! A transport in memory that delivers when it is told to, in the order sent.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use strata_net::{Inbox, Lane, Message, NetError, Transport};
use strata_types::{ClusterId, NodeId};

#[derive(Default)]
pub(crate) struct MemoryNetwork {
    inboxes: Mutex<BTreeMap<NodeId, Weak<dyn Inbox>>>,
    under_way: Mutex<VecDeque<(Lane, Message)>>,
    /// Set: every send fails with it.
    broken: Mutex<Option<NetError>>,
}

impl MemoryNetwork {
    pub(crate) fn plug(&self, node: NodeId, inbox: &Arc<dyn Inbox>) {
        self.inboxes.lock().insert(node, Arc::downgrade(inbox));
    }

    pub(crate) fn set_broken(&self, error: Option<NetError>) {
        *self.broken.lock() = error;
    }

    /// Delivers until nothing is under way.
    pub(crate) fn settle(&self) {
        while let Some((lane, message)) = self.take() {
            let inbox = self.inboxes.lock().get(&message.to).and_then(Weak::upgrade);
            if let Some(inbox) = inbox {
                inbox.deliver(lane, message);
            }
        }
    }

    /// Takes the oldest message away.
    pub(crate) fn take(&self) -> Option<(Lane, Message)> {
        self.under_way.lock().pop_front()
    }
}

#[async_trait]
impl Transport for MemoryNetwork {
    fn send(&self, lane: Lane, message: Message) -> Result<(), NetError> {
        if let Some(error) = self.broken.lock().clone() {
            return Err(error);
        }
        self.under_way.lock().push_back((lane, message));
        Ok(())
    }

    fn identify(&self, _cluster: ClusterId, _node: NodeId) {}

    fn set_address(&self, _node: NodeId, _address: &str) {}

    async fn introduce(&self, address: &str, body: Bytes, _deadline: Duration) -> Result<Bytes, NetError> {
        let unreachable = || NetError::Unreachable { target: address.into(), detail: "nobody there".into() };
        let node = address.parse().map(NodeId).map_err(|_| unreachable())?;
        let inbox = self.inboxes.lock().get(&node).and_then(Weak::upgrade).ok_or_else(unreachable)?;
        inbox.introduce(body).await
    }
}
