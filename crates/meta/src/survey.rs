//! What is known of a map's nodes, and what that means for its groups.

use std::collections::{BTreeMap, BTreeSet};

use strata_types::{ChangeReason, GroupPlacement, NodeDescriptor, NodeId, NodeState, ShardMap};

use crate::PlannedChange;
use crate::changes::is_possible;
use crate::nodes::is_rebuilt;
use crate::placement::PlacementNode;
use crate::shares::zone_limit_of;

/// No node at all.
pub(crate) static NOBODY: BTreeSet<NodeId> = BTreeSet::new();

/// Everything that is known of a map's nodes.
pub(crate) struct Survey<'a> {
    nodes: BTreeMap<NodeId, &'a NodeDescriptor>,
    pub(crate) places: Vec<PlacementNode>,
    /// Nodes without room for more replicas.
    full: &'a BTreeSet<NodeId>,
}

impl<'a> Survey<'a> {
    pub(crate) fn new(map: &'a ShardMap, full: &'a BTreeSet<NodeId>) -> Survey<'a> {
        let places: Vec<_> = map.nodes.iter().map(PlacementNode::of).filter(|node| node.weight > 0).collect();
        Survey { nodes: map.nodes.iter().map(|node| (node.id, node)).collect(), places, full }
    }

    pub(crate) fn state(&self, node: NodeId) -> NodeState {
        self.nodes.get(&node).map_or(NodeState::Removed, |node| node.state)
    }

    pub(crate) fn is_there(&self, node: NodeId) -> bool {
        self.state(node).is_counted_on()
    }

    /// Whether the change under way should not be made any more: the new replica's node cannot take it, or the removed
    /// one's node is back before the new one has caught up.
    pub(crate) fn is_outdated(&self, group: &GroupPlacement<'_>) -> bool {
        let Some(change) = group.changes.change else { return false };
        let removed = change.remove.and_then(|replica| group.find(replica));
        let was_leaving = matches!(change.reason, ChangeReason::NodeLost | ChangeReason::NodeRemoving);
        let is_back = was_leaving && removed.is_some_and(|placement| self.state(placement.node).keeps());
        let is_impossible = change.add.is_some_and(|add| !is_possible(group, self.state(add.node)));
        is_impossible || (is_back && !change.is_decided())
    }

    /// Whether the new replica is to come to a node without room where another one has some. What an operator has sent
    /// to a node waits there, and what is built anew has no other place.
    pub(crate) fn is_held_up(&self, group: &GroupPlacement<'_>) -> bool {
        let is_by_hand = group.changes.change.is_some_and(|change| change.reason == ChangeReason::Operator);
        let is_free = !is_by_hand && !is_rebuilt(group);
        is_free && self.waits_for_room(group) && self.able(group).any(|node| !self.is_full(node))
    }

    /// Whether the change under way is to a node without room: it keeps nobody else from anything.
    pub(crate) fn waits_for_room(&self, group: &GroupPlacement<'_>) -> bool {
        let change = group.changes.change.filter(|change| !change.is_decided());
        change.is_some_and(|change| change.add.is_some_and(|add| self.is_full(add.node)))
    }

    /// The nodes that could take a replica of the group, if they have room.
    pub(crate) fn able(&self, group: &GroupPlacement<'_>) -> impl Iterator<Item = NodeId> {
        let taken: Vec<NodeId> = group.open_replicas().map(|placement| placement.node).collect();
        let able = self.nodes.values().filter(|node| node.state.takes()).map(|node| node.id);
        able.filter(move |node| !taken.contains(node))
    }

    /// Whether a node has no room for more replicas.
    pub(crate) fn is_full(&self, node: NodeId) -> bool {
        self.full.contains(&node)
    }

    /// The nodes that cannot take a replica of the group now: they have yet to delete a former one, or have no room.
    pub(crate) fn blocked(&self, group: &GroupPlacement<'_>) -> Vec<NodeId> {
        let leaving = group.changes.leaving.iter().map(|placement| placement.node);
        leaving.chain(self.full.iter().copied()).collect()
    }

    pub(crate) fn has_majority(&self, group: &GroupPlacement<'_>) -> bool {
        let there = group.replicas.iter().filter(|placement| self.is_there(placement.node)).count();
        there > group.replicas.len() / 2
    }

    /// The change under way, by nodes.
    pub(crate) fn under_way(&self, group: &GroupPlacement<'_>) -> PlannedChange {
        let removed = group.changes.removed().and_then(|replica| group.find(replica));
        PlannedChange {
            group: group.group,
            add: group.changes.added().map(|placement| placement.node),
            remove: removed.map(|placement| placement.node),
            reason: group.changes.change.map_or(ChangeReason::Balance, |change| change.reason),
        }
    }

    /// The nodes of the group once the change under way is over.
    pub(crate) fn projected(&self, group: &GroupPlacement<'_>, is_outdated: bool) -> Vec<NodeId> {
        let change = group.changes.change.filter(|change| !change.cancelled && !is_outdated);
        let remove = change.and_then(|change| change.remove);
        let staying = group.replicas.iter().filter(|placement| Some(placement.replica) != remove);
        staying.chain(change.and_then(|change| change.add).as_ref()).map(|placement| placement.node).collect()
    }

    pub(crate) fn same_zone(&self, left: NodeId, right: NodeId) -> bool {
        let zone = |node| self.nodes.get(&node).map(|node| node.zone.as_str()).filter(|zone| !zone.is_empty());
        left == right || zone(left).is_some_and(|left| zone(right) == Some(left))
    }

    /// Whether the group has a majority on nodes that are there, before and after the change (META-7).
    pub(crate) fn keeps_majority(&self, group: &GroupPlacement<'_>, change: PlannedChange) -> bool {
        let before: BTreeSet<NodeId> = group.replicas.iter().map(|placement| placement.node).collect();
        let staying = before.iter().copied().filter(|node| Some(*node) != change.remove);
        let after: BTreeSet<NodeId> = staying.chain(change.add).collect();
        let is_kept =
            |nodes: &BTreeSet<NodeId>| nodes.iter().filter(|node| self.is_there(**node)).count() > nodes.len() / 2;
        is_kept(&before) && is_kept(&after)
    }

    /// Whether a move would put more replicas of the group into a zone than must be.
    pub(crate) fn crowds(&self, group: &GroupPlacement<'_>, from: NodeId, to: NodeId) -> bool {
        let others = group.replicas.iter().map(|placement| placement.node).filter(|node| *node != from);
        let in_zone = others.filter(|node| self.same_zone(*node, to)).count();
        let limit = zone_limit_of(&self.places, group.replicas.len());
        !self.same_zone(from, to) && in_zone >= limit
    }
}
