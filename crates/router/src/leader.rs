//! Which replica to ask.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use strata_types::{NodeId, ShardPlacement};

/// No node has this id.
const NOBODY: u64 = u64::MAX;

/// What is believed about the leader of one shard. Wrong beliefs cost an attempt, never an answer, so nothing here
/// needs more than single atomic words.
#[derive(Debug)]
pub(crate) struct LeaderGuess {
    node: AtomicU64,
    /// While no leader is known: the replica to ask, counted from the preferred leader.
    turn: AtomicUsize,
}

impl LeaderGuess {
    pub(crate) fn new() -> LeaderGuess {
        LeaderGuess { node: AtomicU64::new(NOBODY), turn: AtomicUsize::new(0) }
    }

    /// The node to ask next. `None` only for a placement without replicas.
    pub(crate) fn target(&self, placement: &ShardPlacement) -> Option<NodeId> {
        let node = NodeId(self.node.load(Ordering::Relaxed));
        if position(placement, node).is_some() {
            return Some(node);
        }
        let turn = self.turn.load(Ordering::Relaxed) % placement.replicas.len().max(1);
        placement.replicas.get(turn).map(|replica| replica.node)
    }

    /// A node answered as the leader.
    pub(crate) fn confirm(&self, node: NodeId) {
        if self.node.load(Ordering::Relaxed) != node.0 {
            self.node.store(node.0, Ordering::Relaxed);
        }
    }

    /// A node said who leads. `false` when that is of no use: nobody of this shard, or itself.
    pub(crate) fn hint(&self, asked: NodeId, leader: NodeId, placement: &ShardPlacement) -> bool {
        let useful = leader != asked && position(placement, leader).is_some();
        if useful {
            self.node.store(leader.0, Ordering::Relaxed);
        }
        useful
    }

    /// A node does not lead, or does not answer: ask the one after it, unless somebody knows better by now.
    pub(crate) fn miss(&self, asked: NodeId, placement: &ShardPlacement) {
        let forget = self.node.compare_exchange(asked.0, NOBODY, Ordering::Relaxed, Ordering::Relaxed);
        if forget.is_ok() || forget == Err(NOBODY) {
            // Setting, not adding: several workers that report the same miss move the turn once.
            let next = position(placement, asked).map_or(0, |position| position + 1);
            self.turn.store(next, Ordering::Relaxed);
        }
    }
}

fn position(placement: &ShardPlacement, node: NodeId) -> Option<usize> {
    placement.replicas.iter().position(|replica| replica.node == node)
}
