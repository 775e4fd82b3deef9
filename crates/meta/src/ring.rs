//! A consistent-hash ring of weighted virtual nodes, whose positions never change.

use std::hash::{BuildHasher, Hash, Hasher};

use hashring::HashRing;
use strata_types::{NodeId, ShardId};
use xxhash_rust::xxh3::Xxh3;

/// Virtual nodes for each unit of weight: with this many, plain rings are uneven by about a tenth, which evening out
/// then corrects; more would only make the ring slower to build.
const VIRTUAL_NODES_PER_WEIGHT: u32 = 128;

/// The ring. Asked for the same shard and attempt it always names the same node, and when a node is added it is the
/// only one that newly gets named.
pub(crate) struct Ring {
    ring: HashRing<VirtualNode, FixedHash>,
}

impl Ring {
    /// A ring of nodes with their weights.
    pub(crate) fn new(nodes: impl Iterator<Item = (NodeId, u32)>) -> Ring {
        let mut ring = HashRing::with_hasher(FixedHash);
        let virtual_nodes = nodes.flat_map(|(node, weight)| {
            (0..weight * VIRTUAL_NODES_PER_WEIGHT).map(move |number| VirtualNode { node, number })
        });
        ring.batch_add(virtual_nodes.collect());
        Ring { ring }
    }

    /// The node at the position of a shard's given attempt; `None` when the ring is empty. Each attempt is a position
    /// of its own, so neighbours on the ring do not always share shards.
    pub(crate) fn node(&self, shard: ShardId, attempt: u32) -> Option<NodeId> {
        self.ring.get(&Probe { shard, attempt }).map(|virtual_node| virtual_node.node)
    }
}

/// A fixed pseudo-random rank of a shard on a node, to choose between equally good moves.
pub(crate) fn rank(shard: ShardId, node: NodeId) -> u64 {
    FixedHash.hash_one(Rank { shard, node })
}

/// xxh3 with its default secret. The standard library's hash may change with every release.
#[derive(Clone, Copy)]
struct FixedHash;

impl BuildHasher for FixedHash {
    type Hasher = Xxh3;

    fn build_hasher(&self) -> Xxh3 {
        Xxh3::new()
    }
}

#[derive(Clone, Copy)]
struct VirtualNode {
    node: NodeId,
    number: u32,
}

struct Probe {
    shard: ShardId,
    attempt: u32,
}

struct Rank {
    shard: ShardId,
    node: NodeId,
}

// What is hashed is written out byte by byte: how the standard library hashes numbers and tuples is not promised, and
// every platform must hash the same (META-4). The first byte keeps the three kinds apart.

impl Hash for VirtualNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut bytes = [b'n'; 13];
        bytes[1..9].copy_from_slice(&self.node.0.to_be_bytes());
        bytes[9..].copy_from_slice(&self.number.to_be_bytes());
        state.write(&bytes);
    }
}

impl Hash for Probe {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut bytes = [b's'; 9];
        bytes[1..5].copy_from_slice(&self.shard.0.to_be_bytes());
        bytes[5..].copy_from_slice(&self.attempt.to_be_bytes());
        state.write(&bytes);
    }
}

impl Hash for Rank {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut bytes = [b'r'; 13];
        bytes[1..5].copy_from_slice(&self.shard.0.to_be_bytes());
        bytes[5..].copy_from_slice(&self.node.0.to_be_bytes());
        state.write(&bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// META-4
    #[test]
    fn positions_are_pinned() {
        let ring = Ring::new((1..=5).map(|id| (NodeId(id), 1)));
        let named: Vec<u64> = (0..16).map(|shard| ring.node(ShardId(shard), 0).expect("a node").0).collect();
        assert_eq!(named, PINNED, "the hash or what is hashed has changed: every cluster would place differently");
        assert_eq!(rank(ShardId(1), NodeId(2)), PINNED_RANK);
    }

    const PINNED: [u64; 16] = [3, 4, 1, 4, 3, 1, 4, 4, 5, 2, 1, 1, 5, 1, 1, 3];
    const PINNED_RANK: u64 = 12_249_410_547_884_550_438;

    #[test]
    fn weights_attract() {
        let ring = Ring::new([(NodeId(1), 1), (NodeId(2), 3)].into_iter());
        let heavy = (0..4000).filter(|shard| ring.node(ShardId(*shard), 0) == Some(NodeId(2))).count();
        assert!((2700..3300).contains(&heavy), "{heavy} of 4000");
    }

    #[test]
    fn only_the_added_node_is_newly_named() {
        let before = Ring::new((1..=9).map(|id| (NodeId(id), 1)));
        let after = Ring::new((1..=10).map(|id| (NodeId(id), 1)));
        for shard in (0..1000).map(ShardId) {
            let named = after.node(shard, 0);
            assert!(named == before.node(shard, 0) || named == Some(NodeId(10)));
        }
    }
}
