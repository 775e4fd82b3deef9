//! Which nodes hold which shard.
//!
//! ```text
//!   present placement -> keep what still fits -> fill gaps by the ring -> even out loads -> even out leaders
//! ```
//! - A replica stays where it is unless its node is gone, its zone holds too many of the shard, or its node holds too
//!   many at all.
//! - A gap goes to the first node on the ring that holds no replica of the shard, whose zone has room for one, and
//!   that has not had its share. One that cannot take it now, because it has yet to delete a former replica of the
//!   shard or its disk has no room, is the last choice.
//! - Loads end within a tenth of each node's share ([`crate::shares`]): above by the cap of bounded-load hashing,
//!   below so that a new node gets its part. A replica is moved only to bring a load into these bounds, along the
//!   shortest chain of moves that does.
//! - A node that accepts nothing keeps what it has and counts as before: a drain moves no replicas.
//! - The first replica of each shard is its preferred leader. The nodes' numbers of led shards end as close together
//!   as the replicas allow; if that is not within one, loads are evened out more strictly and leaders once again.

use std::collections::BTreeMap;

use strata_types::limits::{NODE_WEIGHT_MAX, REPLICAS_PER_SHARD};
use strata_types::{NodeDescriptor, NodeId, ShardId};

use crate::board::Board;
use crate::leaders;
use crate::shares::Tolerance;

/// A node as placement sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacementNode {
    /// Its id.
    pub id: NodeId,
    /// Its failure domain; empty for one of its own.
    pub zone: String,
    /// How much it takes relative to others; 0 for nothing, not even what it has.
    pub weight: u32,
    /// Whether replicas may come to it.
    pub accepts: bool,
}

/// Why there is no placement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlacementError {
    /// No node takes replicas.
    #[error("no node takes replicas")]
    NoNodes,
    /// A node is named twice.
    #[error("a node is named twice: node=`{node}`")]
    NodeTwice {
        /// The node.
        node: NodeId,
    },
    /// A weight is over the limit.
    #[error("weights go up to {NODE_WEIGHT_MAX}: node=`{node}` weight=`{weight}`")]
    Weight {
        /// The node.
        node: NodeId,
        /// Its weight.
        weight: u32,
    },
}

/// Places each shard on [`REPLICAS_PER_SHARD`] nodes, or on all if there are fewer, starting from where its replicas
/// are. The first node of each shard is its preferred leader. Integers and ordered collections only, so that every
/// platform arrives at the same placement (META-4).
pub fn place(
    nodes: &[PlacementNode],
    present: &BTreeMap<ShardId, Vec<NodeId>>,
) -> Result<BTreeMap<ShardId, Vec<NodeId>>, PlacementError> {
    let mut board = filled(nodes, present, &BTreeMap::new(), REPLICAS_PER_SHARD)?;
    board.even_out_loads(Tolerance::Tenth);
    let weights = board.weights();
    if !leaders::even_out(board.placed_mut(), &weights) {
        board.even_out_loads(Tolerance::Rounding);
        leaders::even_out(board.placed_mut(), &weights);
    }
    Ok(board.finish())
}

/// As [`place`], but leaders move no replicas, and stay where they are. `blocked` are nodes that cannot take a replica
/// of the shard now.
pub(crate) fn place_replicas(
    nodes: &[PlacementNode],
    present: &BTreeMap<ShardId, Vec<NodeId>>,
    blocked: &BTreeMap<ShardId, Vec<NodeId>>,
) -> Result<BTreeMap<ShardId, Vec<NodeId>>, PlacementError> {
    let mut board = filled(nodes, present, blocked, REPLICAS_PER_SHARD)?;
    board.even_out_loads(Tolerance::Tenth);
    Ok(board.finish())
}

/// The nodes of a single group with this number of replicas, starting from where they are.
pub(crate) fn place_group(
    nodes: &[PlacementNode],
    present: Vec<NodeId>,
    blocked: Vec<NodeId>,
    replicas: usize,
) -> Result<Vec<NodeId>, PlacementError> {
    // No shard has this id, so that the group has a place of its own on the ring.
    let group = ShardId(u32::MAX);
    let (present, blocked) = (BTreeMap::from([(group, present)]), BTreeMap::from([(group, blocked)]));
    let board = filled(nodes, &present, &blocked, replicas)?;
    Ok(board.finish().remove(&group).unwrap_or_default())
}

fn filled<'a>(
    nodes: &'a [PlacementNode],
    present: &BTreeMap<ShardId, Vec<NodeId>>,
    blocked: &BTreeMap<ShardId, Vec<NodeId>>,
    replicas: usize,
) -> Result<Board<'a>, PlacementError> {
    let mut nodes: Vec<&PlacementNode> = nodes.iter().collect();
    nodes.sort_by_key(|node| node.id);
    if let Some(pair) = nodes.windows(2).find(|pair| pair[0].id == pair[1].id) {
        return Err(PlacementError::NodeTwice { node: pair[0].id });
    }
    if let Some(node) = nodes.iter().find(|node| node.weight > NODE_WEIGHT_MAX) {
        return Err(PlacementError::Weight { node: node.id, weight: node.weight });
    }
    nodes.retain(|node| node.weight > 0);
    if nodes.is_empty() {
        return Err(PlacementError::NoNodes);
    }
    let mut board = Board::new(nodes, present.keys().copied().collect(), replicas);
    board.keep(present.values());
    board.avoid(blocked);
    board.fill();
    Ok(board)
}

impl PlacementNode {
    /// A registered node.
    pub fn of(node: &NodeDescriptor) -> PlacementNode {
        let weight = if node.state.keeps() { node.weight } else { 0 };
        PlacementNode { id: node.id, zone: node.zone.clone(), weight, accepts: node.state.takes() }
    }

    #[cfg(test)]
    pub(crate) fn plain(id: u64) -> PlacementNode {
        PlacementNode { id: NodeId(id), zone: String::new(), weight: 1, accepts: true }
    }
}
