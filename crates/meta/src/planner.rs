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
//! - A node without room is the last choice, too, and nothing is started that would come to it. What has been, and is
//!   not decided, keeps nothing else from starting. It waits, or gets on: that is not seen here, so it is for others to
//!   cancel what another node could take ([`crate::held_up`]). Nothing leaves a node because it is full.
//! - Replicas are added before they are removed, in one joint change. A replica is only removed without another in
//!   its place when there is no node for one, or when the group has too many.
//! - No change is started in a group without a majority on nodes that are there, and none that would leave it so.
//! - The placement keeps what is within its tolerance: planning again starts nothing new.

use std::collections::{BTreeMap, BTreeSet};

use strata_types::limits::{META_REPLICAS_MAX, REPLICAS_PER_SHARD};
use strata_types::{ChangeId, ChangeReason, GroupId, GroupPlacement, NodeId, NodeState, ShardMap};

use crate::budget::Budget;
use crate::placement::{place_group, place_replicas};
use crate::survey::{NOBODY, Survey};

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
    /// Changes that wait: for the limits, for the group's present or next change, for a majority, or for room.
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
    plan_around(map, limits, &NOBODY)
}

/// The same, while these nodes have no room for more replicas (META-11).
pub fn plan_around(map: &ShardMap, limits: PlanLimits, full: &BTreeSet<NodeId>) -> Plan {
    let survey = Survey::new(map, full);
    let mut plan = Plan::default();
    let mut budget = Budget::new(limits);
    let mut projected = Vec::new();
    for group in map.groups().filter(|group| !group.replicas.is_empty()) {
        let is_outdated = survey.is_outdated(&group);
        if let Some(change) = group.changes.change {
            if is_outdated && !change.cancelled {
                plan.cancel.push((group.group, change.id));
            }
            if survey.has_majority(&group) && !survey.waits_for_room(&group) {
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

impl Survey<'_> {
    /// Where the replicas of each group should be.
    fn targets(&self, projected: &[(GroupPlacement<'_>, Vec<NodeId>)]) -> BTreeMap<GroupId, Vec<NodeId>> {
        let of_shard =
            |(group, members): &(GroupPlacement<'_>, Vec<NodeId>)| Some((group.group.shard()?, members.clone()));
        let present = projected.iter().filter_map(of_shard).collect();
        let blocked = projected.iter().filter_map(|(group, _)| Some((group.group.shard()?, self.blocked(group))));
        let blocked = blocked.filter(|(_, nodes)| !nodes.is_empty()).collect();
        // There is no placement when no node takes or keeps anything: then nothing is planned either.
        let placed = place_replicas(&self.places, &present, &blocked).unwrap_or_default();
        let mut targets: BTreeMap<_, _> =
            placed.into_iter().map(|(shard, nodes)| (GroupId::of_shard(shard), nodes)).collect();
        if let Some((meta, members)) = projected.iter().find(|(group, _)| group.group == GroupId::META) {
            let mut members = members.clone();
            // Should there be too many, those on nodes that are about to stop are dispensable first.
            members.sort_by_key(|node| !self.state(*node).takes());
            let wished = self.wished_replicas(meta.group);
            if let Ok(nodes) = place_group(&self.places, members, self.blocked(meta), wished) {
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
        let blocked = self.blocked(group);
        let company = |node: NodeId| self.company(members, remove, node);
        let add = missing.iter().copied().min_by_key(|node| (blocked.contains(node), company(*node)))?;
        let reason = remove.map_or(ChangeReason::TooFew, |node| self.reason(members, target, node));
        Some(PlannedChange { group: group.group, add: Some(add), remove, reason })
    }

    /// A replica goes and none comes: there is no node for one, or the group has too many.
    pub(crate) fn removal(
        &self,
        group: &GroupPlacement<'_>,
        members: &[NodeId],
        node: NodeId,
    ) -> Option<PlannedChange> {
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
        let is_blocked = change.add.is_some_and(|node| self.blocked(group).contains(&node));
        group.changes.change.is_none() && !is_blocked && self.keeps_majority(group, change)
    }
}
