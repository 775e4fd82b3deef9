//! How simulated clients reach nodes: from machines of their own, over the same network.

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use strata_env::Env;
use strata_kv::execute_at;
use strata_net::{Caller, Inbox, Switchboard, Transport as _};
use strata_router::{Link, LinkError, ShardBatch, ShardReply};
use strata_types::{ClusterId, Epoch, NodeId, Result, ShardMap};

use crate::cluster::Cluster;
use crate::fabric::{Host, SimTransport};

/// A client's way to the cluster.
pub(crate) struct ClientLink {
    caller: Arc<Caller>,
    cluster: Weak<Cluster>,
    /// Keeps the inbox that answers arrive at.
    _switchboard: Arc<Switchboard>,
}

impl ClientLink {
    pub(crate) fn new(
        env: Env,
        cluster: &Arc<Cluster>,
        transport: Arc<SimTransport>,
        host: Host,
        id: ClusterId,
    ) -> Arc<ClientLink> {
        let node = NodeId(host as u64);
        transport.identify(id, node);
        let caller = Caller::new(env, transport.clone());
        caller.identify(node);
        let switchboard = Switchboard::new(caller.clone(), transport);
        let inbox: Arc<dyn Inbox> = switchboard.clone();
        cluster.fabric.attach(host, Arc::downgrade(&inbox));
        Arc::new(ClientLink { caller, cluster: Arc::downgrade(cluster), _switchboard: switchboard })
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

    /// Mostly a stale route is answered with the newer map. Only a client that was away while all nodes were replaced has
    /// to look for others: it asks whoever runs.
    async fn fetch_map(&self, newer_than: Epoch) -> Result<Arc<ShardMap>> {
        let maps = self.cluster.upgrade().map(|cluster| cluster.nodes()).unwrap_or_default();
        let newer = maps.into_iter().map(|(_, _, node)| node.map()).find(|map| map.epoch > newer_than);
        Ok(newer.unwrap_or_default())
    }
}
