//! Leaders by load: which leaderships should change hands so that no node serves far more than its share.
//!
//! ```text
//!   loads of shards --> busiest node above its share? --> best exchange of two leaderships, or gift of one --> again
//!                                                                  |
//!                              enough gained? otherwise nothing <--+
//! ```
//! - Evaluated by who proposes, never while a command is applied: loads are measured, so every node sees others.
//! - Numbers stay as even as the machine makes them: a leadership is given away only for another one, or by a node that
//!   leads one more. So the machine, which evens out numbers whenever members or nodes change, undoes none of this.
//! - Who is within a quarter of its share is left alone, and a round that gains little is not begun: what is measured
//!   always wavers a bit, and leaders must not wander because of that. Without load worth the name nothing happens.

use std::collections::BTreeMap;

use strata_types::{NodeId, ReplicaId, ShardId, ShardMap, ShardPlacement};

/// Operations a second for each unit of weight below which load is no reason for anything.
const IDLE: u64 = 50;
/// Parts of a whole for numbers in relation to a weight.
const WHOLE: u64 = 1 << 10;
/// Most exchanges of a round: loads are measured again before the next one.
const STEPS_MAX: usize = 32;

/// A leadership that should change hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderWish {
    /// The shard.
    pub shard: ShardId,
    /// The replica that should lead.
    pub replica: ReplicaId,
    /// The node that should lead by now.
    pub from: NodeId,
    /// The node of the replica.
    pub to: NodeId,
}

/// What to hand over, in order, and the map as it would be then. The loads are operations a second of the shards'
/// leaders; a shard without one has none.
pub fn spread(map: &ShardMap, loads: &BTreeMap<ShardId, u64>) -> (Vec<LeaderWish>, ShardMap) {
    let mut later = map.clone();
    let mut scale = Scale::new(map, loads);
    let before = scale.clone();
    let mut wishes = Vec::new();
    for _ in 0..STEPS_MAX {
        let Some(step) = scale.step(&later) else { break };
        for (shard, to) in [Some(step.given), step.taken].into_iter().flatten() {
            wishes.push(scale.carry_out(&mut later, shard, to));
        }
    }
    match scale.is_worth_it(&before) {
        true => (wishes, later),
        false => (Vec::new(), map.clone()),
    }
}

/// One leadership for another, or for none: shards by position, and their new leaders.
#[derive(Clone, Copy)]
struct Step {
    given: (usize, NodeId),
    taken: Option<(usize, NodeId)>,
}

/// What each node leads.
#[derive(Clone)]
struct Scale {
    /// Nodes that may lead.
    nodes: BTreeMap<NodeId, Led>,
    /// By position.
    loads: Vec<u64>,
    /// The share of a node, in parts for each unit of weight.
    share: u64,
}

#[derive(Clone)]
struct Led {
    weight: u64,
    /// Shards by position.
    shards: Vec<usize>,
    load: u64,
}

impl Led {
    /// The load in parts for each unit of weight, if it were this much.
    fn relative(&self, load: u64) -> u64 {
        load.saturating_mul(WHOLE) / self.weight
    }
}

impl Scale {
    fn new(map: &ShardMap, loads: &BTreeMap<ShardId, u64>) -> Scale {
        let able = map.nodes.iter().filter(|node| node.state.takes() && node.weight > 0);
        let led = |weight| Led { weight: u64::from(weight), shards: Vec::new(), load: 0 };
        let mut nodes: BTreeMap<NodeId, Led> = able.map(|node| (node.id, led(node.weight))).collect();
        let loads: Vec<u64> =
            map.shards.iter().map(|shard| loads.get(&shard.shard).copied().unwrap_or_default()).collect();
        for (position, shard) in map.shards.iter().enumerate() {
            let leader = shard.replicas.first().and_then(|first| nodes.get_mut(&first.node));
            if let Some(led) = leader {
                led.shards.push(position);
                led.load += loads[position];
            }
        }
        let total: u64 = nodes.values().map(|led| led.load).sum();
        let weights: u64 = nodes.values().map(|led| led.weight).sum();
        let share = total.saturating_mul(WHOLE).checked_div(weights).unwrap_or_default();
        Scale { nodes, loads, share }
    }

    fn relative(&self, node: NodeId) -> u64 {
        self.nodes.get(&node).map_or(0, |led| led.relative(led.load))
    }

    /// Whether some node was far above its share, and both it and whoever got more are noticeably below that now.
    fn is_worth_it(&self, before: &Scale) -> bool {
        let got_more = self.nodes.keys().filter(|node| self.relative(**node) > before.relative(**node));
        let fullest = got_more.map(|node| self.relative(*node)).max().unwrap_or_default();
        let gains = |node: &NodeId| {
            let (then, now) = (before.relative(*node), self.relative(*node).max(fullest));
            then > self.share + self.share / 4 && then - now.min(then) >= self.share / 8
        };
        self.share >= IDLE * WHOLE && self.nodes.keys().any(gains)
    }

    /// The best step for the busiest node that there is one for.
    fn step(&self, map: &ShardMap) -> Option<Step> {
        let mut busy: Vec<NodeId> = self.nodes.keys().copied().collect();
        busy.retain(|node| self.relative(*node) > self.share + self.share / 10);
        busy.sort_by_key(|node| (std::cmp::Reverse(self.relative(*node)), *node));
        busy.into_iter().find_map(|from| self.best_from(map, from))
    }

    /// The step after which the busier one of this node and its partner is least busy, if that is better than now.
    fn best_from(&self, map: &ShardMap, from: NodeId) -> Option<Step> {
        let giver = self.nodes.get(&from)?;
        let enough = self.relative(from).saturating_sub((self.share / 256).max(1));
        let mut best: Option<(u64, Step)> = None;
        for (&to, taker) in self.nodes.iter().filter(|(node, _)| **node != from) {
            let may_give = (taker.shards.len() as u64 + 1) * giver.weight <= giver.shards.len() as u64 * taker.weight;
            let back = taker.shards.iter().copied().filter(|shard| can_lead(&map.shards[*shard], from));
            let partners: Vec<Option<usize>> = may_give.then_some(None).into_iter().chain(back.map(Some)).collect();
            for &given in giver.shards.iter().filter(|shard| can_lead(&map.shards[**shard], to)) {
                for &taken in &partners {
                    let returned = taken.map_or(0, |taken| self.loads[taken]);
                    let Some(load) = self.loads[given].checked_sub(returned) else { continue };
                    let worst = giver.relative(giver.load - load).max(taker.relative(taker.load + load));
                    if load > 0 && worst <= enough && best.is_none_or(|(least, _)| worst < least) {
                        best = Some((worst, Step { given: (given, to), taken: taken.map(|taken| (taken, from)) }));
                    }
                }
            }
        }
        best.map(|(_, step)| step)
    }

    fn carry_out(&mut self, map: &mut ShardMap, position: usize, to: NodeId) -> LeaderWish {
        let load = self.loads[position];
        let shard = &mut map.shards[position];
        let place = shard.replicas.iter().position(|placement| placement.node == to).expect("it can lead");
        let (from, replica) = (shard.replicas[0].node, shard.replicas[place].replica);
        shard.replicas.swap(0, place);
        let giver = self.nodes.get_mut(&from).expect("it leads");
        giver.shards.retain(|led| *led != position);
        giver.load -= load;
        let taker = self.nodes.get_mut(&to).expect("it may lead");
        taker.shards.push(position);
        taker.load += load;
        LeaderWish { shard: shard.shard, replica, from, to }
    }
}

/// Whether a node has a replica that can lead. Where members change, nothing is touched.
fn can_lead(shard: &ShardPlacement, node: NodeId) -> bool {
    shard.changes.change.is_none() && shard.replicas.iter().any(|placement| placement.node == node)
}

#[cfg(test)]
mod tests {
    use strata_types::{NodeDescriptor, NodeState, ReplicaPlacement};

    use super::*;

    /// Shards with these nodes, the leader first.
    fn map(nodes: &[(u64, u32, NodeState)], shards: &[&[u64]]) -> ShardMap {
        let node = |&(id, weight, state): &(u64, u32, NodeState)| NodeDescriptor {
            id: NodeId(id),
            weight,
            state,
            ..NodeDescriptor::default()
        };
        let shard = |(number, nodes): (usize, &&[u64])| {
            let place =
                |node: &u64| ReplicaPlacement { replica: ReplicaId(number as u64 * 10 + node), node: NodeId(*node) };
            ShardPlacement {
                shard: ShardId(number as u32),
                replicas: nodes.iter().map(place).collect(),
                ..ShardPlacement::default()
            }
        };
        ShardMap {
            nodes: nodes.iter().map(node).collect(),
            shards: shards.iter().enumerate().map(shard).collect(),
            ..ShardMap::default()
        }
    }

    fn loads(loads: &[u64]) -> BTreeMap<ShardId, u64> {
        (0..).map(ShardId).zip(loads.iter().copied()).collect()
    }

    fn wishes(map: &ShardMap, all: &[u64]) -> Vec<(u32, u64, u64)> {
        let (wishes, later) = spread(map, &loads(all));
        let (again, _) = spread(&later, &loads(all));
        assert_eq!(again, [], "once is enough");
        wishes.into_iter().map(|wish| (wish.shard.0, wish.from.0, wish.to.0)).collect()
    }

    const ACTIVE: NodeState = NodeState::Active;
    const TWO: [(u64, u32, NodeState); 2] = [(1, 1, ACTIVE), (2, 1, ACTIVE)];

    #[test]
    fn a_busy_shard_is_exchanged_for_an_idle_one() {
        let map = map(&TWO, &[&[1, 2], &[1, 2], &[2, 1], &[2, 1]]);
        assert_eq!(wishes(&map, &[500, 500, 10, 10]), [(0, 1, 2), (2, 2, 1)]);
        assert_eq!(wishes(&map, &[500, 10, 500, 10]), []);
    }

    #[test]
    fn who_leads_one_more_may_give_it_away() {
        let map = map(&TWO, &[&[1, 2], &[1, 2], &[2, 1]]);
        assert_eq!(wishes(&map, &[400, 400, 100]), [(0, 1, 2)]);
        assert_eq!(wishes(&map, &[400, 10, 400]), [], "that would only turn it round");
    }

    #[test]
    fn idle_clusters_and_small_differences_are_left_alone() {
        let map = map(&TWO, &[&[1, 2], &[1, 2], &[2, 1], &[2, 1]]);
        assert_eq!(wishes(&map, &[0; 4]), []);
        assert_eq!(wishes(&map, &[45, 45, 0, 0]), [], "below fifty a second for each");
        assert_eq!(wishes(&map, &[550, 550, 450, 450]), [], "within a quarter");
        assert_eq!(wishes(&map, &[9_000, 1, 1, 1]), [], "one shard cannot be shared");
    }

    #[test]
    fn heavier_nodes_serve_more() {
        let map = map(&[(1, 3, ACTIVE), (2, 1, ACTIVE)], &[&[1, 2], &[1, 2], &[1, 2], &[2, 1]]);
        assert_eq!(wishes(&map, &[100; 4]), []);
        assert_eq!(wishes(&map, &[100, 100, 100, 700]), [(3, 2, 1), (0, 1, 2)]);
    }

    #[test]
    fn nodes_that_are_not_to_lead_and_groups_that_change_are_left_out() {
        let nodes = [(1, 1, ACTIVE), (2, 1, NodeState::Draining), (3, 1, ACTIVE)];
        let all: [&[u64]; 4] = [&[1, 2], &[1, 2, 3], &[3, 1], &[3, 1]];
        let mut map = map(&nodes, &all);
        assert_eq!(wishes(&map, &[600, 500, 10, 10]), [(1, 1, 3), (2, 3, 1)], "the busiest one has no other place");
        map.shards[1].changes.change = Some(strata_types::ReplicaChange {
            id: strata_types::ChangeId(1),
            add: None,
            remove: None,
            reason: strata_types::ChangeReason::Operator,
            cancelled: false,
            decided: strata_types::Term(0),
        });
        assert_eq!(wishes(&map, &[600, 500, 10, 10]), []);
    }
}
