//! How simulated clients reach nodes: from machines of their own, over the same network.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use strata_env::Env;
use strata_kv::execute_at;
use strata_net::{Caller, Inbox, Switchboard, Transport as _};
use strata_router::{Link, LinkError, ShardBatch, ShardReply};
use strata_types::{ClusterId, Epoch, NodeId, Result, ShardMap};

use crate::fabric::{Fabric, Host, SimTransport};

/// A client's way to the cluster.
pub(crate) struct ClientLink {
    caller: Arc<Caller>,
    /// Keeps the inbox that answers arrive at.
    _switchboard: Arc<Switchboard>,
}

impl ClientLink {
    pub(crate) fn new(
        env: Env,
        fabric: &Arc<Fabric>,
        transport: Arc<SimTransport>,
        host: Host,
        cluster: ClusterId,
    ) -> Arc<ClientLink> {
        let node = NodeId(host as u64);
        transport.identify(cluster, node);
        let caller = Caller::new(env, transport.clone());
        caller.identify(node);
        let switchboard = Switchboard::new(caller.clone(), transport);
        let inbox: Arc<dyn Inbox> = switchboard.clone();
        fabric.attach(host, Arc::downgrade(&inbox));
        Arc::new(ClientLink { caller, _switchboard: switchboard })
    }
}

#[async_trait]
impl Link for ClientLink {
    async fn execute(
        &self,
        node: NodeId,
        batch: ShardBatch,
        deadline: Duration,
    ) -> std::result::Result<ShardReply, LinkError> {
        execute_at(&self.caller, node, batch, deadline).await
    }

    async fn fetch_map(&self, _newer_than: Epoch) -> Result<Arc<ShardMap>> {
        // A stale route is answered with the newer map, so a client that has one never needs to ask for it.
        Ok(Arc::default())
    }
}
