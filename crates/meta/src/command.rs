//! What can be asked of the meta machine.

use std::collections::BTreeSet;

use strata_types::{
    ChangeId, ClusterId, ClusterVersion, GroupId, InstanceId, NodeDescriptor, NodeId, NodeState, ReplicaId,
    ReplicaPlacement, ShardId, Term, VersionRange,
};

use crate::PlanLimits;

/// A command of the meta group. Tags are only ever appended. Each may be proposed again when its answer was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetaCommand {
    /// Founds the cluster: registers its nodes, cuts the slots into shards and places them. Changes nothing when the
    /// cluster was founded already under the same id. Tag 3; tag 0 is the same with plain nodes.
    Found {
        /// The cluster, chosen at random by the founder.
        cluster: ClusterId,
        /// All nodes. Whatever state they are given, they begin as active ones.
        nodes: Vec<NodeDescriptor>,
        /// The replicas of the meta group. Replicas of shards are numbered after the highest of them.
        meta: Vec<ReplicaPlacement>,
        /// How many shards.
        shard_count: u32,
    },
    /// Says where a node is reached from now on. Tag 1.
    SetAddresses {
        /// The node.
        node: NodeId,
        /// Where other nodes reach it.
        peer_address: String,
        /// Where clients reach it.
        client_address: String,
    },
    /// Reserves replica ids for the proposer. Tag 2.
    AllocateReplicaIds {
        /// How many.
        count: u32,
    },
    /// A node has started: a new one becomes a member, a known one says where and what it is now. A lost or stopping
    /// one is active again. The proposer has made sure that the node answers at its address. Tag 4.
    Join(Joiner),
    /// Says what is wished of a node. Tag 5.
    SetNodeState {
        /// The node.
        node: NodeId,
        /// `Active`, `Draining`, `Removing`, `Lost` or `Stopping`.
        wanted: NodeState,
        /// Also if shards could lose their majority.
        force: bool,
    },
    /// The members of the group are what the change makes them: the joint change is committed. The change was decided
    /// before. Only the group's leader knows. Tag 6.
    FinishChange {
        /// The group.
        group: GroupId,
        /// The change.
        change: ChangeId,
    },
    /// The change will not be made. From the group's leader, which has committed an entry of its term and has no trace
    /// of the change among its members, not even of a learner. Refused if a later leader has decided it. Tag 7.
    AbandonChange {
        /// The group.
        group: GroupId,
        /// The change.
        change: ChangeId,
        /// The term in which the proposer leads the group.
        term: Term,
    },
    /// A change is no longer wished: the group's leader is to abandon it, unless the members have begun to change.
    /// Tag 8.
    CancelChange {
        /// The group.
        group: GroupId,
        /// The change.
        change: ChangeId,
    },
    /// The files of a replica that left its group are deleted for good. Tag 9.
    ReplicaDeleted {
        /// The group.
        group: GroupId,
        /// The replica.
        replica: ReplicaId,
    },
    /// Starts the most urgent changes that the state of the nodes asks for. Tag 10.
    Plan {
        /// How many at once.
        limits: PlanLimits,
    },
    /// The same, while some nodes have no room for more replicas. The proposer knows which. Only where the cluster has
    /// [`strata_types::Feature::FullNodes`]. Tag 17.
    PlanAround {
        /// How many at once.
        limits: PlanLimits,
        /// The nodes without room.
        full: Vec<NodeId>,
    },
    /// Moves a replica by hand. Tag 11.
    Move {
        /// The group.
        group: GroupId,
        /// The node that has a replica of it.
        from: NodeId,
        /// The node that gets one instead.
        to: NodeId,
    },
    /// Makes a replica the preferred leader of its shard, until the membership of some group or the state of a node
    /// changes, or another one is preferred. Operators wish it, and who knows the loads does. Tag 12.
    PreferLeader {
        /// The shard.
        shard: ShardId,
        /// One of its replicas.
        replica: ReplicaId,
    },
    /// A replica refused to serve: it is to be built anew, under another id, on its node, or to go with it. Tag 13.
    Rebuild {
        /// The group.
        group: GroupId,
        /// The replica.
        replica: ReplicaId,
    },
    /// All nodes may use what this version brings. Tag 14.
    RaiseVersion {
        /// The version.
        to: ClusterVersion,
    },
    /// The new replica has caught up, and the group's leader wants to begin to change the members. Each leader does so
    /// only after this was carried out for its term: so a late `AbandonChange` of a former leader finds out that it
    /// is one. Tag 15.
    DecideChange {
        /// The group.
        group: GroupId,
        /// The change.
        change: ChangeId,
        /// The term in which the proposer leads the group.
        term: Term,
    },
    /// Reserves timestamps for the proposer, who leads the meta group. Only where the cluster has
    /// [`strata_types::Feature::Transactions`]. Tag 16.
    ReserveTimestamps {
        /// How many.
        count: u32,
    },
}

impl MetaCommand {
    /// A plan around the nodes without room, if there are any.
    pub fn plan_around(limits: PlanLimits, full: &BTreeSet<NodeId>) -> MetaCommand {
        match full.is_empty() {
            true => MetaCommand::Plan { limits },
            false => MetaCommand::PlanAround { limits, full: full.iter().copied().collect() },
        }
    }
}

/// A node that has started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joiner {
    /// Its data directory.
    pub instance: InstanceId,
    /// Where other nodes reach it.
    pub peer_address: String,
    /// Where clients reach it.
    pub client_address: String,
    /// Failure domain; empty when not set.
    pub zone: String,
    /// How much it takes relative to others.
    pub weight: u32,
    /// Which cluster versions its binary can take part in.
    pub versions: VersionRange,
}
