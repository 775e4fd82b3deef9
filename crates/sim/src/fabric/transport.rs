//! A node's end of the network.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use strata_net::{Lane, Message, NetError, Transport};
use strata_types::{ClusterId, NodeId};

use super::{Fabric, Host, Parcel};

/// One incarnation of one node's end of the network.
pub(crate) struct SimTransport {
    fabric: Arc<Fabric>,
    host: Host,
    /// Whether the node still runs. Tasks of a killed node that have not noticed yet speak to nobody.
    up: AtomicBool,
}

impl SimTransport {
    pub(crate) fn new(fabric: Arc<Fabric>, host: Host) -> Arc<SimTransport> {
        Arc::new(SimTransport { fabric, host, up: AtomicBool::new(true) })
    }

    /// The node behind this end is gone.
    pub(crate) fn unplug(&self) {
        self.up.store(false, Ordering::SeqCst);
    }

    fn check_up(&self, target: &str) -> Result<(), NetError> {
        if self.up.load(Ordering::SeqCst) {
            return Ok(());
        }
        Err(NetError::Unreachable { target: target.into(), detail: "this node is down".into() })
    }
}

/// The address of a host: what nodes write where a real one would say `host:port`.
pub(crate) fn address_of(host: Host) -> String {
    format!("host-{host}:7401")
}

fn host_of(address: &str) -> Option<Host> {
    address.strip_prefix("host-")?.split(':').next()?.parse().ok()
}

#[async_trait]
impl Transport for SimTransport {
    fn send(&self, lane: Lane, message: Message) -> Result<(), NetError> {
        self.check_up("")?;
        let to = self.fabric.state.lock().hosts.get(&message.to).copied();
        let Some(to) = to else {
            let detail = "no address is known".to_string();
            return Err(NetError::Unreachable { target: message.to.to_string(), detail });
        };
        self.fabric.send(self.host, to, lane, Parcel::Message { lane, message });
        Ok(())
    }

    fn identify(&self, _cluster: ClusterId, node: NodeId) {
        let mut state = self.fabric.state.lock();
        state.hosts.retain(|_, host| *host != self.host);
        state.hosts.insert(node, self.host);
    }

    fn set_address(&self, _node: NodeId, _address: &str) {}

    async fn introduce(&self, address: &str, body: Bytes, deadline: Duration) -> Result<Bytes, NetError> {
        let unreachable = |detail: &str| NetError::Unreachable { target: address.into(), detail: detail.into() };
        self.check_up(address)?;
        let to = host_of(address).ok_or_else(|| unreachable("not an address of the simulation"))?;
        let (answer, receiver) = tokio::sync::oneshot::channel();
        self.fabric.send(self.host, to, Lane::Control, Parcel::Introduction { body, answer });
        match tokio::time::timeout(deadline, receiver).await {
            Ok(Ok(answer)) => answer,
            _ => Err(unreachable("no answer")),
        }
    }
}
