//! strata.v1.Admin.

use std::sync::Arc;

use strata_env::Env;
use strata_proto::{status_of, v1};
use strata_router::Kv;
use strata_types::{Epoch, ShardMap};
use tonic::{Request, Response, Status};

use crate::verdict::Verdict;
use crate::{
    ClusterOverview, ClusterView, NodeOverview, OpenTransactions, ReplicaOverview, ShardOverview, deadline, operations,
    transaction_admin,
};

pub(crate) struct AdminService {
    env: Env,
    kv: Arc<dyn Kv>,
    view: Arc<dyn ClusterView>,
    transactions: Option<OpenTransactions>,
}

impl AdminService {
    pub(crate) fn new(
        env: Env,
        kv: Arc<dyn Kv>,
        view: Arc<dyn ClusterView>,
        transactions: Option<OpenTransactions>,
    ) -> AdminService {
        AdminService { env, kv, view, transactions }
    }

    async fn overview(&self) -> Result<ClusterOverview, Status> {
        self.view.overview().await.map_err(|error| status_of(&error))
    }
}

#[tonic::async_trait]
impl v1::admin_server::Admin for AdminService {
    async fn cluster_status(
        &self,
        _: Request<v1::ClusterStatusRequest>,
    ) -> Result<Response<v1::ClusterStatusReply>, Status> {
        let overview = self.overview().await?;
        let map = self.view.map();
        Ok(Response::new(summary(&overview, &map, Verdict::of(&overview, &map))))
    }

    async fn nodes(&self, _: Request<v1::NodesRequest>) -> Result<Response<v1::NodesReply>, Status> {
        let nodes = self.overview().await?.nodes.into_iter().map(node_status).collect();
        Ok(Response::new(v1::NodesReply { nodes }))
    }

    async fn shards(&self, _: Request<v1::ShardsRequest>) -> Result<Response<v1::ShardsReply>, Status> {
        let shards = self.overview().await?.shards.into_iter().map(shard_status).collect();
        Ok(Response::new(v1::ShardsReply { shards }))
    }

    async fn shard_map(&self, request: Request<v1::ShardMapRequest>) -> Result<Response<v1::ShardMapReply>, Status> {
        let map = self.view.map();
        if map.shards.is_empty() {
            return Ok(Response::new(v1::ShardMapReply { map: None }));
        }
        Ok(Response::new(v1::ShardMapReply::answer(&map, Epoch(request.get_ref().newer_than))))
    }

    async fn set_node_state(
        &self,
        request: Request<v1::SetNodeStateRequest>,
    ) -> Result<Response<v1::SetNodeStateReply>, Status> {
        let deadline = deadline::of_request(request.metadata());
        respond(operations::set_node_state(self.view.as_ref(), request.into_inner(), deadline).await)
    }

    async fn move_replica(
        &self,
        request: Request<v1::MoveReplicaRequest>,
    ) -> Result<Response<v1::MoveReplicaReply>, Status> {
        let deadline = deadline::of_request(request.metadata());
        respond(operations::move_replica(self.view.as_ref(), request.into_inner(), deadline).await)
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::TransferLeaderRequest>,
    ) -> Result<Response<v1::TransferLeaderReply>, Status> {
        let deadline = deadline::of_request(request.metadata());
        respond(operations::transfer_leader(self.view.as_ref(), request.into_inner(), deadline).await)
    }

    async fn balance(&self, request: Request<v1::BalanceRequest>) -> Result<Response<v1::BalanceReply>, Status> {
        let deadline = deadline::of_request(request.metadata());
        respond(operations::balance(&self.env, self.view.as_ref(), request.into_inner(), deadline).await)
    }

    async fn raise_version(
        &self,
        request: Request<v1::RaiseVersionRequest>,
    ) -> Result<Response<v1::RaiseVersionReply>, Status> {
        let deadline = deadline::of_request(request.metadata());
        respond(operations::raise_version(self.view.as_ref(), request.into_inner(), deadline).await)
    }

    async fn list_transactions(
        &self,
        request: Request<v1::ListTransactionsRequest>,
    ) -> Result<Response<v1::ListTransactionsReply>, Status> {
        let deadline = deadline::of_request(request.metadata());
        respond(transaction_admin::list(self.view.as_ref(), self.transactions.as_ref(), deadline).await)
    }

    async fn abort_transaction(
        &self,
        request: Request<v1::AbortTransactionRequest>,
    ) -> Result<Response<v1::AbortTransactionReply>, Status> {
        let deadline = deadline::of_request(request.metadata());
        let (kv, view, open) = (self.kv.as_ref(), self.view.as_ref(), self.transactions.as_ref());
        respond(transaction_admin::abort(&self.env, kv, view, open, request.into_inner(), deadline).await)
    }
}

fn respond<T>(result: strata_types::Result<T>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(|error| status_of(&error))
}

fn summary(overview: &ClusterOverview, map: &ShardMap, verdict: Verdict) -> v1::ClusterStatusReply {
    v1::ClusterStatusReply {
        cluster: overview.cluster.to_string(),
        node: overview.node.0,
        version: overview.version.clone(),
        epoch: overview.epoch.0,
        nodes: overview.nodes.len() as u32,
        nodes_up: overview.nodes.iter().filter(|node| node.is_up).count() as u32,
        shards: overview.shards.len() as u32,
        shards_led: overview.shards.iter().filter(|shard| shard.leader.is_some()).count() as u32,
        meta_leader: overview.meta_leader.map(|node| node.0),
        healthy: verdict.health == v1::Health::Healthy,
        problems: verdict.problems,
        health: verdict.health.into(),
        notes: verdict.notes,
        cluster_version: map.version.0,
        version_within_reach: map.version_within_reach().0,
        name: overview.name.clone(),
    }
}

fn node_status(node: NodeOverview) -> v1::NodeStatus {
    v1::NodeStatus {
        node: Some(v1::NodeDescriptor::from(&node.node)),
        up: node.is_up,
        version: node.version,
        replicas: node.replicas,
        leaders: node.leaders,
        uptime_millis: u64::try_from(node.uptime.as_millis()).unwrap_or(u64::MAX),
        problems: node.problems,
    }
}

fn shard_status(shard: ShardOverview) -> v1::ShardStatus {
    v1::ShardStatus {
        placement: Some(v1::ShardPlacement::from(&shard.placement)),
        leader: shard.leader.map(|node| node.0),
        term: shard.term.0,
        replicas: shard.replicas.into_iter().map(replica_status).collect(),
    }
}

fn replica_status(replica: ReplicaOverview) -> v1::ReplicaStatus {
    v1::ReplicaStatus {
        replica: replica.replica.0,
        node: replica.node.0,
        last: replica.last.0,
        committed: replica.committed.0,
        applied: replica.applied.0,
        log_bytes: replica.log_bytes,
        serving: replica.is_serving,
        problem: replica.problem.unwrap_or_default(),
        figures: replica.figures.map(|figures| v1::ReplicaFigures {
            operations_per_second: figures.operations,
            entries_per_second: figures.entries,
            size: figures.size,
            arrived: figures.arrived,
            arriving_per_second: figures.arriving,
        }),
    }
}
