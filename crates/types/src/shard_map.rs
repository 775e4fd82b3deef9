//! Who owns which slots, and where the owners live.

use std::collections::BTreeSet;

use crate::{
    ClusterId, ClusterVersion, Epoch, GroupChanges, GroupId, NodeDescriptor, NodeId, NodeState, ReplicaId, SLOT_COUNT,
    ShardId, Slot, SlotRange,
};

/// The whole routing state of a cluster at one epoch. Decided by the meta group only; everybody else caches it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardMap {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// Rises with each change.
    pub epoch: Epoch,
    /// All nodes that are not removed, by id.
    pub nodes: Vec<NodeDescriptor>,
    /// All shards, by slot.
    pub shards: Vec<ShardPlacement>,
    /// Replicas of the meta group.
    pub meta: Vec<ReplicaPlacement>,
    /// What is under way in the meta group.
    pub meta_changes: GroupChanges,
    /// What all nodes understand; zero before the cluster is founded.
    pub version: ClusterVersion,
}

/// One shard: its slots and its replicas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardPlacement {
    /// Its id.
    pub shard: ShardId,
    /// The slots it owns.
    pub slots: SlotRange,
    /// Its replicas: the voters of the last finished change. The first one is the preferred leader.
    pub replicas: Vec<ReplicaPlacement>,
    /// What is under way in its membership.
    pub changes: GroupChanges,
}

/// A replica and the node it lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplicaPlacement {
    /// The raft id.
    pub replica: ReplicaId,
    /// Where it lives.
    pub node: NodeId,
}

/// The replicas of one group, be it a shard's or the meta group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupPlacement<'a> {
    /// The group.
    pub group: GroupId,
    /// Its voters.
    pub replicas: &'a [ReplicaPlacement],
    /// What is under way in its membership.
    pub changes: &'a GroupChanges,
}

/// Why a shard map is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShardMapError {
    /// Slots must be covered exactly once.
    #[error("slot {slot} is covered twice or not at all")]
    Coverage {
        /// The first such slot.
        slot: u16,
    },
    /// A replica must live on a known node, and replicas of a shard on different ones.
    #[error("shard {shard} has replicas on one node twice, on an unknown node, or none")]
    Placement {
        /// The shard.
        shard: ShardId,
    },
    /// Replica ids are never used twice.
    #[error("replica {replica} is placed twice")]
    ReplicaTwice {
        /// The replica.
        replica: ReplicaId,
    },
    /// As for a shard, but before it is founded the meta group may have no replicas.
    #[error("the meta group has replicas on one node twice or on an unknown node")]
    MetaPlacement,
    /// A change adds a replica on a node that has none, or removes one that is there, or both.
    #[error("a change of group {group} adds or removes nothing, or what it cannot")]
    Change {
        /// The group.
        group: GroupId,
    },
    /// Node ids are given once, and removed nodes are not in the map.
    #[error("node {node} is there twice, or was removed")]
    Node {
        /// The node.
        node: NodeId,
    },
}

impl ShardPlacement {
    /// Its group.
    pub fn as_group(&self) -> GroupPlacement<'_> {
        GroupPlacement { group: GroupId::of_shard(self.shard), replicas: &self.replicas, changes: &self.changes }
    }
}

impl<'a> GroupPlacement<'a> {
    /// The replica that may found the group when nothing of it is there: only before the first change, and always the
    /// same one. Whoever comes later is told of the group by its leader.
    pub fn founder(&self) -> Option<ReplicaPlacement> {
        self.replicas.iter().copied().min().filter(|_| self.changes.generation == 0)
    }

    /// Replicas that are to be open: the voters, and the one that is being added.
    pub fn open_replicas(&self) -> impl Iterator<Item = ReplicaPlacement> + 'a {
        self.replicas.iter().copied().chain(self.changes.added())
    }

    /// A replica of the group, whatever becomes of it.
    pub fn find(&self, replica: ReplicaId) -> Option<ReplicaPlacement> {
        let mut all = self.open_replicas().chain(self.changes.leaving.iter().copied());
        all.find(|placement| placement.replica == replica)
    }

    fn is_valid(&self, nodes: &BTreeSet<NodeId>) -> bool {
        let mut hosts = BTreeSet::new();
        let leaving = &self.changes.leaving;
        self.replicas.iter().all(|placement| nodes.contains(&placement.node) && hosts.insert(placement.node))
            && leaving.iter().all(|placement| nodes.contains(&placement.node))
    }

    fn has_valid_change(&self, nodes: &BTreeSet<NodeId>) -> bool {
        let Some(change) = self.changes.change else { return true };
        let mut staying = self.replicas.iter().filter(|placement| Some(placement.replica) != change.remove);
        let is_there = change.remove.is_none_or(|id| self.replicas.iter().any(|placement| placement.replica == id));
        is_there
            && match change.add {
                Some(add) => nodes.contains(&add.node) && staying.all(|placement| placement.node != add.node),
                None => change.remove.is_some() && staying.next().is_some(),
            }
    }
}

impl ShardMap {
    /// The shard that owns a slot. `None` only while the map is empty.
    pub fn shard_of(&self, slot: Slot) -> Option<&ShardPlacement> {
        let after = self.shards.partition_point(|shard| shard.slots.start <= slot.number());
        self.shards[..after].last().filter(|shard| shard.slots.contains(slot))
    }

    /// A shard by id.
    pub fn shard(&self, id: ShardId) -> Option<&ShardPlacement> {
        self.shards.iter().find(|shard| shard.shard == id)
    }

    /// A node by id.
    pub fn node(&self, id: NodeId) -> Option<&NodeDescriptor> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// The meta group, then the groups of the shards by slot.
    pub fn groups(&self) -> impl Iterator<Item = GroupPlacement<'_>> {
        let meta = GroupPlacement { group: GroupId::META, replicas: &self.meta, changes: &self.meta_changes };
        std::iter::once(meta).chain(self.shards.iter().map(ShardPlacement::as_group))
    }

    /// A group by id.
    pub fn group(&self, id: GroupId) -> Option<GroupPlacement<'_>> {
        match id.shard() {
            Some(shard) => self.shard(shard).map(ShardPlacement::as_group),
            None => self.groups().next(),
        }
    }

    /// Checks the invariants that every map must hold: slots covered once, replicas placed once, on distinct nodes,
    /// changes possible.
    pub fn validate(&self) -> Result<(), ShardMapError> {
        let mut nodes = BTreeSet::new();
        for node in &self.nodes {
            if !nodes.insert(node.id) || node.state == NodeState::Removed {
                return Err(ShardMapError::Node { node: node.id });
            }
        }
        self.validate_slots()?;
        let mut seen = BTreeSet::new();
        for group in self.groups() {
            match group.group.shard() {
                Some(shard) if group.replicas.is_empty() || !group.is_valid(&nodes) => {
                    return Err(ShardMapError::Placement { shard });
                }
                None if !group.is_valid(&nodes) => return Err(ShardMapError::MetaPlacement),
                _ => {}
            }
            if !group.has_valid_change(&nodes) {
                return Err(ShardMapError::Change { group: group.group });
            }
            for placement in group.open_replicas().chain(group.changes.leaving.iter().copied()) {
                if !seen.insert(placement.replica) {
                    return Err(ShardMapError::ReplicaTwice { replica: placement.replica });
                }
            }
        }
        Ok(())
    }

    fn validate_slots(&self) -> Result<(), ShardMapError> {
        let mut next = 0;
        for shard in &self.shards {
            if shard.slots.start != next || shard.slots.end <= shard.slots.start {
                return Err(ShardMapError::Coverage { slot: next });
            }
            next = shard.slots.end;
        }
        match next == SLOT_COUNT || self.shards.is_empty() {
            true => Ok(()),
            false => Err(ShardMapError::Coverage { slot: next }),
        }
    }
}

#[cfg(test)]
#[path = "shard_map/tests.rs"]
mod tests;
