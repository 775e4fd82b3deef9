//! Changes of a group's members: one at a time, begun by this machine, carried out and reported by the group's leader.

use strata_types::{
    ChangeId, ChangeReason, GroupId, GroupPlacement, NodeId, NodeState, ReplicaChange, ReplicaId, ReplicaPlacement,
    ShardId, ShardMap, Term,
};

use crate::MetaRefusal;
use crate::nodes::is_rebuilt;
use crate::planner::{PlanLimits, PlannedChange, plan};
use crate::refusal::name;
use crate::state::State;
use crate::survey::{NOBODY, Survey};

/// Begins a planned change, unless there is one (META-6).
pub(crate) fn start(state: &mut State, planned: PlannedChange) -> Result<ChangeId, MetaRefusal> {
    let add = planned.add.map(|node| ReplicaPlacement { replica: state.take_replica_id(), node });
    let id = state.take_change_id();
    let group = planned.group;
    let (replicas, changes) = state.group_mut(group)?;
    if let Some(present) = changes.change {
        return Err(MetaRefusal::Busy { group, change: present.id });
    }
    let of_node = |node| replicas.iter().find(|placement| placement.node == node).map(|placement| placement.replica);
    let remove = planned.remove.and_then(of_node);
    changes.change =
        Some(ReplicaChange { id, add, remove, reason: planned.reason, cancelled: false, decided: Term(0) });
    Ok(id)
}

/// The change of a group, if this is the present one.
fn present(state: &mut State, group: GroupId, change: ChangeId) -> Result<ReplicaChange, MetaRefusal> {
    let (_, changes) = state.group_mut(group)?;
    changes.change.filter(|present| present.id == change).ok_or(MetaRefusal::StaleChange { group, change })
}

/// The group's leader may begin to change the members.
pub(crate) fn decide(state: &mut State, group: GroupId, id: ChangeId, term: Term) -> Result<(), MetaRefusal> {
    if term == Term(0) {
        return MetaRefusal::because(format!("a leader has a term: shard=`{}` change=`{id}`", name(group)));
    }
    if present_to(state, group, id, term)?.cancelled {
        return Err(MetaRefusal::Cancelled { group, change: id });
    }
    if let Some(change) = &mut state.group_mut(group)?.1.change {
        change.decided = term;
    }
    Ok(())
}

/// The change of a group, if this is the present one and no later leader has decided it.
fn present_to(state: &mut State, group: GroupId, id: ChangeId, term: Term) -> Result<ReplicaChange, MetaRefusal> {
    let change = present(state, group, id)?;
    match change.decided > term {
        true => Err(MetaRefusal::Decided { group, change: id, term: change.decided }),
        false => Ok(change),
    }
}

/// The members of the group are what the change makes them.
pub(crate) fn finish(state: &mut State, group: GroupId, id: ChangeId) -> Result<(), MetaRefusal> {
    let change = present(state, group, id)?;
    if !change.is_decided() {
        return MetaRefusal::because(format!(
            "this change was not decided, so the members cannot have changed: shard=`{}` change=`{id}`",
            name(group)
        ));
    }
    let (replicas, changes) = state.group_mut(group)?;
    let (removed, mut staying): (Vec<_>, Vec<_>) =
        replicas.iter().partition(|placement| Some(placement.replica) == change.remove);
    // The newcomer goes last: whoever leads by preference goes on, if it can.
    staying.extend(change.add);
    *replicas = staying;
    changes.leaving.extend(removed);
    changes.change = None;
    changes.generation += 1;
    state.settle();
    state.even_leaders();
    Ok(())
}

/// The members of the group stay what they are.
pub(crate) fn abandon(state: &mut State, group: GroupId, id: ChangeId, term: Term) -> Result<(), MetaRefusal> {
    let change = present_to(state, group, id, term)?;
    let (_, changes) = state.group_mut(group)?;
    changes.leaving.extend(change.add);
    changes.change = None;
    state.settle();
    state.even_leaders();
    Ok(())
}

/// Asks the group's leader to abandon the change.
pub(crate) fn cancel(state: &mut State, group: GroupId, change: ChangeId) -> Result<(), MetaRefusal> {
    present(state, group, change)?;
    if let Some(change) = &mut state.group_mut(group)?.1.change {
        change.cancelled = true;
    }
    Ok(())
}

/// The files of a replica are deleted: now it may be forgotten (META-8). One that was forgotten already is forgotten.
pub(crate) fn deleted(state: &mut State, group: GroupId, replica: ReplicaId) -> Result<(), MetaRefusal> {
    let next_replica = state.next_replica;
    let (replicas, changes) = state.group_mut(group)?;
    let mut members = replicas.iter().copied().chain(changes.added());
    if replica >= next_replica || members.any(|placement| placement.replica == replica) {
        return MetaRefusal::because(format!(
            "a replica that did not leave its shard cannot be gone: shard=`{}` replica=`{replica}`",
            name(group)
        ));
    }
    changes.leaving.retain(|placement| placement.replica != replica);
    state.settle();
    Ok(())
}

/// Moves a replica by hand. No change when it has moved already.
pub(crate) fn move_by_hand(
    state: &mut State,
    id: GroupId,
    from: NodeId,
    to: NodeId,
) -> Result<Option<ChangeId>, MetaRefusal> {
    state.node(from)?;
    let target = state.node(to)?.state;
    let group = state.map.group(id).ok_or(MetaRefusal::UnknownGroup { group: id })?;
    let holds = |node| group.replicas.iter().any(|placement| placement.node == node);
    if holds(to) && !holds(from) {
        return Ok(None);
    }
    if let Some(change) = group.changes.change {
        let removed = change.remove.and_then(|replica| group.find(replica));
        let is_this = change.add.is_some_and(|add| add.node == to) && removed.is_some_and(|place| place.node == from);
        return if is_this && !change.cancelled {
            Ok(Some(change.id))
        } else {
            Err(MetaRefusal::Busy { group: id, change: change.id })
        };
    }
    let named = format!("shard=`{}` from=`{from}` to=`{to}`", name(id));
    if !holds(from) {
        return MetaRefusal::because(format!(
            "the node has no replica of the shard; `strata cluster shards` shows who has: {named}"
        ));
    }
    if holds(to) {
        return MetaRefusal::because(format!(
            "the node has a replica of the shard already; choose another one to move it to: {named}"
        ));
    }
    if !target.takes() {
        return MetaRefusal::because(format!(
            "a node that is {target} takes no replicas; choose an active one: {named}"
        ));
    }
    if group.changes.leaving.iter().any(|placement| placement.node == to) {
        return MetaRefusal::because(format!(
            "the node has yet to delete a former replica of the shard; ask again in a moment, or choose another one: \
             {named}"
        ));
    }
    let planned = PlannedChange { group: id, add: Some(to), remove: Some(from), reason: ChangeReason::Operator };
    let survey = Survey::new(&state.map, &NOBODY);
    if survey.crowds(&group, from, to) {
        return MetaRefusal::because(format!(
            "the zone of the node would hold more replicas of the shard than it must; choose another zone: {named}"
        ));
    }
    if !survey.keeps_majority(&group, planned) {
        return MetaRefusal::because(format!(
            "too few replicas of the shard are on nodes that are there; start those that are down: {named}"
        ));
    }
    start(state, planned).map(Some)
}

/// Makes a replica the preferred leader of its shard.
pub(crate) fn prefer_leader(state: &mut State, shard: ShardId, replica: ReplicaId) -> Result<(), MetaRefusal> {
    let group = GroupId::of_shard(shard);
    let placement = state.map.group(group).ok_or(MetaRefusal::UnknownGroup { group })?;
    let position = placement.replicas.iter().position(|placement| placement.replica == replica);
    let Some(position) = position else {
        return MetaRefusal::because(format!(
            "the shard has no such replica any more; choose a node that has one: shard=`{shard}` replica=`{replica}`"
        ));
    };
    let node = placement.replicas[position].node;
    let node_state = state.node(node)?.state;
    if !node_state.takes() {
        return MetaRefusal::because(format!(
            "a node that is {node_state} leads no shards; choose an active one: shard=`{shard}` node=`{node}`"
        ));
    }
    if placement.changes.removed() == Some(replica) {
        return MetaRefusal::because(format!(
            "the replica is about to leave the shard; choose another node: shard=`{shard}` replica=`{replica}`"
        ));
    }
    state.group_mut(group)?.0.swap(0, position);
    Ok(())
}

/// Builds a damaged replica anew on its node, or lets it go where it leaves with its node and no other comes for it. No
/// change when it has left the group already.
pub(crate) fn rebuild(state: &mut State, id: GroupId, replica: ReplicaId) -> Result<Option<ChangeId>, MetaRefusal> {
    let group = state.map.group(id).ok_or(MetaRefusal::UnknownGroup { group: id })?;
    let Some(damaged) = group.replicas.iter().find(|placement| placement.replica == replica).copied() else {
        let was_there = group.changes.added().is_none_or(|added| added.replica != replica);
        return match was_there && replica < state.next_replica {
            true => Ok(None),
            false => {
                MetaRefusal::because(format!("the shard has no such member: shard=`{}` replica=`{replica}`", name(id)))
            }
        };
    };
    if let Some(change) = group.changes.change {
        // Whatever replaces it is as good.
        return match change.remove == Some(replica) && !change.cancelled {
            true => Ok(Some(change.id)),
            false => Err(MetaRefusal::Busy { group: id, change: change.id }),
        };
    }
    let is_there = |node| state.map.node(node).is_some_and(|node| node.state.is_counted_on());
    let others = group.replicas.iter().filter(|other| other.replica != replica && is_there(other.node)).count();
    if others <= group.replicas.len() / 2 {
        return MetaRefusal::because(format!(
            "too few other replicas are there to build it from; start the nodes that are down: shard=`{}` \
             replica=`{replica}` others=`{others}`",
            name(id)
        ));
    }
    let node = damaged.node;
    let (add, reason) = match state.node(node)?.state {
        stays if stays.keeps() => (Some(node), ChangeReason::Damaged),
        // Before any good one does: a group that loses those first is left with this one.
        NodeState::Removing if !gets_another(&state.map, id) => (None, ChangeReason::NodeRemoving),
        _ => return MetaRefusal::because(format!("the replica is being replaced with its node: node=`{node}`")),
    };
    start(state, PlannedChange { group: id, add, remove: Some(node), reason }).map(Some)
}

/// Whether there is a node for another replica of a group that is to lose one.
fn gets_another(map: &ShardMap, group: GroupId) -> bool {
    let plan = plan(map, PlanLimits::NONE);
    plan.start.iter().chain(&plan.waiting).any(|change| change.group == group && change.add.is_some())
}

/// Whether the node that a replica is to be added on can still take it.
pub(crate) fn is_possible(group: &GroupPlacement<'_>, target: NodeState) -> bool {
    match is_rebuilt(group) {
        true => target.keeps(),
        // A node that stops comes back in a moment; nothing was lost.
        false => target.takes() || target == NodeState::Stopping,
    }
}
