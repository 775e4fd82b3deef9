//! What the leader of the meta group does about replicas that refuse to serve, and about changes that keep their groups
//! from being repaired.
//!
//! ```text
//!   damaged, nothing under way in the group                     --> Rebuild; where its node leaves, it goes first
//!   the group is to lose a replica, too few good ones stay      --> CancelChange; then Rebuild
//!   the group is to get the damaged one                         --> CancelChange; then the planner starts with another
//!   the new replica does not get on, and a member is damaged    --> CancelChange; then Rebuild
//!   the same, and the node of one that stays was given up       --> CancelChange; then the planner replaces that one
//!   it does not get on, and another node has room for it        --> CancelChange; then the planner takes it there
//! ```
//! A group of three that loses a good replica while another is damaged has no majority among those that are left. Its
//! leader does not begin such a change (CLUSTER-6), so without a cancellation both would wait for each other for ever.
//! The planner does not start it again when it knows of a lost node; a damaged replica is built anew first.
//!
//! A new replica that does not get on, for want of room most often, may never. Where another node has room it goes to
//! that one (`strata_meta::held_up`); one that gets on is left alone, although its node may say for a while yet that it
//! is full. Where none has, it is waited for as long as all members are well, since another move would help nobody.

use std::collections::{BTreeMap, BTreeSet};

use strata_meta::PlanLimits;
use strata_types::{ChangeId, GroupId, GroupPlacement, NodeId, ReplicaChange, ReplicaId, ShardMap};

use crate::report::NodeReport;

/// A replica that its node calls damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Damaged {
    pub(crate) group: GroupId,
    pub(crate) replica: ReplicaId,
    pub(crate) node: NodeId,
}

impl Damaged {
    /// Whether it is a member of its group, or about to be.
    pub(crate) fn is_member(&self, map: &ShardMap) -> bool {
        let group = map.group(self.group);
        let own = (self.replica, self.node);
        group.is_some_and(|group| {
            let mut all = group.replicas.iter().copied().chain(group.changes.added());
            all.any(|place| (place.replica, place.node) == own)
        })
    }
}

/// How many groups have a change under way that is as wanted.
pub(crate) fn changes_under_way(map: &ShardMap, wanted: impl Fn(Option<NodeId>) -> bool) -> usize {
    let changes = map.groups().filter_map(|group| group.changes.change);
    changes.filter(|change| wanted(change.add.map(|add| add.node))).count()
}

/// All that are called so.
pub(crate) fn damaged(reports: &BTreeMap<NodeId, Option<NodeReport>>) -> Vec<Damaged> {
    let groups = reports.iter().flat_map(|(id, report)| report.iter().map(move |report| (*id, report)));
    let groups = groups.flat_map(|(id, report)| report.groups.iter().map(move |group| (id, group)));
    let damaged = groups.filter(|(_, group)| group.is_damaged);
    damaged.map(|(node, one)| Damaged { group: one.group, replica: one.replica, node }).collect()
}

/// Changes whose new replica is not there or waits for something, or has no room, although its node answers.
pub(crate) fn obstructed(map: &ShardMap, reports: &BTreeMap<NodeId, Option<NodeReport>>) -> BTreeSet<ChangeId> {
    let obstructed = map.groups().filter_map(|group| {
        let change = group.changes.change?;
        let add = change.add?;
        let report = reports.get(&add.node)?.as_ref()?;
        let replica = report.replica(group.group, add.replica);
        let gets_on = report.has_room() && replica.is_some_and(|replica| replica.problem.is_none());
        (!gets_on).then_some(change.id)
    });
    obstructed.collect()
}

/// Changes that take a replica from a group, bring none, and would leave it without a majority that is good; those that
/// bring a damaged one, which never catches up; and those that are stuck while the group has another need.
pub(crate) fn in_the_way(map: &ShardMap, damaged: &[Damaged], stuck: &BTreeSet<ChangeId>) -> Vec<(GroupId, ChangeId)> {
    let is_there = |node| map.node(node).is_some_and(|node| node.state.is_counted_on());
    let keeps = |node| map.node(node).is_some_and(|node| node.state.keeps());
    let is_damaged = |replica| damaged.iter().any(|one| one.replica == replica);
    let harmful = map.groups().filter_map(|group| {
        let change = group.changes.change.filter(|change| !change.cancelled)?;
        if let Some(add) = change.add {
            let is_worth_it = group.replicas.iter().any(|place| {
                let can_be_rebuilt = is_damaged(place.replica) && keeps(place.node);
                can_be_rebuilt || (change.remove != Some(place.replica) && !is_there(place.node))
            });
            let is_given_up = is_worth_it && stuck.contains(&change.id) && can_be_given_up(&group, &change);
            return (is_damaged(add.replica) || is_given_up).then_some((group.group, change.id));
        }
        let staying = || group.replicas.iter().filter(|place| Some(place.replica) != change.remove);
        let good = staying().filter(|place| is_there(place.node) && !is_damaged(place.replica)).count();
        (good * 2 <= staying().count()).then_some((group.group, change.id))
    });
    harmful.collect()
}

/// Whether the members may still stay as they are, and the new replica may come to another node: it is not one that is
/// built anew.
fn can_be_given_up(group: &GroupPlacement<'_>, change: &ReplicaChange) -> bool {
    let removed = change.remove.and_then(|replica| group.find(replica)).map(|place| place.node);
    !change.is_decided() && removed != change.add.map(|add| add.node)
}

/// Members that may be replaced now, within the limits. A change that waits at a full node keeps nobody elsewhere from
/// being replaced.
pub(crate) fn to_rebuild(
    map: &ShardMap,
    damaged: &[Damaged],
    limits: PlanLimits,
    full: &BTreeSet<NodeId>,
) -> Vec<(GroupId, ReplicaId)> {
    let mut found: Vec<(GroupId, ReplicaId)> = Vec::new();
    if damaged.is_empty() {
        return found;
    }
    let going_on = changes_under_way(map, |to| to.is_none_or(|to| !full.contains(&to)));
    let mut left = (limits.changes as usize).saturating_sub(going_on);
    let mut of_nodes: BTreeMap<NodeId, usize> = BTreeMap::new();
    for one in damaged.iter().filter(|one| one.is_member(map)) {
        let under_way = || changes_under_way(map, |to| to == Some(one.node));
        let of_node =
            of_nodes.entry(one.node).or_insert_with(|| (limits.per_node as usize).saturating_sub(under_way()));
        let is_free = map.group(one.group).is_some_and(|group| group.changes.change.is_none());
        let is_taken = found.iter().any(|(group, _)| *group == one.group);
        if is_free && !is_taken && *of_node > 0 && left > 0 {
            (*of_node, left) = (*of_node - 1, left - 1);
            found.push((one.group, one.replica));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use strata_types::{ChangeReason, NodeDescriptor, NodeState, ReplicaPlacement, ShardId, ShardPlacement, Term};

    use super::*;
    use crate::report::{GroupReport, Room};

    fn map(shards: u32) -> ShardMap {
        let shard = |shard: u32| ShardPlacement {
            shard: ShardId(shard),
            replicas: (1..=3)
                .map(|node| ReplicaPlacement { replica: ReplicaId(u64::from(shard) * 10 + node), node: NodeId(node) })
                .collect(),
            ..ShardPlacement::default()
        };
        let node = |id| NodeDescriptor { id: NodeId(id), ..NodeDescriptor::default() };
        ShardMap { nodes: (1..=3).map(node).collect(), shards: (0..shards).map(shard).collect(), ..ShardMap::default() }
    }

    fn report(replicas: &[(u32, u64)]) -> Option<NodeReport> {
        let group = |&(shard, replica): &(u32, u64)| GroupReport {
            group: GroupId::of_shard(ShardId(shard)),
            replica: ReplicaId(replica),
            is_damaged: true,
            problem: Some("damaged file".into()),
            ..GroupReport::default()
        };
        Some(NodeReport { groups: replicas.iter().map(group).collect(), ..NodeReport::default() })
    }

    const LIMITS: PlanLimits = PlanLimits { changes: 8, per_node: 2 };

    fn found(map: &ShardMap, reports: &BTreeMap<NodeId, Option<NodeReport>>) -> Vec<(GroupId, ReplicaId)> {
        to_rebuild(map, &damaged(reports), LIMITS, &BTreeSet::new())
    }

    fn shards(found: Vec<(GroupId, ReplicaId)>) -> Vec<u32> {
        found.into_iter().filter_map(|(group, _)| group.shard()).map(|shard| shard.0).collect()
    }

    #[test]
    fn damaged_members_are_built_anew_a_few_at_a_time() {
        let mut map = map(8);
        let all = |node: u64| report(&(0..8).map(|shard| (shard, u64::from(shard) * 10 + node)).collect::<Vec<_>>());
        let reports = BTreeMap::from([(NodeId(1), all(1)), (NodeId(2), None), (NodeId(3), all(3))]);
        assert_eq!(shards(found(&map, &reports)), [0, 1, 2, 3], "two on each node, and one of a group");
        map.shards[0].changes.change = Some(ReplicaChange {
            id: ChangeId(1),
            add: Some(ReplicaPlacement { replica: ReplicaId(99), node: NodeId(3) }),
            remove: Some(ReplicaId(3)),
            reason: ChangeReason::Damaged,
            cancelled: false,
            decided: Term(0),
        });
        assert_eq!(shards(found(&map, &reports)), [1, 2, 3], "a group that changes waits, and counts");
        let coming = Damaged { group: GroupId::of_shard(ShardId(0)), replica: ReplicaId(99), node: NodeId(3) };
        assert!(coming.is_member(&map) && !Damaged { node: NodeId(2), ..coming }.is_member(&map));
        let limits = PlanLimits { changes: 1, ..LIMITS };
        let found_around = |full| shards(to_rebuild(&map, &damaged(&reports), limits, &full));
        assert_eq!(found_around(BTreeSet::new()), [0_u32; 0], "one is under way");
        assert_eq!(found_around(BTreeSet::from([NodeId(3)])), [1], "it waits for room");
    }

    #[test]
    fn what_is_no_member_or_not_damaged_stays_as_it_is() {
        let map = map(1);
        let found = |node, report| found(&map, &BTreeMap::from([(NodeId(node), report)]));
        assert_eq!(found(1, report(&[(0, 1)])).len(), 1);
        assert_eq!(found(1, report(&[(0, 7)])), [], "it left");
        assert_eq!(found(2, report(&[(0, 1)])), [], "not its replica");
        assert_eq!(found(1, report(&[(5, 1)])), [], "no such group");
        let mut stopped = report(&[(0, 1)]).expect("some");
        stopped.groups[0].is_damaged = false;
        assert_eq!(found(1, Some(stopped)), [], "it only stops");
    }

    #[test]
    fn a_group_with_a_damaged_member_loses_no_other_one_before_that_is_built_anew() {
        let mut map = map(1);
        let removal = |remove, add| ReplicaChange {
            id: ChangeId(7),
            add,
            remove: Some(ReplicaId(remove)),
            reason: ChangeReason::NodeRemoving,
            cancelled: false,
            decided: Term(3),
        };
        let mut with = |change| {
            map.shards[0].changes.change = Some(change);
            in_the_way(&map, &damaged(&BTreeMap::from([(NodeId(1), report(&[(0, 1)]))])), &BTreeSet::new())
        };
        assert_eq!(with(removal(2, None)), [(GroupId::of_shard(ShardId(0)), ChangeId(7))]);
        assert_eq!(with(ReplicaChange { cancelled: true, ..removal(2, None) }), []);
        assert_eq!(with(removal(1, None)), [], "it is the damaged one that goes");
        let add = ReplicaPlacement { replica: ReplicaId(99), node: NodeId(4) };
        assert_eq!(with(removal(2, Some(add))), [], "three are left, two of them good");
        let damaged_add = ReplicaPlacement { replica: ReplicaId(1), node: NodeId(1) };
        assert_eq!(with(removal(2, Some(damaged_add))).len(), 1, "it would never catch up");
        map.shards[0].changes.change = Some(removal(2, None));
        assert_eq!(in_the_way(&map, &[], &BTreeSet::new()), []);
        map.nodes[2].state = NodeState::Lost;
        assert_eq!(in_the_way(&map, &[], &BTreeSet::new()).len(), 1, "no node is there for the last one");
        map.shards[0].changes.change = Some(removal(3, None));
        assert_eq!(in_the_way(&map, &[], &BTreeSet::new()), []);
    }

    #[test]
    fn a_change_that_does_not_get_on_is_given_up_when_a_member_needs_repair() {
        let mut map = map(1);
        map.nodes.push(NodeDescriptor { id: NodeId(4), ..NodeDescriptor::default() });
        let group = GroupId::of_shard(ShardId(0));
        let add = ReplicaPlacement { replica: ReplicaId(99), node: NodeId(4) };
        let change = ReplicaChange {
            id: ChangeId(7),
            add: Some(add),
            remove: Some(ReplicaId(2)),
            reason: ChangeReason::Balance,
            cancelled: false,
            decided: Term(0),
        };
        map.shards[0].changes.change = Some(change);
        let waits = |problem: Option<&str>| {
            let (replica, problem) = (add.replica, problem.map(str::to_owned));
            let groups = vec![GroupReport { group, replica, problem, ..GroupReport::default() }];
            Some(NodeReport { groups, ..NodeReport::default() })
        };
        let obstructed_by = |report| obstructed(&map, &BTreeMap::from([(NodeId(4), report)]));
        let stuck = BTreeSet::from([ChangeId(7)]);
        assert_eq!(obstructed_by(waits(Some("there is no room"))), stuck);
        assert_eq!(obstructed_by(Some(NodeReport::default())), stuck, "it could not be opened");
        let full = waits(None).map(|report| NodeReport { room: Room::No, ..report });
        assert_eq!(obstructed_by(full), stuck);
        assert_eq!(obstructed_by(waits(None)), BTreeSet::new(), "it only takes long");
        assert_eq!(obstructed_by(None), BTreeSet::new(), "its node may only restart");

        let broken = |replica| Damaged { group, replica: ReplicaId(replica), node: NodeId(replica) };
        let given_up = [(group, ChangeId(7))];
        assert_eq!(in_the_way(&map, &[], &stuck), [], "another move would help nobody");
        assert_eq!(in_the_way(&map, &[broken(1)], &BTreeSet::new()), []);
        assert_eq!(in_the_way(&map, &[broken(1)], &stuck), given_up);
        assert_eq!(in_the_way(&map, &[broken(2)], &stuck), given_up, "it can be built anew where it is");
        map.nodes[1].state = NodeState::Lost;
        assert_eq!(in_the_way(&map, &[broken(2)], &stuck), [], "it is being replaced");
        map.nodes[0].state = NodeState::Lost;
        assert_eq!(in_the_way(&map, &[], &stuck), given_up, "nobody replaces that one");
        map.shards[0].changes.change = Some(ReplicaChange { decided: Term(3), ..change });
        assert_eq!(in_the_way(&map, &[], &stuck), [], "the members may have changed");
        let add = Some(ReplicaPlacement { node: NodeId(2), ..add });
        map.shards[0].changes.change = Some(ReplicaChange { add, ..change });
        assert_eq!(in_the_way(&map, &[], &stuck), [], "it has no other node");
    }
}
