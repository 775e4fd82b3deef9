//! Who owns which slots, and where the owners live.

use crate::{ClusterId, Epoch, NodeId, ReplicaId, SLOT_COUNT, ShardId, Slot, SlotRange};

/// The whole routing state of a cluster at one epoch. Decided by the meta group only; everybody else caches it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShardMap {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// Rises with each change.
    pub epoch: Epoch,
    /// All nodes, by id.
    pub nodes: Vec<NodeDescriptor>,
    /// All shards, by slot.
    pub shards: Vec<ShardPlacement>,
    /// Replicas of the meta group.
    pub meta: Vec<ReplicaPlacement>,
}

/// A node and how to reach it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeDescriptor {
    /// Its id.
    pub id: NodeId,
    /// Where other nodes reach it, `host:port`.
    pub peer_address: String,
    /// Where clients reach it, `host:port`.
    pub client_address: String,
    /// Failure domain; empty when not set.
    pub zone: String,
}

/// One shard: its slots and its replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardPlacement {
    /// Its id.
    pub shard: ShardId,
    /// The slots it owns.
    pub slots: SlotRange,
    /// Its replicas; the first one is the preferred leader.
    pub replicas: Vec<ReplicaPlacement>,
}

/// A replica and the node it lives on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReplicaPlacement {
    /// The raft id.
    pub replica: ReplicaId,
    /// Where it lives.
    pub node: NodeId,
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

    /// Checks the invariants that every map must hold: slots covered once, replicas placed once, on distinct nodes.
    pub fn validate(&self) -> Result<(), ShardMapError> {
        let mut next = 0;
        let mut seen = std::collections::BTreeSet::new();
        for shard in &self.shards {
            if shard.slots.start != next || shard.slots.end <= shard.slots.start {
                return Err(ShardMapError::Coverage { slot: next });
            }
            next = shard.slots.end;
            let mut nodes = std::collections::BTreeSet::new();
            let placed = shard.replicas.iter().all(|r| nodes.insert(r.node) && self.node(r.node).is_some());
            if !placed || shard.replicas.is_empty() {
                return Err(ShardMapError::Placement { shard: shard.shard });
            }
            for placement in &shard.replicas {
                if !seen.insert(placement.replica) {
                    return Err(ShardMapError::ReplicaTwice { replica: placement.replica });
                }
            }
        }
        if next != SLOT_COUNT && !self.shards.is_empty() {
            return Err(ShardMapError::Coverage { slot: next });
        }
        match self.meta.iter().find(|placement| !seen.insert(placement.replica)) {
            Some(placement) => Err(ShardMapError::ReplicaTwice { replica: placement.replica }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(shard_count: u32) -> ShardMap {
        let node = |id| NodeDescriptor { id: NodeId(id), ..NodeDescriptor::default() };
        let placement =
            |shard: u32, node| ReplicaPlacement { replica: ReplicaId(u64::from(shard) * 3 + node), node: NodeId(node) };
        ShardMap {
            nodes: vec![node(1), node(2), node(3)],
            shards: (0..shard_count)
                .map(|shard| ShardPlacement {
                    shard: ShardId(shard),
                    slots: SlotRange::share(shard, shard_count),
                    replicas: (1..=3).map(|node| placement(shard, node)).collect(),
                })
                .collect(),
            ..ShardMap::default()
        }
    }

    #[test]
    fn every_slot_has_its_shard() {
        let map = map(4);
        map.validate().expect("a valid map");
        for number in 0..SLOT_COUNT {
            let slot = Slot::new(number).expect("in range");
            assert!(map.shard_of(slot).expect("covered").slots.contains(slot));
        }
    }

    #[test]
    fn broken_maps_are_named() {
        let mut gap = map(4);
        gap.shards.remove(1);
        assert_eq!(gap.validate(), Err(ShardMapError::Coverage { slot: 4096 }));
        let mut twice = map(4);
        twice.shards[2].replicas[0].replica = twice.shards[0].replicas[0].replica;
        assert_eq!(twice.validate(), Err(ShardMapError::ReplicaTwice { replica: ReplicaId(1) }));
        let mut crowded = map(4);
        crowded.shards[3].replicas[1].node = NodeId(1);
        assert_eq!(crowded.validate(), Err(ShardMapError::Placement { shard: ShardId(3) }));
    }
}
