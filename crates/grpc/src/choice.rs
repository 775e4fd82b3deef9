//! Which replica goes when an operator says only where it should go to.

use strata_types::{GroupId, GroupPlacement, NodeId, Result, ShardMap};

use crate::operations::{invalid, refused};

/// The node whose replica of a group should go: one that was given up if there is one, then one that is being removed,
/// then the one with the most replicas for its weight. Asked again while the move is under way, it is the same one.
pub(crate) fn giver(map: &ShardMap, id: GroupId, to: NodeId) -> Result<NodeId> {
    let Some(group) = map.group(id) else {
        let shard = id.shard().map_or_else(String::new, |shard| shard.to_string());
        return Err(invalid(format!("there is no such shard: shard=`{shard}`")));
    };
    if let Some(node) = giver_under_way(&group, to) {
        return Ok(node);
    }
    let candidates = group.replicas.iter().map(|placement| placement.node).filter(|node| *node != to);
    // The preferred leader comes first, so that of equals it is the last one to go.
    let chosen = candidates.enumerate().max_by_key(|(position, node)| (rank(map, *node), load(map, *node), *position));
    match chosen {
        Some((_, node)) => Ok(node),
        None => Err(refused(format!("no other node has a replica that could be moved: to=`{to}`"))),
    }
}

fn giver_under_way(group: &GroupPlacement<'_>, to: NodeId) -> Option<NodeId> {
    let removed = group.changes.removed().filter(|_| group.changes.added().is_some_and(|added| added.node == to))?;
    group.find(removed).map(|placement| placement.node)
}

fn rank(map: &ShardMap, node: NodeId) -> u8 {
    match map.node(node).map(|node| node.state) {
        Some(state) if state.keeps() => 0,
        Some(state) if state.is_counted_on() => 1,
        _ => 2,
    }
}

/// Replicas of shards for each unit of weight, in thousandths.
fn load(map: &ShardMap, node: NodeId) -> usize {
    let weight = map.node(node).map_or(1, |node| node.weight.max(1));
    let replicas = map.shards.iter().flat_map(|shard| &shard.replicas);
    replicas.filter(|placement| placement.node == node).count() * 1_000 / weight as usize
}

#[cfg(test)]
mod tests {
    use strata_types::{
        ChangeId, ChangeReason, NodeDescriptor, NodeState, ReplicaChange, ReplicaId, ReplicaPlacement, ShardId,
        ShardPlacement, SlotRange, Term,
    };

    use super::*;

    /// Each shard is the list of the nodes that hold it.
    fn map(nodes: u64, shards: &[&[u64]]) -> ShardMap {
        let place = |shard: usize, node: u64| ReplicaPlacement {
            replica: ReplicaId(shard as u64 * 10 + node),
            node: NodeId(node),
        };
        let shard = |(number, members): (usize, &&[u64])| ShardPlacement {
            shard: ShardId(number as u32),
            slots: SlotRange::share(number as u32, shards.len() as u32),
            replicas: members.iter().map(|node| place(number, *node)).collect(),
            ..ShardPlacement::default()
        };
        ShardMap {
            nodes: (1..=nodes).map(|id| NodeDescriptor { id: NodeId(id), ..NodeDescriptor::default() }).collect(),
            shards: shards.iter().enumerate().map(shard).collect(),
            ..ShardMap::default()
        }
    }

    const FIRST: GroupId = GroupId::of_shard(ShardId(0));

    #[test]
    fn the_fullest_node_gives_its_replica_up() {
        let mut map = map(4, &[&[1, 2, 3], &[2, 1, 4]]);
        map.nodes[0].weight = 2;
        assert_eq!(giver(&map, FIRST, NodeId(4)), Ok(NodeId(2)), "two replicas for a weight of one");
        map.nodes[1].weight = 2;
        assert_eq!(giver(&map, FIRST, NodeId(4)), Ok(NodeId(3)), "of equals not the one that leads");
    }

    #[test]
    fn a_node_that_leaves_goes_before_a_full_one_and_a_lost_one_before_all() {
        let mut map = map(4, &[&[1, 2, 3], &[1, 2, 4], &[1, 2, 4]]);
        map.nodes[2].state = NodeState::Removing;
        assert_eq!(giver(&map, FIRST, NodeId(4)), Ok(NodeId(3)));
        map.nodes[1].state = NodeState::Lost;
        assert_eq!(giver(&map, FIRST, NodeId(4)), Ok(NodeId(2)));
    }

    #[test]
    fn a_move_that_is_under_way_keeps_its_giver() {
        let mut map = map(4, &[&[1, 2, 3], &[1, 2, 4]]);
        assert_eq!(giver(&map, FIRST, NodeId(4)), Ok(NodeId(2)));
        map.shards[0].changes.change = Some(ReplicaChange {
            id: ChangeId(1),
            add: Some(ReplicaPlacement { replica: ReplicaId(99), node: NodeId(4) }),
            remove: Some(ReplicaId(1)),
            reason: ChangeReason::Operator,
            cancelled: false,
            decided: Term(0),
        });
        assert_eq!(giver(&map, FIRST, NodeId(4)), Ok(NodeId(1)));
    }

    #[test]
    fn what_is_not_there_cannot_be_moved() {
        let map = map(2, &[&[1]]);
        assert!(giver(&map, GroupId::of_shard(ShardId(7)), NodeId(2)).is_err());
        assert!(giver(&map, FIRST, NodeId(1)).is_err(), "the only one is there already");
    }
}
