//! How many replicas each node ought to hold.
//!
//! By weight, but no node can hold a shard twice, and zones limit what their nodes can hold together: with three zones
//! each holds one replica of every shard, however many nodes it has. What does not fit flows to the others.

use std::collections::BTreeMap;

use crate::PlacementNode;

/// Parts of one replica in which shares are counted: integers, because every replica must compute the same.
const SCALE: u128 = 1 << 32;

/// Parts by which a share may be off: far more than rounding loses, far less than makes a difference.
const SLACK: u128 = 1 << 16;

/// What one node ought to hold, in parts of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share(u128);

/// How far loads may be from shares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tolerance {
    /// A tenth more or less: what bounded-load hashing allows, so that few replicas move.
    Tenth,
    /// Less than one replica.
    Rounding,
}

impl Share {
    /// Fewest replicas within the tolerance.
    pub(crate) fn least(self, tolerance: Tolerance) -> usize {
        let parts = match tolerance {
            Tolerance::Tenth => self.0 * 9 / 10,
            Tolerance::Rounding => self.0,
        };
        ((parts + SLACK) / SCALE) as usize
    }

    /// Most replicas within the tolerance; a node never holds more than one of each shard.
    pub(crate) fn most(self, tolerance: Tolerance, shards: usize) -> usize {
        let parts = match tolerance {
            Tolerance::Tenth => self.0 * 11 / 10,
            Tolerance::Rounding => self.0,
        };
        (parts.saturating_sub(SLACK).div_ceil(SCALE) as usize).min(shards)
    }

    /// How full a node with this share is, comparable between nodes.
    pub(crate) fn fullness(self, load: usize) -> u128 {
        load as u128 * SCALE * SCALE / self.0.max(1)
    }
}

/// Most replicas of one shard in one zone: the least number with which all of them find a node. A node without a zone
/// is a zone of its own.
pub(crate) fn zone_limit(zones: &[usize], replicas: usize) -> usize {
    let sizes = zone_sizes(zones);
    let limits = 1..=replicas;
    limits
        .into_iter()
        .find(|limit| sizes.values().map(|size| size.min(limit)).sum::<usize>() >= replicas)
        .unwrap_or(replicas)
}

/// As [`zone_limit`], of nodes by their zones.
pub(crate) fn zone_limit_of(nodes: &[PlacementNode], replicas: usize) -> usize {
    let nodes: Vec<&PlacementNode> = nodes.iter().collect();
    zone_limit(&zones(&nodes), replicas.min(nodes.len()))
}

/// The zone of each node, named by the position of the first node in it. Nodes without one are zones of their own.
pub(crate) fn zones(nodes: &[&PlacementNode]) -> Vec<usize> {
    let mut first = BTreeMap::new();
    let zone = |(index, node): (usize, &&PlacementNode)| match node.zone.is_empty() {
        true => index,
        false => *first.entry(node.zone.clone()).or_insert(index),
    };
    nodes.iter().enumerate().map(zone).collect()
}

/// The share of each node, given the zone of each.
pub(crate) fn shares(nodes: &[&PlacementNode], zones: &[usize], shards: usize, replicas: usize) -> Vec<Share> {
    let limit = zone_limit(zones, replicas);
    let sizes = zone_sizes(zones);
    let whole = |replicas: usize| replicas as u128 * SCALE;
    let weight_of = |zone: usize| -> u128 {
        let members = nodes.iter().zip(zones).filter(|(_, other)| **other == zone);
        members.map(|(node, _)| u128::from(node.weight)).sum()
    };
    let by_zone: Vec<(u128, u128)> =
        sizes.iter().map(|(zone, size)| (weight_of(*zone), whole(shards * limit.min(*size)))).collect();
    let zone_shares = pour(whole(shards * replicas), &by_zone);
    let mut shares = vec![Share(0); nodes.len()];
    for (zone, zone_share) in sizes.keys().zip(zone_shares) {
        let members: Vec<usize> = (0..nodes.len()).filter(|index| zones[*index] == *zone).collect();
        let vessels: Vec<_> = members.iter().map(|index| (u128::from(nodes[*index].weight), whole(shards))).collect();
        for (index, share) in members.into_iter().zip(pour(zone_share, &vessels)) {
            shares[index] = Share(share);
        }
    }
    shares
}

fn zone_sizes(zones: &[usize]) -> BTreeMap<usize, usize> {
    let mut sizes = BTreeMap::new();
    for zone in zones {
        *sizes.entry(*zone).or_default() += 1;
    }
    sizes
}

/// Divides `total` by weight among vessels of (weight, capacity); what overflows one goes to the others.
fn pour(total: u128, vessels: &[(u128, u128)]) -> Vec<u128> {
    let mut poured: Vec<Option<u128>> = vec![None; vessels.len()];
    loop {
        let open = || (0..vessels.len()).filter(|index| poured[*index].is_none());
        let left = total.saturating_sub(poured.iter().flatten().sum());
        let weight: u128 = open().map(|index| vessels[index].0).sum();
        let fair = |index: usize| left * vessels[index].0 / weight.max(1);
        let full: Vec<usize> = open().filter(|index| fair(*index) >= vessels[*index].1).collect();
        if full.is_empty() {
            return (0..vessels.len()).map(|index| poured[index].unwrap_or_else(|| fair(index))).collect();
        }
        for index in full {
            poured[index] = Some(vessels[index].1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole_shares(weights: &[u32], zones: &[usize], shards: usize, replicas: usize) -> Vec<usize> {
        let nodes: Vec<PlacementNode> = (1..)
            .zip(weights)
            .map(|(id, weight)| PlacementNode { weight: *weight, ..PlacementNode::plain(id) })
            .collect();
        let nodes: Vec<&PlacementNode> = nodes.iter().collect();
        shares(&nodes, zones, shards, replicas).iter().map(|share| share.least(Tolerance::Rounding)).collect()
    }

    #[test]
    fn shares_follow_weights_up_to_one_replica_of_each_shard() {
        assert_eq!(whole_shares(&[1, 1, 1, 1], &[0, 1, 2, 3], 16, 3), [12, 12, 12, 12]);
        assert_eq!(whole_shares(&[1, 1, 2], &[0, 1, 2], 16, 3), [16, 16, 16]);
        assert_eq!(whole_shares(&[1, 1, 1, 3], &[0, 1, 2, 3], 18, 3), [12, 12, 12, 18]);
    }

    #[test]
    fn zones_hold_one_replica_of_each_shard_where_that_is_possible() {
        assert_eq!(whole_shares(&[1; 6], &[0, 1, 2, 2, 2, 2], 16, 3), [16, 16, 4, 4, 4, 4]);
        assert_eq!(zone_limit(&[0, 1, 2, 2, 2, 2], 3), 1);
        assert_eq!(zone_limit(&[0, 0, 0, 1], 3), 2);
        assert_eq!(zone_limit(&[0, 0, 0], 3), 3);
    }
}
