//! How evenly nodes are loaded, as numbers for people. Floating point: never evaluated while a command is applied.

use std::collections::BTreeMap;

use strata_types::{NodeId, ShardId, ShardMap};

/// How evenly something is spread over the nodes that take replicas, in relation to their weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Imbalance {
    /// Entropy of the loads, as a part of the largest possible: 1 is even, 0 is all on one node.
    pub entropy: f64,
    /// The largest load over the mean: 1 is even.
    pub largest_over_mean: f64,
}

impl Imbalance {
    /// Of loads with the weights of their nodes. Nothing at all is even.
    pub fn of(loads: &[(u64, u32)]) -> Imbalance {
        let relative: Vec<f64> =
            loads.iter().map(|(load, weight)| *load as f64 / f64::from((*weight).max(1))).collect();
        let sum: f64 = relative.iter().sum();
        if relative.len() < 2 || sum == 0.0 {
            return Imbalance { entropy: 1.0, largest_over_mean: 1.0 };
        }
        let parts = relative.iter().map(|load| load / sum).filter(|part| *part > 0.0);
        let entropy: f64 = parts.map(|part| -part * part.ln()).sum();
        let largest = relative.iter().copied().fold(0.0, f64::max);
        let count = relative.len() as f64;
        Imbalance { entropy: (entropy / count.ln()).clamp(0.0, 1.0), largest_over_mean: largest * count / sum }
    }

    /// Of the replicas of all shards.
    pub fn of_replicas(map: &ShardMap) -> Imbalance {
        Imbalance::over(map, |node| {
            let shards = map.shards.iter().flat_map(|shard| &shard.replicas);
            shards.filter(|placement| placement.node == node).count()
        })
    }

    /// Of the preferred leaders of all shards.
    pub fn of_leaders(map: &ShardMap) -> Imbalance {
        Imbalance::over(map, |node| {
            let leaders = map.shards.iter().filter_map(|shard| shard.replicas.first());
            leaders.filter(|placement| placement.node == node).count()
        })
    }

    /// Of the loads that the preferred leaders of all shards have.
    pub fn of_loads(map: &ShardMap, loads: &BTreeMap<ShardId, u64>) -> Imbalance {
        Imbalance::over(map, |node| {
            let led = map.shards.iter().filter(|shard| shard.replicas.first().is_some_and(|first| first.node == node));
            led.filter_map(|shard| loads.get(&shard.shard)).sum::<u64>() as usize
        })
    }

    fn over(map: &ShardMap, load: impl Fn(NodeId) -> usize) -> Imbalance {
        let nodes = map.nodes.iter().filter(|node| node.state.takes());
        Imbalance::of(&nodes.map(|node| (load(node.id) as u64, node.weight)).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_loads_have_full_entropy_and_lonely_ones_none() {
        let even = Imbalance { entropy: 1.0, largest_over_mean: 1.0 };
        assert_eq!(Imbalance::of(&[]), even);
        assert_eq!(Imbalance::of(&[(0, 1), (0, 1)]), even);
        assert_eq!(Imbalance::of(&[(4, 1), (4, 1), (4, 1), (4, 1)]), even);
        assert_eq!(Imbalance::of(&[(8, 2), (4, 1)]), even, "twice the weight, twice the load");
        assert_eq!(Imbalance::of(&[(6, 1), (0, 1), (0, 1)]), Imbalance { entropy: 0.0, largest_over_mean: 3.0 });
        let uneven = Imbalance::of(&[(64, 1), (64, 1), (64, 1), (0, 1)]);
        assert!(uneven.entropy < 0.8 && uneven.largest_over_mean > 1.3, "{uneven:?}");
    }
}
