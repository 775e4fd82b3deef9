//! What operators can ask of a cluster.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use strata_proto::v1;
use strata_proto::v1::admin_client::AdminClient;
use strata_types::{Epoch, NodeId, NodeState, ShardId, ShardMap};
use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::wire::connect;

/// How long one node may take to answer.
const ANSWER: Duration = Duration::from_secs(3);

/// Asks the nodes in turn until one of them answers. What changes something may be repeated.
pub(crate) struct Admin {
    addresses: Vec<String>,
}

impl Admin {
    /// Of the cluster with these client addresses.
    pub(crate) fn new(addresses: Vec<String>) -> Admin {
        Admin { addresses }
    }

    /// The shard map, as new as the node that answers has it.
    pub(crate) async fn map(&self) -> Result<ShardMap> {
        let request = v1::ShardMapRequest { newer_than: 0 };
        let reply = self.ask(|mut client| async move { client.shard_map(request).await }).await?;
        let map = reply.into_map().context("the shard map makes no sense")?.context("the cluster is not founded")?;
        Ok(map.as_ref().clone())
    }

    /// How every shard is.
    pub(crate) async fn shards(&self) -> Result<Vec<v1::ShardStatus>> {
        let reply = self.ask(|mut client| async move { client.shards(v1::ShardsRequest {}).await }).await?;
        Ok(reply.shards)
    }

    /// Says what is wished of a node; returns the epoch of the map that says so.
    pub(crate) async fn set_state(&self, node: NodeId, state: NodeState) -> Result<Epoch> {
        let request = v1::SetNodeStateRequest { node: node.0, state: v1::NodeState::from(state).into(), force: false };
        let reply = self.ask(|mut client| async move { client.set_node_state(request).await }).await?;
        Ok(Epoch(reply.epoch))
    }

    /// Makes the replica on a node the preferred leader; returns the epoch of the map that says so.
    pub(crate) async fn transfer(&self, shard: ShardId, to: NodeId) -> Result<Epoch> {
        let request = v1::TransferLeaderRequest { shard: shard.0, to: to.0 };
        let reply = self.ask(|mut client| async move { client.transfer_leader(request).await }).await?;
        Ok(Epoch(reply.epoch))
    }

    /// How many changes the cluster would still start by itself.
    pub(crate) async fn changes_left(&self) -> Result<usize> {
        let request = v1::BalanceRequest { dry_run: true };
        let reply = self.ask(|mut client| async move { client.balance(request).await }).await?;
        Ok(reply.changes.len())
    }

    async fn ask<T, F>(&self, call: impl Fn(AdminClient<Channel>) -> F) -> Result<T>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let mut last = anyhow!("the cluster has no nodes");
        for address in &self.addresses {
            let asked = async { anyhow::Ok(call(AdminClient::new(connect(address).await?)).await) };
            last = match tokio::time::timeout(ANSWER, asked).await {
                Ok(Ok(Ok(reply))) => return Ok(reply.into_inner()),
                Ok(Ok(Err(status))) => anyhow!("{address} answers: {}", status.message()),
                Ok(Err(error)) => error,
                Err(_) => anyhow!("{address} is silent"),
            };
        }
        Err(last)
    }
}
