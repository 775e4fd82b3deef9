//! Replicas that have to leave their node, and have nowhere to go, or go where there is no room.

use std::collections::BTreeSet;

use strata_types::{ChangeId, GroupId, GroupPlacement, NodeId, ReplicaPlacement, ShardMap};

use crate::survey::Survey;

/// What keeps the replicas of a node that goes, or is lost, from being replaced, in words; none if nothing does,
/// or if the node keeps its replicas. Who asks names the nodes without room.
pub fn stranded(map: &ShardMap, node: NodeId, full: &BTreeSet<NodeId>) -> Option<String> {
    if map.node(node).is_none_or(|node| node.state.keeps()) {
        return None;
    }
    let survey = Survey::new(map, full);
    let stranded = map.groups().filter(|group| survey.is_stranded(group, node)).count();
    let waiting = map.groups().filter(|group| survey.awaits_room(group, node)).count();
    let mut said = Vec::new();
    if stranded > 0 {
        said.push(format!(
            "no other node can take {stranded} of its replicas: each has a replica of the same shard already, takes \
             none, or has no room; start one more node, or make room"
        ));
    }
    if waiting > 0 {
        said.push(format!(
            "what replaces {waiting} of its replicas waits at a node without room; start one more node, or make room"
        ));
    }
    (!said.is_empty()).then(|| said.join("; "))
}

/// Changes to nodes without room whose new replicas another node could take. A node may have room again for what is on
/// its way there before it has some for more: who knows which of them do not get on has those cancelled.
pub fn held_up(map: &ShardMap, full: &BTreeSet<NodeId>) -> Vec<(GroupId, ChangeId)> {
    let survey = Survey::new(map, full);
    let groups = map.groups().filter(|group| survey.is_held_up(group));
    let changes = groups.filter_map(|group| Some((group.group, group.changes.change?)));
    changes.filter(|(_, change)| !change.cancelled).map(|(group, change)| (group, change.id)).collect()
}

impl Survey<'_> {
    /// Whether the node has a replica of the group that is not being replaced, and cannot be as things are.
    fn is_stranded(&self, group: &GroupPlacement<'_>, node: NodeId) -> bool {
        let is_staying = |placement: &ReplicaPlacement| group.changes.removed() != Some(placement.replica);
        let mut here = group.replicas.iter().filter(|placement| placement.node == node);
        if !here.any(is_staying) {
            return false;
        }
        let able: Vec<NodeId> = self.able(group).collect();
        let members: Vec<NodeId> = group.replicas.iter().map(|placement| placement.node).collect();
        // Where no node could take it, the group may go on with a replica less.
        match able.is_empty() {
            true => self.removal(group, &members, node).is_none(),
            false => able.iter().all(|node| self.is_full(*node)),
        }
    }

    /// Whether the replica that takes the place of the node's one waits for room, and no other node has some.
    fn awaits_room(&self, group: &GroupPlacement<'_>, node: NodeId) -> bool {
        let removed = group.changes.removed().and_then(|replica| group.find(replica));
        let is_replaced = removed.is_some_and(|placement| placement.node == node);
        is_replaced && self.waits_for_room(group) && !self.is_outdated(group) && !self.is_held_up(group)
    }
}
