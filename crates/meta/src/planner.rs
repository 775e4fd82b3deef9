//! Which changes of groups the state of the nodes asks for, most urgent ones first.
//!
//! ```text
//!   map --> projected: as if the changes under way were done --> placement --> difference, one change for each group
//!                                                                                    |
//!       cancel: changes whose new node cannot take its replica any more              v
//!       start:  those that the limits allow       <----  lost nodes, removals, crowded zones, uneven loads
//!       waiting: the others, and those of groups that cannot change now
//! ```
//! - A group gets its next change when the present one is over and the target has deleted what it had of the group.
//!   Meanwhile that node is the last choice.
//! - Replicas are added before they are removed, in one joint change. A replica is only removed without another in
//!   its place when there is no node for one, or when the group has too many.
//! - No change is started in a group without a majority on nodes that are there, and none that would leave it so.
//! - The placement keeps what is within its tolerance: planning again starts nothing new.

use std::collections::{BTreeMap, BTreeSet};

use strata_types::limits::{META_REPLICAS_MAX, REPLICAS_PER_SHARD};
use strata_types::{ChangeId, ChangeReason, GroupId, GroupPlacement, NodeDescriptor, NodeId, NodeState, ShardMap};

use crate::budget::Budget;
use crate::changes::is_possible;
use crate::placement::{PlacementNode, place_group, place_replicas};
use crate::shares::zone_limit_of;

/// How many changes may be under way at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanLimits {
    /// In all.
    pub changes: u32,
    /// To one node, and also from one node.
    pub per_node: u32,
}

/// A change that ought to be made: `add` gets a replica of the group, and `remove` gives its one up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedChange {
    /// The group.
    pub group: GroupId,
    /// The node that gets a replica.
    pub add: Option<NodeId>,
    /// The node that loses its replica.
    pub remove: Option<NodeId>,
    /// Why.
    pub reason: ChangeReason,
}

/// What is to be done about a map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Changes under way that are no longer to be made.
    pub cancel: Vec<(GroupId, ChangeId)>,
    /// Changes to start now, most urgent ones first.
    pub start: Vec<PlannedChange>,
    /// Changes that wait: for the limits, for the group's present or next change, or for a majority.
    pub waiting: Vec<PlannedChange>,
}

impl PlanLimits {
    /// As many changes as there are.
    pub const NONE: PlanLimits = PlanLimits { changes: u32::MAX, per_node: u32::MAX };
}

impl Plan {
    /// Whether there is nothing to propose.
    pub fn is_empty(&self) -> bool {
        self.cancel.is_empty() && self.start.is_empty()
    }
}

/// What the machine would do about this map now. Also for looking before proposing.
pub fn plan(map: &ShardMap, limits: PlanLimits) -> Plan {
    let survey = Survey::new(map);
    let mut plan = Plan::default();
    let mut budget = Budget::new(limits);
    let mut projected = Vec::new();
    for group in map.groups().filter(|group| !group.replicas.is_empty()) {
        let is_outdated = survey.is_outdated(&group);
        if let Some(change) = group.changes.change {
            if is_outdated && !change.cancelled {
                plan.cancel.push((group.group, change.id));
            }
            if survey.has_majority(&group) {
                budget.spend(survey.under_way(&group));
            }
        }
        projected.push((group, survey.projected(&group, is_outdated)));
    }
    let targets = survey.targets(&projected);
    let mut wished = Vec::new();
    for (group, mut members) in projected {
        let Some(target) = targets.get(&group.group) else { continue };
        let mut is_next = true;
        while let Some(change) = survey.next_change(&group, &members, target) {
            wished.push((survey.urgency(&members, &change), group, is_next, change));
            members.retain(|node| Some(*node) != change.remove);
            members.extend(change.add);
            is_next = false;
        }
    }
    wished.sort_by_key(|(urgency, group, is_next, _)| (*urgency, group.group, !is_next));
    for (_, group, is_next, change) in wished {
        match is_next && survey.can_start(&group, change) && budget.allows(change) {
            true => {
                budget.spend(change);
                plan.start.push(change);
            }
            false => plan.waiting.push(change),
        }
    }
    plan
}

/// Everything that is known of a map's nodes.
pub(crate) struct Survey<'a> {
    nodes: BTreeMap<NodeId, &'a NodeDescriptor>,
    places: Vec<PlacementNode>,
}

impl<'a> Survey<'a> {
    pub(crate) fn new(map: &'a ShardMap) -> Survey<'a> {
        let places: Vec<_> = map.nodes.iter().map(PlacementNode::of).filter(|node| node.weight > 0).collect();
        Survey { nodes: map.nodes.iter().map(|node| (node.id, node)).collect(), places }
    }

    fn state(&self, node: NodeId) -> NodeState {
        self.nodes.get(&node).map_or(NodeState::Removed, |node| node.state)
    }

    fn is_there(&self, node: NodeId) -> bool {
        self.state(node).is_counted_on()
    }

    /// Whether the change under way should not be made any more: the new replica's node cannot take it, or the removed
    /// one's node is back before the new one has caught up.
    fn is_outdated(&self, group: &GroupPlacement<'_>) -> bool {
        let Some(change) = group.changes.change else { return false };
        let removed = change.remove.and_then(|replica| group.find(replica));
        let was_leaving = matches!(change.reason, ChangeReason::NodeLost | ChangeReason::NodeRemoving);
        let is_back = was_leaving && removed.is_some_and(|placement| self.state(placement.node).keeps());
        let is_impossible = change.add.is_some_and(|add| !is_possible(group, self.state(add.node)));
        is_impossible || (is_back && !change.is_decided())
    }

    fn has_majority(&self, group: &GroupPlacement<'_>) -> bool {
        let there = group.replicas.iter().filter(|placement| self.is_there(placement.node)).count();
        there > group.replicas.len() / 2
    }

    /// The change under way, by nodes.
    fn under_way(&self, group: &GroupPlacement<'_>) -> PlannedChange {
        let removed = group.changes.removed().and_then(|replica| group.find(replica));
        PlannedChange {
            group: group.group,
            add: group.changes.added().map(|placement| placement.node),
            remove: removed.map(|placement| placement.node),
            reason: group.changes.change.map_or(ChangeReason::Balance, |change| change.reason),
        }
    }

    /// The nodes of the group once the change under way is over.
    fn projected(&self, group: &GroupPlacement<'_>, is_outdated: bool) -> Vec<NodeId> {
        let change = group.changes.change.filter(|change| !change.cancelled && !is_outdated);
        let remove = change.and_then(|change| change.remove);
        let staying = group.replicas.iter().filter(|placement| Some(placement.replica) != remove);
        staying.chain(change.and_then(|change| change.add).as_ref()).map(|placement| placement.node).collect()
    }

    /// Where the replicas of each group should be.
    fn targets(&self, projected: &[(GroupPlacement<'_>, Vec<NodeId>)]) -> BTreeMap<GroupId, Vec<NodeId>> {
        let of_shard =
            |(group, members): &(GroupPlacement<'_>, Vec<NodeId>)| Some((group.group.shard()?, members.clone()));
        let present = projected.iter().filter_map(of_shard).collect();
        let left = projected.iter().filter(|(group, _)| !group.changes.leaving.is_empty());
        let left = left.filter_map(|(group, _)| Some((group.group.shard()?, leaving(group)))).collect();
        // There is no placement when no node takes or keeps anything: then nothing is planned either.
        let placed = place_replicas(&self.places, &present, &left).unwrap_or_default();
        let mut targets: BTreeMap<_, _> =
            placed.into_iter().map(|(shard, nodes)| (GroupId::of_shard(shard), nodes)).collect();
        if let Some((meta, members)) = projected.iter().find(|(group, _)| group.group == GroupId::META) {
            let mut members = members.clone();
            // Should there be too many, those on nodes that are about to stop are dispensable first.
            members.sort_by_key(|node| !self.state(*node).takes());
            let wished = self.wished_replicas(meta.group);
            if let Ok(nodes) = place_group(&self.places, members, leaving(meta), wished) {
                targets.insert(GroupId::META, nodes);
            }
        }
        targets
    }

    /// How many replicas a group should have.
    fn wished_replicas(&self, group: GroupId) -> usize {
        match group {
            GroupId::META if self.places.len() >= META_REPLICAS_MAX => META_REPLICAS_MAX,
            _ => REPLICAS_PER_SHARD.min(self.places.len()),
        }
    }

    /// The next step from the members to the target, if there is a safe one.
    fn next_change(&self, group: &GroupPlacement<'_>, members: &[NodeId], target: &[NodeId]) -> Option<PlannedChange> {
        let mut surplus: Vec<NodeId> = members.iter().copied().filter(|node| !target.contains(node)).collect();
        surplus.sort_by_key(|node| self.reluctance(*node));
        let missing: Vec<NodeId> = target.iter().copied().filter(|node| !members.contains(node)).collect();
        if missing.is_empty() {
            return surplus.into_iter().find_map(|node| self.removal(group, members, node));
        }
        let remove = surplus.first().copied();
        let is_left = |node| leaving(group).contains(&node);
        let add = missing.iter().copied().min_by_key(|node| (is_left(*node), self.company(members, remove, *node)))?;
        let reason = remove.map_or(ChangeReason::TooFew, |node| self.reason(members, target, node));
        Some(PlannedChange { group: group.group, add: Some(add), remove, reason })
    }

    /// A replica goes and none comes: there is no node for one, or the group has too many.
    fn removal(&self, group: &GroupPlacement<'_>, members: &[NodeId], node: NodeId) -> Option<PlannedChange> {
        let there = members.iter().filter(|member| self.is_there(**member)).count();
        let is_enough = there >= self.wished_replicas(group.group).max(REPLICAS_PER_SHARD);
        let reason = match self.state(node) {
            // It may come back, and is worth more than nothing until there is another.
            NodeState::Lost if !is_enough => return None,
            NodeState::Lost | NodeState::Gone => ChangeReason::NodeLost,
            NodeState::Removing => ChangeReason::NodeRemoving,
            _ => ChangeReason::TooMany,
        };
        let staying = there - usize::from(self.is_there(node));
        let is_safe = staying > (members.len() - 1) / 2;
        is_safe.then_some(PlannedChange { group: group.group, add: None, remove: Some(node), reason })
    }

    /// The order in which replicas go: those that are lost first.
    fn reluctance(&self, node: NodeId) -> u8 {
        match self.state(node) {
            NodeState::Lost | NodeState::Gone | NodeState::Removed => 0,
            NodeState::Removing => 1,
            _ => 2,
        }
    }

    /// How many other members are in the zone of a node that is to be added.
    fn company(&self, members: &[NodeId], remove: Option<NodeId>, node: NodeId) -> usize {
        let others = members.iter().filter(|member| Some(**member) != remove);
        others.filter(|member| self.same_zone(**member, node)).count()
    }

    fn same_zone(&self, left: NodeId, right: NodeId) -> bool {
        let zone = |node| self.nodes.get(&node).map(|node| node.zone.as_str()).filter(|zone| !zone.is_empty());
        left == right || zone(left).is_some_and(|left| zone(right) == Some(left))
    }

    fn reason(&self, members: &[NodeId], target: &[NodeId], removed: NodeId) -> ChangeReason {
        let in_zone = |nodes: &[NodeId]| nodes.iter().filter(|node| self.same_zone(**node, removed)).count();
        match self.state(removed) {
            NodeState::Lost | NodeState::Gone | NodeState::Removed => ChangeReason::NodeLost,
            NodeState::Removing => ChangeReason::NodeRemoving,
            _ if in_zone(members) > 1 && in_zone(target) < in_zone(members) => ChangeReason::Zone,
            _ => ChangeReason::Balance,
        }
    }

    /// Lower is more urgent: kind of trouble, then how few replicas are there.
    fn urgency(&self, members: &[NodeId], change: &PlannedChange) -> (u8, usize) {
        let there = members.iter().filter(|node| self.is_there(**node)).count();
        let kind = match change.reason {
            ChangeReason::TooFew | ChangeReason::NodeLost | ChangeReason::Damaged => 0,
            ChangeReason::NodeRemoving => 1,
            ChangeReason::Zone | ChangeReason::TooMany => 2,
            _ => 3,
        };
        (kind, there)
    }

    fn can_start(&self, group: &GroupPlacement<'_>, change: PlannedChange) -> bool {
        let is_left = |node| leaving(group).contains(&node);
        group.changes.change.is_none() && !change.add.is_some_and(is_left) && self.keeps_majority(group, change)
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

/// The nodes that have yet to delete a former replica of the group.
fn leaving(group: &GroupPlacement<'_>) -> Vec<NodeId> {
    group.changes.leaving.iter().map(|placement| placement.node).collect()
}
