//! The cluster of a node as administration sees it.

use std::sync::Arc;

use async_trait::async_trait;
use strata_cluster::Node;
use strata_grpc::{ClusterOverview, ClusterView, NodeOverview, ReplicaOverview, ShardOverview};
use strata_types::{Result, ShardMap};

/// Gives the front door what the node knows; both have types of their own, so that neither depends on the other.
pub(crate) struct NodeView(pub(crate) Arc<Node>);

#[async_trait]
impl ClusterView for NodeView {
    async fn overview(&self) -> Result<ClusterOverview> {
        Ok(overview_of(self.0.overview().await))
    }

    fn map(&self) -> Arc<ShardMap> {
        self.0.map()
    }
}

fn overview_of(overview: strata_cluster::ClusterOverview) -> ClusterOverview {
    ClusterOverview {
        cluster: overview.cluster,
        node: overview.node,
        version: overview.version,
        epoch: overview.epoch,
        meta_leader: overview.meta_leader,
        nodes: overview.nodes.into_iter().map(node_of).collect(),
        shards: overview.shards.into_iter().map(shard_of).collect(),
        problems: overview.problems,
    }
}

fn node_of(node: strata_cluster::NodeOverview) -> NodeOverview {
    NodeOverview {
        node: node.node,
        is_up: node.is_up,
        version: node.version,
        replicas: node.replicas,
        leaders: node.leaders,
        uptime: node.uptime,
        problems: node.problems,
    }
}

fn shard_of(shard: strata_cluster::ShardOverview) -> ShardOverview {
    ShardOverview {
        placement: shard.placement,
        leader: shard.leader,
        term: shard.term,
        replicas: shard.replicas.into_iter().map(replica_of).collect(),
    }
}

fn replica_of(replica: strata_cluster::ReplicaOverview) -> ReplicaOverview {
    ReplicaOverview {
        replica: replica.replica,
        node: replica.node,
        last: replica.last,
        committed: replica.committed,
        applied: replica.applied,
        log_bytes: replica.log_bytes,
        is_serving: replica.is_serving,
        problem: replica.problem,
    }
}
