//! ShardMap and its parts.

use strata_types::{
    ChangeId, ChangeReason, ClusterVersion, Epoch, Error, GroupChanges, InstanceId, NodeDescriptor, NodeId, NodeState,
    ReplicaChange, ReplicaId, ReplicaPlacement, ShardId, ShardMap, ShardPlacement, SlotRange, Term, VersionRange,
};

use super::{cluster_of, invalid};
use crate::v1;

impl From<&ShardMap> for v1::ShardMap {
    fn from(map: &ShardMap) -> v1::ShardMap {
        v1::ShardMap {
            cluster: map.cluster.to_string(),
            epoch: map.epoch.0,
            nodes: map.nodes.iter().map(v1::NodeDescriptor::from).collect(),
            shards: map.shards.iter().map(v1::ShardPlacement::from).collect(),
            meta: map.meta.iter().copied().map(v1::ReplicaPlacement::from).collect(),
            meta_changes: changes_to_wire(&map.meta_changes),
            version: map.version.0,
        }
    }
}

impl TryFrom<v1::ShardMap> for ShardMap {
    type Error = Error;

    fn try_from(map: v1::ShardMap) -> Result<ShardMap, Error> {
        let map = ShardMap {
            cluster: cluster_of(&map.cluster)?,
            epoch: Epoch(map.epoch),
            nodes: map.nodes.into_iter().map(NodeDescriptor::from).collect(),
            shards: map.shards.into_iter().map(ShardPlacement::try_from).collect::<Result<_, Error>>()?,
            meta: map.meta.into_iter().map(ReplicaPlacement::from).collect(),
            meta_changes: map.meta_changes.map(GroupChanges::from).unwrap_or_default(),
            version: ClusterVersion(map.version),
        };
        map.validate().map_err(|error| invalid(format!("the received shard map is not one: {error}")))?;
        Ok(map)
    }
}

impl From<&NodeDescriptor> for v1::NodeDescriptor {
    fn from(node: &NodeDescriptor) -> v1::NodeDescriptor {
        v1::NodeDescriptor {
            id: node.id.0,
            peer_address: node.peer_address.clone(),
            client_address: node.client_address.clone(),
            zone: node.zone.clone(),
            weight: node.weight,
            state: v1::NodeState::from(node.state).into(),
            version_least: node.versions.least.0,
            version_most: node.versions.most.0,
        }
    }
}

impl From<v1::NodeDescriptor> for NodeDescriptor {
    fn from(node: v1::NodeDescriptor) -> NodeDescriptor {
        NodeDescriptor {
            id: NodeId(node.id),
            peer_address: node.peer_address,
            client_address: node.client_address,
            zone: node.zone,
            weight: node.weight.max(1),
            state: node_state_of(node.state).unwrap_or(NodeState::Draining),
            versions: VersionRange {
                least: ClusterVersion(node.version_least.max(1)),
                most: ClusterVersion(node.version_most.max(1)),
            },
            // Who a node is to its peers is nobody else's business.
            instance: InstanceId::default(),
        }
    }
}

/// The numbers on the wire are those of the type.
fn node_state_of(number: i32) -> Option<NodeState> {
    u8::try_from(number).ok().and_then(NodeState::of_number)
}

impl From<NodeState> for v1::NodeState {
    fn from(state: NodeState) -> v1::NodeState {
        // A state that the interface does not know yet is shown as one that takes nothing.
        v1::NodeState::try_from(i32::from(state.number())).unwrap_or(v1::NodeState::Draining)
    }
}

impl From<v1::NodeState> for NodeState {
    fn from(state: v1::NodeState) -> NodeState {
        node_state_of(state.into()).unwrap_or(NodeState::Draining)
    }
}

impl From<ChangeReason> for v1::ChangeReason {
    fn from(reason: ChangeReason) -> v1::ChangeReason {
        // Zero means that there is none.
        v1::ChangeReason::try_from(i32::from(reason.number()) + 1).unwrap_or(v1::ChangeReason::Unspecified)
    }
}

impl From<v1::ChangeReason> for ChangeReason {
    fn from(reason: v1::ChangeReason) -> ChangeReason {
        let number = i32::from(reason).checked_sub(1).and_then(|number| u8::try_from(number).ok());
        number.and_then(ChangeReason::of_number).unwrap_or(ChangeReason::Balance)
    }
}

impl From<&ShardPlacement> for v1::ShardPlacement {
    fn from(placement: &ShardPlacement) -> v1::ShardPlacement {
        v1::ShardPlacement {
            shard: placement.shard.0,
            slot_start: placement.slots.start.into(),
            slot_end: placement.slots.end.into(),
            replicas: placement.replicas.iter().copied().map(v1::ReplicaPlacement::from).collect(),
            changes: changes_to_wire(&placement.changes),
        }
    }
}

impl TryFrom<v1::ShardPlacement> for ShardPlacement {
    type Error = Error;

    fn try_from(placement: v1::ShardPlacement) -> Result<ShardPlacement, Error> {
        let slot = |number| u16::try_from(number).map_err(|_| invalid(format!("there is no slot {number}")));
        Ok(ShardPlacement {
            shard: ShardId(placement.shard),
            slots: SlotRange { start: slot(placement.slot_start)?, end: slot(placement.slot_end)? },
            replicas: placement.replicas.into_iter().map(ReplicaPlacement::from).collect(),
            changes: placement.changes.map(GroupChanges::from).unwrap_or_default(),
        })
    }
}

impl From<ReplicaPlacement> for v1::ReplicaPlacement {
    fn from(placement: ReplicaPlacement) -> v1::ReplicaPlacement {
        v1::ReplicaPlacement { replica: placement.replica.0, node: placement.node.0 }
    }
}

impl From<v1::ReplicaPlacement> for ReplicaPlacement {
    fn from(placement: v1::ReplicaPlacement) -> ReplicaPlacement {
        ReplicaPlacement { replica: ReplicaId(placement.replica), node: NodeId(placement.node) }
    }
}

/// Nothing is sent of a group to which nothing has happened, as of most.
fn changes_to_wire(changes: &GroupChanges) -> Option<v1::GroupChanges> {
    (*changes != GroupChanges::default()).then(|| v1::GroupChanges {
        generation: changes.generation,
        change: changes.change.map(v1::ReplicaChange::from),
        leaving: changes.leaving.iter().copied().map(v1::ReplicaPlacement::from).collect(),
    })
}

impl From<v1::GroupChanges> for GroupChanges {
    fn from(changes: v1::GroupChanges) -> GroupChanges {
        GroupChanges {
            generation: changes.generation,
            change: changes.change.map(ReplicaChange::from),
            leaving: changes.leaving.into_iter().map(ReplicaPlacement::from).collect(),
        }
    }
}

impl From<ReplicaChange> for v1::ReplicaChange {
    fn from(change: ReplicaChange) -> v1::ReplicaChange {
        v1::ReplicaChange {
            id: change.id.0,
            add: change.add.map(v1::ReplicaPlacement::from),
            remove: change.remove.map_or(0, |replica| replica.0),
            reason: v1::ChangeReason::from(change.reason).into(),
            cancelled: change.cancelled,
            decided_in_term: change.decided.0,
        }
    }
}

impl From<v1::ReplicaChange> for ReplicaChange {
    fn from(change: v1::ReplicaChange) -> ReplicaChange {
        let reason = change.reason();
        ReplicaChange {
            id: ChangeId(change.id),
            add: change.add.map(ReplicaPlacement::from),
            remove: Some(ReplicaId(change.remove)).filter(|replica| replica.0 != 0),
            reason: reason.into(),
            cancelled: change.cancelled,
            decided: Term(change.decided_in_term),
        }
    }
}
