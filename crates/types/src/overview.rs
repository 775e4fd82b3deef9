//! A whole cluster as it is at one moment, as far as one node could find out. For people: nothing is decided by it.

use std::time::Duration;

use crate::{ClusterId, Epoch, LogIndex, NodeDescriptor, NodeId, ReplicaFigures, ReplicaId, ShardPlacement, Term};

/// The whole cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterOverview {
    /// Which cluster.
    pub cluster: ClusterId,
    /// What people call it.
    pub name: String,
    /// The node that answers.
    pub node: NodeId,
    /// Version of its program.
    pub version: String,
    /// Of its shard map.
    pub epoch: Epoch,
    /// Leader of the meta group, if there is one.
    pub meta_leader: Option<NodeId>,
    /// All nodes, by id.
    pub nodes: Vec<NodeOverview>,
    /// All shards, by slot.
    pub shards: Vec<ShardOverview>,
    /// One sentence for each thing that is not as it should be and belongs to no single node.
    pub problems: Vec<String>,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeOverview {
    /// Who it is and how to reach it.
    pub node: NodeDescriptor,
    /// Whether it answered just now.
    pub is_up: bool,
    /// Version of its program; empty when it did not answer.
    pub version: String,
    /// Replicas that live on it.
    pub replicas: u32,
    /// Shards that it leads.
    pub leaders: u32,
    /// Time since it started; zero when it did not answer.
    pub uptime: Duration,
    /// Whether it said that it has no room for more replicas.
    pub is_full: bool,
    /// One sentence for each thing that is not as it should be.
    pub problems: Vec<String>,
}

/// One shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardOverview {
    /// Its slots and replicas.
    pub placement: ShardPlacement,
    /// The node that leads it, if there is one.
    pub leader: Option<NodeId>,
    /// Raft term.
    pub term: Term,
    /// Its replicas that answered just now.
    pub replicas: Vec<ReplicaOverview>,
}

/// One replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaOverview {
    /// Its id.
    pub replica: ReplicaId,
    /// Where it lives.
    pub node: NodeId,
    /// Last log entry it holds.
    pub last: LogIndex,
    /// Last entry that it knows to be on a majority.
    pub committed: LogIndex,
    /// Last entry that it applied.
    pub applied: LogIndex,
    /// Bytes of its log.
    pub log_bytes: u64,
    /// How busy it is and how much of it there is; nodes with an older program do not tell.
    pub figures: Option<ReplicaFigures>,
    /// Whether it serves requests.
    pub is_serving: bool,
    /// What is wrong with it, if anything.
    pub problem: Option<String>,
}
