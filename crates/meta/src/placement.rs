//! Which nodes hold which shard.
//!
//! ```text
//!   present placement -> keep what still fits -> fill gaps by the ring -> even out loads -> even out leaders
//! ```
//! - A replica stays where it is unless its node is gone, its zone holds too many of the shard, or its node holds too
//!   many at all.
//! - A gap goes to the first node on the ring that holds no replica of the shard, whose zone has room for one, and
//!   that is not full.
//! - Loads end within a tenth of each node's share ([`crate::shares`]): above by the cap of bounded-load hashing,
//!   below so that a new node gets its part. A replica is moved only to bring a load into these bounds, along the
//!   shortest chain of moves that does.
//! - The first replica of each shard is its preferred leader. The nodes' numbers of led shards end as close together
//!   as the replicas allow; if that is not within one, loads are evened out more strictly and leaders once again.

use std::collections::BTreeMap;

use strata_types::limits::REPLICAS_PER_SHARD;
use strata_types::{NodeDescriptor, NodeId, ShardId};

use crate::leaders;
use crate::ring::{Ring, rank};
use crate::shares::{Share, Tolerance, shares, zone_limit};

/// Positions of the ring that are tried for a gap: enough to meet each of a thousand half-full nodes' likes. After
/// that the emptiest node that fits is taken.
const ATTEMPTS_MAX: u32 = 64;

/// Heaviest weight: bounds the ring to some hundred thousand virtual nodes.
const WEIGHT_MAX: u32 = 64;

/// A node as placement sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacementNode {
    /// Its id.
    pub id: NodeId,
    /// Its failure domain; empty for one of its own.
    pub zone: String,
    /// How much it takes relative to others; 0 for nothing.
    pub weight: u32,
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
    #[error("weights go up to {WEIGHT_MAX}: node=`{node}` weight=`{weight}`")]
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
    let mut nodes: Vec<&PlacementNode> = nodes.iter().collect();
    nodes.sort_by_key(|node| node.id);
    if let Some(pair) = nodes.windows(2).find(|pair| pair[0].id == pair[1].id) {
        return Err(PlacementError::NodeTwice { node: pair[0].id });
    }
    if let Some(node) = nodes.iter().find(|node| node.weight > WEIGHT_MAX) {
        return Err(PlacementError::Weight { node: node.id, weight: node.weight });
    }
    nodes.retain(|node| node.weight > 0);
    if nodes.is_empty() {
        return Err(PlacementError::NoNodes);
    }
    let mut board = Board::new(nodes, present.keys().copied().collect());
    board.keep(present.values());
    board.fill();
    board.even_out_loads(Tolerance::Tenth);
    if leaders::even_out(&mut board.placed, board.nodes.len()) > 1 {
        board.even_out_loads(Tolerance::Rounding);
        leaders::even_out(&mut board.placed, board.nodes.len());
    }
    Ok(board.finish())
}

impl PlacementNode {
    /// A registered node, with the weight of all others.
    pub fn of(node: &NodeDescriptor) -> PlacementNode {
        PlacementNode { id: node.id, zone: node.zone.clone(), weight: 1 }
    }

    #[cfg(test)]
    pub(crate) fn plain(id: u64) -> PlacementNode {
        PlacementNode { id: NodeId(id), zone: String::new(), weight: 1 }
    }
}

/// One replica goes from one node to another. Nodes and shards are named by their position on the board.
#[derive(Clone, Copy)]
struct Move {
    shard: usize,
    from: usize,
    to: usize,
}

/// The placement while it is made.
struct Board<'a> {
    nodes: Vec<&'a PlacementNode>,
    zones: Vec<usize>,
    zone_limit: usize,
    replicas: usize,
    shares: Vec<Share>,
    loads: Vec<usize>,
    shards: Vec<ShardId>,
    placed: Vec<Vec<usize>>,
}

impl<'a> Board<'a> {
    fn new(nodes: Vec<&'a PlacementNode>, shards: Vec<ShardId>) -> Board<'a> {
        let first_of_zone = |node: &PlacementNode| nodes.iter().position(|other| other.zone == node.zone);
        let zones: Vec<usize> = nodes
            .iter()
            .enumerate()
            .map(|(index, node)| if node.zone.is_empty() { index } else { first_of_zone(node).unwrap_or(index) })
            .collect();
        let replicas = REPLICAS_PER_SHARD.min(nodes.len());
        Board {
            zone_limit: zone_limit(&zones, replicas),
            replicas,
            shares: shares(&nodes, &zones, shards.len(), replicas),
            loads: vec![0; nodes.len()],
            placed: vec![Vec::new(); shards.len()],
            nodes,
            zones,
            shards,
        }
    }

    fn keep<'b>(&mut self, present: impl Iterator<Item = &'b Vec<NodeId>>) {
        for (shard, present) in present.enumerate() {
            for id in present {
                let Ok(node) = self.nodes.binary_search_by_key(id, |node| node.id) else { continue };
                if self.placed[shard].len() < self.replicas && self.fits(shard, node) {
                    self.add(shard, node);
                }
            }
        }
    }

    fn fill(&mut self) {
        let ring = Ring::new(self.nodes.iter().map(|node| (node.id, node.weight)));
        for shard in 0..self.shards.len() {
            while self.placed[shard].len() < self.replicas {
                let Some(node) = self.by_ring(&ring, shard).or_else(|| self.emptiest(shard)) else { break };
                self.add(shard, node);
            }
        }
    }

    fn by_ring(&self, ring: &Ring, shard: usize) -> Option<usize> {
        (0..ATTEMPTS_MAX).find_map(|attempt| {
            let id = ring.node(self.shards[shard], attempt)?;
            let node = self.nodes.binary_search_by_key(&id, |node| node.id).ok()?;
            let has_room = self.loads[node] < self.most(node, Tolerance::Tenth);
            (has_room && self.fits(shard, node)).then_some(node)
        })
    }

    /// The node that is least full of those that fit, full ones included: evening out follows.
    fn emptiest(&self, shard: usize) -> Option<usize> {
        let fitting = (0..self.nodes.len()).filter(|node| self.fits(shard, *node));
        fitting.min_by_key(|node| (self.fullness(*node), rank(self.shards[shard], self.nodes[*node].id)))
    }

    /// Moves replicas until each node's load is within the tolerance of its share, where moves can do that.
    fn even_out_loads(&mut self, tolerance: Tolerance) {
        for node in 0..self.nodes.len() {
            while self.loads[node] > self.most(node, tolerance) {
                let has_room = |other: usize| self.loads[other] < self.most(other, tolerance);
                let Some(chain) = self.shortest_chain(vec![node], has_room) else { break };
                if !self.carry_out(&chain) {
                    break;
                }
            }
        }
        for node in 0..self.nodes.len() {
            while self.loads[node] < self.least(node, tolerance) {
                let mut fullest: Vec<usize> =
                    (0..self.nodes.len()).filter(|other| self.loads[*other] > self.least(*other, tolerance)).collect();
                fullest.sort_by_key(|other| (std::cmp::Reverse(self.fullness(*other)), *other));
                let Some(chain) = self.shortest_chain(fullest, |other| other == node) else { break };
                if !self.carry_out(&chain) {
                    break;
                }
            }
        }
    }

    /// The shortest chain of moves that takes a replica off one of the `from` nodes, the first ones preferred, and
    /// ends at an accepted node, the emptiest preferred. Nodes in between keep their loads.
    fn shortest_chain(&self, from: Vec<usize>, accept: impl Fn(usize) -> bool) -> Option<Vec<Move>> {
        let mut reached: Vec<Option<Move>> = vec![None; self.nodes.len()];
        let mut seen = vec![false; self.nodes.len()];
        from.iter().for_each(|node| seen[*node] = true);
        let mut frontier = from;
        while !frontier.is_empty() {
            let mut next = Vec::new();
            for from in frontier {
                let held: Vec<usize> =
                    (0..self.shards.len()).filter(|shard| self.placed[*shard].contains(&from)).collect();
                for to in 0..self.nodes.len() {
                    if seen[to] {
                        continue;
                    }
                    if let Some(step) = self.best_move(&held, from, to) {
                        seen[to] = true;
                        reached[to] = Some(step);
                        next.push(to);
                    }
                }
            }
            let accepted = next.iter().copied().filter(|node| accept(*node));
            if let Some(end) = accepted.min_by_key(|node| (self.fullness(*node), *node)) {
                let mut chain: Vec<Move> = std::iter::successors(reached[end], |step| reached[step.from]).collect();
                chain.reverse();
                return Some(chain);
            }
            frontier = next;
        }
        None
    }

    /// The shard to move from one node to another: not one that `from` leads, if there is another.
    fn best_move(&self, held: &[usize], from: usize, to: usize) -> Option<Move> {
        let movable = held.iter().copied().filter(|shard| self.fits_instead(*shard, from, to));
        let best =
            movable.min_by_key(|shard| (self.placed[*shard][0] == from, rank(self.shards[*shard], self.nodes[to].id)));
        best.map(|shard| Move { shard, from, to })
    }

    /// Makes the moves of a chain and returns whether all were made. In a shortest chain no move spoils a later one; if
    /// one did, stopping there leaves a valid placement.
    fn carry_out(&mut self, chain: &[Move]) -> bool {
        for step in chain {
            if !self.fits_instead(step.shard, step.from, step.to) {
                return false;
            }
            // The newcomer goes last: it is the worst leader until it has caught up.
            self.placed[step.shard].retain(|node| *node != step.from);
            self.loads[step.from] -= 1;
            self.add(step.shard, step.to);
        }
        true
    }

    fn add(&mut self, shard: usize, node: usize) {
        self.placed[shard].push(node);
        self.loads[node] += 1;
    }

    /// Whether the shard may have one more replica, on this node.
    fn fits(&self, shard: usize, node: usize) -> bool {
        let members = &self.placed[shard];
        let in_zone = members.iter().filter(|member| self.zones[**member] == self.zones[node]).count();
        !members.contains(&node) && in_zone < self.zone_limit
    }

    /// Whether the shard's replica may move.
    fn fits_instead(&self, shard: usize, from: usize, to: usize) -> bool {
        let members = &self.placed[shard];
        if !members.contains(&from) || members.contains(&to) {
            return false;
        }
        self.zones[from] == self.zones[to] || self.fits(shard, to)
    }

    fn fullness(&self, node: usize) -> u128 {
        self.shares[node].fullness(self.loads[node])
    }

    fn least(&self, node: usize, tolerance: Tolerance) -> usize {
        self.shares[node].least(tolerance)
    }

    fn most(&self, node: usize, tolerance: Tolerance) -> usize {
        self.shares[node].most(tolerance, self.shards.len())
    }

    fn finish(self) -> BTreeMap<ShardId, Vec<NodeId>> {
        let ids = |members: Vec<usize>| members.into_iter().map(|node| self.nodes[node].id).collect();
        self.shards.into_iter().zip(self.placed.into_iter().map(ids)).collect()
    }
}
