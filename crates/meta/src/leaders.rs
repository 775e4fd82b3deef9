//! Which replica of each shard is its preferred leader: the first one.

use std::cmp::Ordering;
use std::collections::BTreeSet;

/// The first replica of a shard passes leadership on. Nodes and shards are named by position.
#[derive(Clone, Copy)]
struct Handover {
    shard: usize,
    from: usize,
    to: usize,
}

/// Reorders the replicas of each shard until no chain of handovers can make the nodes' numbers of led shards, in
/// relation to their weights, more even. Returns whether nothing better can be thought of, whatever the replicas. Nodes
/// of weight 0 get no leaders, and keep those that they have.
pub(crate) fn even_out(placed: &mut [Vec<usize>], weights: &[u32]) -> bool {
    let mut desk = Desk::new(placed, weights);
    while let Some(chain) = desk.chain() {
        for handover in chain {
            desk.carry_out(handover);
        }
    }
    desk.is_even()
}

struct Desk<'a> {
    placed: &'a mut [Vec<usize>],
    weights: &'a [u32],
    /// The shards that each node leads.
    led: Vec<BTreeSet<usize>>,
}

impl Desk<'_> {
    fn new<'a>(placed: &'a mut [Vec<usize>], weights: &'a [u32]) -> Desk<'a> {
        let mut led = vec![BTreeSet::new(); weights.len()];
        for (shard, members) in placed.iter().enumerate() {
            if let Some(first) = members.first() {
                led[*first].insert(shard);
            }
        }
        Desk { placed, weights, led }
    }

    fn carry_out(&mut self, handover: Handover) {
        let members = &mut self.placed[handover.shard];
        let position = members.iter().position(|node| *node == handover.to).expect("a leader is a replica");
        members.swap(0, position);
        self.led[handover.from].remove(&handover.shard);
        self.led[handover.to].insert(handover.shard);
    }

    fn is_even(&self) -> bool {
        !self.nodes().any(|from| self.nodes().any(|to| self.gains(from, to)))
    }

    fn nodes(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.weights.len()).filter(|node| self.weights[*node] > 0)
    }

    /// Led shards in relation to the weight, if there were this many more.
    fn compare(&self, left: usize, right: usize, more: usize) -> Ordering {
        let scaled = |node: usize, by: usize| (self.led[node].len() + more) as u64 * u64::from(self.weights[by]);
        scaled(left, right).cmp(&scaled(right, left))
    }

    /// Whether it is more even with one shard less here and one more there.
    fn gains(&self, from: usize, to: usize) -> bool {
        let scaled = |led: usize, by: usize| led as u64 * u64::from(self.weights[by]);
        scaled(self.led[to].len() + 1, from) < scaled(self.led[from].len(), to)
    }

    /// A chain that makes the numbers more even, from the busiest node that has one.
    fn chain(&self) -> Option<Vec<Handover>> {
        let idlest = self.nodes().min_by(|left, right| self.compare(*left, *right, 1))?;
        let mut busiest: Vec<usize> = self.nodes().filter(|node| self.gains(*node, idlest)).collect();
        busiest.sort_by(|left, right| self.compare(*right, *left, 0).then(left.cmp(right)));
        busiest.into_iter().find_map(|from| self.shortest_chain_from(from))
    }

    /// The shortest chain of handovers from this node to one that gains by it; nodes in between keep their numbers.
    /// Each handover is of another shard, so their order does not matter.
    fn shortest_chain_from(&self, from: usize) -> Option<Vec<Handover>> {
        let mut reached: Vec<Option<Handover>> = vec![None; self.weights.len()];
        let mut frontier = vec![from];
        while !frontier.is_empty() {
            let mut next = Vec::new();
            for leader in frontier {
                for &shard in &self.led[leader] {
                    for &to in &self.placed[shard][1..] {
                        if to != from && reached[to].is_none() && self.weights[to] > 0 {
                            reached[to] = Some(Handover { shard, from: leader, to });
                            next.push(to);
                        }
                    }
                }
            }
            let accepted = next.iter().copied().filter(|node| self.gains(from, *node));
            if let Some(end) = accepted.min_by(|left, right| self.compare(*left, *right, 1).then(left.cmp(right))) {
                return Some(std::iter::successors(reached[end], |handover| reached[handover.from]).collect());
            }
            frontier = next;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn led(placed: &[Vec<usize>], node_count: usize) -> Vec<usize> {
        let mut led = vec![0; node_count];
        placed.iter().for_each(|members| led[members[0]] += 1);
        led
    }

    #[test]
    fn chains_pass_through_nodes_that_keep_their_numbers() {
        // Node 0 leads three shards and shares none with node 2, which leads none.
        let mut placed = vec![vec![0, 1], vec![0, 1], vec![0, 1], vec![1, 2], vec![1, 2]];
        assert!(even_out(&mut placed, &[1; 3]));
        assert_eq!(led(&placed, 3), [2, 2, 1]);
    }

    #[test]
    fn what_the_replicas_do_not_allow_is_reported() {
        let mut placed = vec![vec![0, 1]; 8];
        assert!(!even_out(&mut placed, &[1; 3]));
        assert_eq!(led(&placed, 3), [4, 4, 0]);
    }

    #[test]
    fn heavier_nodes_lead_more_and_nodes_without_weight_get_none() {
        let mut placed = vec![vec![0, 1, 2]; 12];
        assert!(even_out(&mut placed, &[1, 3, 0]));
        assert_eq!(led(&placed, 3), [3, 9, 0]);
    }
}
