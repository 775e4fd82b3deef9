//! The placement while it is made.

use std::cell::LazyCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use strata_types::{NodeId, ShardId};

use crate::PlacementNode;
use crate::ring::{Ring, rank};
use crate::shares::{Share, Tolerance, shares, zone_limit, zones};

/// Positions of the ring that are tried for a gap: enough to meet each of a thousand half-full nodes' likes. After
/// that the emptiest node that fits is taken.
const ATTEMPTS_MAX: u32 = 64;

/// One replica goes from one node to another. Nodes and shards are named by their position on the board.
#[derive(Clone, Copy)]
struct Move {
    shard: usize,
    from: usize,
    to: usize,
}

/// Which node holds which shards, seen from both sides.
pub(crate) struct Board<'a> {
    nodes: Vec<&'a PlacementNode>,
    zones: Vec<usize>,
    zone_limit: usize,
    replicas: usize,
    shares: Vec<Share>,
    shards: Vec<ShardId>,
    /// The nodes of each shard, the preferred leader first.
    placed: Vec<Vec<usize>>,
    /// The shards of each node: so that a step looks at what its nodes hold, not at all there is.
    held: Vec<BTreeSet<usize>>,
    /// Present nodes of a shard that did not fit beside the others.
    surplus: Vec<Vec<usize>>,
    /// Nodes that get no replica of a shard, as long as another one would do.
    avoided: Vec<BTreeSet<usize>>,
}

impl<'a> Board<'a> {
    /// An empty board. The nodes are sorted by id.
    pub(crate) fn new(nodes: Vec<&'a PlacementNode>, shards: Vec<ShardId>, replicas: usize) -> Board<'a> {
        let zones = zones(&nodes);
        let replicas = replicas.min(nodes.len());
        Board {
            zone_limit: zone_limit(&zones, replicas),
            replicas,
            shares: shares(&nodes, &zones, shards.len(), replicas),
            held: vec![BTreeSet::new(); nodes.len()],
            placed: vec![Vec::new(); shards.len()],
            surplus: vec![Vec::new(); shards.len()],
            avoided: vec![BTreeSet::new(); shards.len()],
            nodes,
            zones,
            shards,
        }
    }

    /// Keeps present replicas where they fit.
    pub(crate) fn keep<'b>(&mut self, present: impl Iterator<Item = &'b Vec<NodeId>>) {
        for (shard, present) in present.enumerate() {
            for id in present {
                let Ok(node) = self.nodes.binary_search_by_key(id, |node| node.id) else { continue };
                if self.placed[shard].len() < self.replicas && self.fits(shard, node) {
                    self.add(shard, node);
                } else {
                    self.surplus[shard].push(node);
                }
            }
        }
    }

    /// Nodes that have yet to delete a former replica of a shard, or have no room, cannot take another one, and it may
    /// be long until they can. What is kept stays: one that was built anew lies beside its predecessor for a while.
    pub(crate) fn avoid(&mut self, blocked: &BTreeMap<ShardId, Vec<NodeId>>) {
        for (position, shard) in self.shards.iter().enumerate() {
            let Some(nodes) = blocked.get(shard) else { continue };
            let known = nodes.iter().filter_map(|id| self.nodes.binary_search_by_key(id, |node| node.id).ok());
            self.avoided[position] = known.collect();
        }
    }

    /// Fills the gaps, as far as there are nodes that accept replicas.
    pub(crate) fn fill(&mut self) {
        // Large clusters have large rings, and most of the time there is no gap.
        let weights: Vec<(NodeId, u32)> = self.nodes.iter().map(|node| (node.id, node.weight)).collect();
        let ring = LazyCell::new(|| Ring::new(weights.into_iter()));
        for shard in 0..self.shards.len() {
            while self.placed[shard].len() < self.replicas {
                let within_limits = self.by_ring(&ring, shard).or_else(|| self.emptiest(shard));
                let Some(node) = within_limits.or_else(|| self.crowded(shard)) else { break };
                self.add(shard, node);
            }
        }
    }

    fn by_ring(&self, ring: &Ring, shard: usize) -> Option<usize> {
        (0..ATTEMPTS_MAX).find_map(|attempt| {
            let id = ring.node(self.shards[shard], attempt)?;
            let node = self.nodes.binary_search_by_key(&id, |node| node.id).ok()?;
            let has_room = self.load(node) < self.most(node, Tolerance::Tenth);
            (has_room && self.accepts(node) && self.fits(shard, node)).then_some(node)
        })
    }

    /// The node that is least full of those that fit, full ones included: evening out follows.
    fn emptiest(&self, shard: usize) -> Option<usize> {
        let fitting = (0..self.nodes.len()).filter(|node| self.accepts(*node) && self.fits(shard, *node));
        fitting.min_by_key(|node| (self.fullness(*node), rank(self.shards[shard], self.nodes[*node].id)))
    }

    /// A node in a zone that holds too many already: better than a replica less. One that has it before all others, so
    /// that nothing is moved for no gain, and one that is avoided after all others.
    fn crowded(&self, shard: usize) -> Option<usize> {
        let members = &self.placed[shard];
        let present = self.surplus[shard].iter().copied().find(|node| !members.contains(node));
        present.or_else(|| {
            let others = (0..self.nodes.len()).filter(|node| self.accepts(*node) && !members.contains(node));
            let is_avoided = |node: usize| self.avoided[shard].contains(&node);
            others.min_by_key(|node| (is_avoided(*node), self.in_zone_of(shard, *node), self.fullness(*node), *node))
        })
    }

    /// Moves replicas until each node's load is within the tolerance of its share, where moves can do that.
    pub(crate) fn even_out_loads(&mut self, tolerance: Tolerance) {
        self.relieve(tolerance);
        self.supply(tolerance);
    }

    /// Takes replicas off nodes that hold too many.
    fn relieve(&mut self, tolerance: Tolerance) {
        for node in 0..self.nodes.len() {
            while self.load(node) > self.most(node, tolerance) {
                let has_room = |other: usize| self.load(other) < self.most(other, tolerance);
                let Some(chain) = self.shortest_chain(vec![node], has_room) else { break };
                if !self.carry_out(&chain) {
                    break;
                }
            }
        }
    }

    /// Brings replicas to nodes that hold too few.
    fn supply(&mut self, tolerance: Tolerance) {
        for node in 0..self.nodes.len() {
            while self.accepts(node) && self.load(node) < self.least(node, tolerance) {
                let mut fullest: Vec<usize> =
                    (0..self.nodes.len()).filter(|other| self.load(*other) > self.least(*other, tolerance)).collect();
                fullest.sort_by_key(|other| (Reverse(self.fullness(*other)), *other));
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
        let start: BTreeSet<usize> = from.iter().copied().collect();
        let others = (0..self.nodes.len()).filter(|node| self.accepts(*node) && !start.contains(node));
        let mut unseen: BTreeSet<usize> = others.collect();
        let mut frontier = from;
        while !frontier.is_empty() && !unseen.is_empty() {
            let mut next = Vec::new();
            for from in frontier {
                let steps: Vec<Move> = unseen.iter().filter_map(|to| self.best_move(from, *to)).collect();
                for step in steps {
                    unseen.remove(&step.to);
                    reached[step.to] = Some(step);
                    next.push(step.to);
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
    fn best_move(&self, from: usize, to: usize) -> Option<Move> {
        let movable = self.held[from].iter().copied().filter(|shard| self.fits_instead(*shard, from, to));
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
            self.held[step.from].remove(&step.shard);
            self.add(step.shard, step.to);
        }
        true
    }

    fn add(&mut self, shard: usize, node: usize) {
        self.placed[shard].push(node);
        self.held[node].insert(shard);
    }

    fn accepts(&self, node: usize) -> bool {
        self.nodes[node].accepts
    }

    fn in_zone_of(&self, shard: usize, node: usize) -> usize {
        self.placed[shard].iter().filter(|member| self.zones[**member] == self.zones[node]).count()
    }

    /// Whether the shard may have one more replica, on this node.
    fn fits(&self, shard: usize, node: usize) -> bool {
        let is_free = !self.placed[shard].contains(&node) && !self.avoided[shard].contains(&node);
        is_free && self.in_zone_of(shard, node) < self.zone_limit
    }

    /// Whether the shard's replica may move.
    fn fits_instead(&self, shard: usize, from: usize, to: usize) -> bool {
        let members = &self.placed[shard];
        if !members.contains(&from) || members.contains(&to) || self.avoided[shard].contains(&to) {
            return false;
        }
        self.zones[from] == self.zones[to] || self.fits(shard, to)
    }

    fn load(&self, node: usize) -> usize {
        self.held[node].len()
    }

    fn fullness(&self, node: usize) -> u128 {
        self.shares[node].fullness(self.load(node))
    }

    fn least(&self, node: usize, tolerance: Tolerance) -> usize {
        self.shares[node].least(tolerance)
    }

    fn most(&self, node: usize, tolerance: Tolerance) -> usize {
        self.shares[node].most(tolerance, self.shards.len())
    }

    /// The weight of each node as a leader: none for those that accept nothing.
    pub(crate) fn weights(&self) -> Vec<u32> {
        self.nodes.iter().map(|node| if node.accepts { node.weight } else { 0 }).collect()
    }

    /// The nodes of each shard, for changing their order.
    pub(crate) fn placed_mut(&mut self) -> &mut [Vec<usize>] {
        &mut self.placed
    }

    pub(crate) fn finish(self) -> BTreeMap<ShardId, Vec<NodeId>> {
        let ids = |members: Vec<usize>| members.into_iter().map(|node| self.nodes[node].id).collect();
        self.shards.into_iter().zip(self.placed.into_iter().map(ids)).collect()
    }
}
