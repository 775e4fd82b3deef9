//! Opens the shard replicas that the map names on this node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use strata_env::Mono;
use strata_machine::Machine;
use strata_meta::{MetaCommand, MetaReply};
use strata_raft::{Group, GroupSpec, OpenError};
use strata_shard::ShardMachine;
use strata_types::{GroupId, GroupPlacement, LogIndex, NodeId, ReplicaId, ReplicaPlacement, ShardMap, Term};

use crate::commanding::command;
use crate::node::Node;
use crate::{Phase, StartError, time};

/// How long a group is left to the node that should found it.
const FOUND_PATIENCE: Duration = Duration::from_secs(3);
/// Each replica waits this much longer than the one before it: longer than an election, so that they do not compete.
const FOUND_STAGGER: Duration = Duration::from_secs(1);
/// How often it is looked whether a group has been founded.
const FOUND_TICK: Duration = Duration::from_millis(500);
/// How long the meta group may take to confirm that a replica is to be built anew.
const CONFIRM_DEADLINE: Duration = Duration::from_secs(2);
/// Pause before what could not be opened is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Opens what is not open yet, several at a time. A damaged replica is noted and left closed (CLUSTER-5); the shard goes
/// on with the others.
pub(crate) async fn open_all(node: &Node, map: &ShardMap) -> Result<(), StartError> {
    let wanted = missing(node, map);
    let total = wanted.len();
    let report = |done| {
        if total > 0 && !node.is_ready() {
            node.report_phase(Phase::OpeningShards { done, total });
        }
    };
    report(0);
    let mut opening: FuturesUnordered<_> =
        wanted.into_iter().map(|(placement, here)| open(node, placement, here)).collect();
    let (mut done, mut failure) = (0, None);
    while let Some(opened) = opening.next().await {
        done += 1;
        report(done);
        // The others are opened to the end: a half-opened one would be left in the middle of writing.
        failure = failure.or(opened.err());
    }
    failure.map_or(Ok(()), Err)
}

/// Opens what later maps name here.
pub(crate) async fn run(node: Arc<Node>) {
    let mut maps = node.keeper().watch();
    loop {
        let map = maps.borrow_and_update().clone();
        node.closed().keep(|group, replica| map.group(group).is_some_and(|group| group.find(replica).is_some()));
        if let Err(error) = open_all(&node, &map).await {
            return node.env().halt(error.to_string());
        }
        let is_done = missing(&node, &map).is_empty();
        let pause = node.env().jittered(PAUSE);
        tokio::select! {
            biased;
            changed = maps.changed() => if changed.is_err() { return },
            () = node.env().sleep(pause), if !is_done => {}
        }
    }
}

/// The replica of a group that is to be open on a node. While one is built anew there are two: the new one.
pub(crate) fn wanted(placement: &GroupPlacement<'_>, own: NodeId) -> Option<ReplicaPlacement> {
    placement.open_replicas().filter(|replica| replica.node == own).last()
}

fn missing<'a>(node: &Node, map: &'a ShardMap) -> Vec<(GroupPlacement<'a>, ReplicaPlacement)> {
    let own = node.identity().node;
    let shards = map.groups().filter(|placement| placement.group != GroupId::META);
    let here = shards.filter_map(|placement| Some((placement, wanted(&placement, own)?)));
    here.filter(|(placement, here)| !is_settled(node, placement.group, here.replica)).collect()
}

/// Whether a replica is open, or is known to refuse.
pub(crate) fn is_settled(node: &Node, group: GroupId, replica: ReplicaId) -> bool {
    let open = node.host().group(group).map(|group| group.replica());
    open == Some(replica) || (open.is_none() && node.closed().refused(group) == Some(replica))
}

/// Whether a replica may found its group: only one of the founding members, and only before the members were ever
/// changed. Whoever comes later is told of the group by its leader.
pub(crate) fn may_found(placement: &GroupPlacement<'_>, here: ReplicaPlacement) -> bool {
    let was_decided = placement.changes.change.is_some_and(|change| change.is_decided());
    placement.changes.generation == 0 && !was_decided && placement.replicas.contains(&here)
}

/// Founds the groups whose founder is on a node that never came: without an entry nobody calls an election. All name
/// the founding members; see [`Group::found`] for why it does no harm when the founder comes back.
pub(crate) async fn found_late(node: Arc<Node>) {
    let mut waits: BTreeMap<GroupId, Mono> = BTreeMap::new();
    loop {
        node.env().sleep(FOUND_TICK).await;
        let (now, map) = (node.env().now(), node.map());
        for placement in map.groups() {
            let id = placement.group;
            let group = node.host().group(id).filter(|group| is_unfounded(group));
            let place = group.as_ref().and_then(|group| place_of(&placement, group.replica()));
            let Some((group, place)) = group.zip(place) else {
                waits.remove(&id);
                continue;
            };
            if now.since(*waits.entry(id).or_insert(now)) < FOUND_PATIENCE + FOUND_STAGGER * place {
                continue;
            }
            match group.found(&members(&placement)).await {
                Ok(false) => {}
                Ok(true) => tracing::info!(group = %id, "founded a group in the place of its first node"),
                Err(error) => tracing::warn!(group = %id, %error, "a group could not be founded"),
            }
        }
    }
}

/// How many others come first, if the replica may found its group at all.
fn place_of(placement: &GroupPlacement<'_>, replica: ReplicaId) -> Option<u32> {
    let here = placement.replicas.iter().find(|other| other.replica == replica)?;
    let before = placement.replicas.iter().filter(|other| other.replica < replica).count();
    may_found(placement, *here).then_some(before as u32)
}

/// Whether nothing was ever heard of a group. (Term 0 is before the first election.)
fn is_unfounded(group: &Group) -> bool {
    let status = group.status();
    status.serving && status.leader.is_none() && status.term == Term(0) && status.last == LogIndex(0)
}

fn members(placement: &GroupPlacement<'_>) -> BTreeMap<ReplicaId, NodeId> {
    placement.replicas.iter().map(|replica| (replica.replica, replica.node)).collect()
}

/// What a replica is opened with. One that joins its group is empty, and knows of no members until the leader tells it.
pub(crate) fn spec(placement: &GroupPlacement<'_>, here: ReplicaPlacement, machine: Arc<dyn Machine>) -> GroupSpec {
    let may_found = may_found(placement, here);
    GroupSpec {
        group: placement.group,
        replica: here.replica,
        members: if may_found { members(placement) } else { BTreeMap::new() },
        machine,
        // One node founds the group, so that it becomes its leader and nobody competes. If it is down the others do
        // it later.
        initialize: may_found && placement.founder() == Some(here),
    }
}

async fn open(node: &Node, placement: GroupPlacement<'_>, here: ReplicaPlacement) -> Result<(), StartError> {
    if !make_way(node, &placement, here).await {
        return Ok(());
    }
    let group = placement.group;
    match node.host().open(spec(&placement, here, Arc::new(ShardMachine))).await {
        Ok(opened) => {
            node.closed().forget(group, here.replica);
            time::adopt(node, &opened);
            Ok(())
        }
        // A replica that was deleted while the map was not the newest will not come back either.
        Err(error @ (OpenError::Corrupt { .. } | OpenError::Deleted { .. })) => {
            node.closed().refuse(group, here.replica, error.to_string());
            Ok(())
        }
        // What is open here goes on, and this one is tried again.
        Err(error @ OpenError::Full { .. }) => {
            node.closed().wait_for_room(group, here.replica, error.to_string());
            Ok(())
        }
        Err(error) => Err(StartError::Group { group, detail: error.to_string() }),
    }
}

/// Deletes another replica of the group that this node has, which the wanted one replaces (CLUSTER-7). Returns whether
/// there is none any more.
pub(crate) async fn make_way(node: &Node, placement: &GroupPlacement<'_>, here: ReplicaPlacement) -> bool {
    let id = placement.group;
    let open = node.host().group(id).map(|group| (group.replica(), group.is_sound()));
    let known = open.or_else(|| Some((node.closed().refused(id)?, false)));
    let Some((old, is_sound)) = known.filter(|(old, _)| *old != here.replica) else { return true };
    let is_member = placement.replicas.iter().any(|replica| replica.replica == old);
    // A damaged replica is of no use to its group. One that looks well again is, should the map be an old one and the
    // wish be cancelled since.
    if is_member && is_sound && !is_rebuilt(node, placement, old).await {
        return false;
    }
    if let Err(error) = node.host().delete(id, old).await {
        tracing::warn!(group = %id, replica = %old, %error, "a replica cannot be deleted to build it anew");
        return false;
    }
    node.closed().forget(id, old);
    tracing::info!(group = %id, replica = %old, by = %here.replica, "deleted a replica that another one replaces");
    true
}

/// Whether the meta group confirms that the replica is to be built anew by the change that the map has.
async fn is_rebuilt(node: &Node, placement: &GroupPlacement<'_>, old: ReplicaId) -> bool {
    let wish = MetaCommand::Rebuild { group: placement.group, replica: old };
    match command(node, wish, CONFIRM_DEADLINE).await {
        Ok(MetaReply::Started { change: Some(change), .. }) => {
            placement.changes.change.is_some_and(|present| present.id == change)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use strata_types::{ChangeId, ChangeReason, GroupChanges, ReplicaChange};

    use super::*;

    fn placed(replica: u64, node: u64) -> ReplicaPlacement {
        ReplicaPlacement { replica: ReplicaId(replica), node: NodeId(node) }
    }

    fn changes(generation: u64, add: Option<ReplicaPlacement>, decided: u64) -> GroupChanges {
        let change = ReplicaChange {
            id: ChangeId(1),
            add,
            remove: Some(ReplicaId(6)),
            reason: ChangeReason::Operator,
            cancelled: false,
            decided: Term(decided),
        };
        GroupChanges { generation, change: Some(change), leaving: vec![placed(9, 1)] }
    }

    const fn group<'a>(replicas: &'a [ReplicaPlacement], changes: &'a GroupChanges) -> GroupPlacement<'a> {
        GroupPlacement { group: GroupId(1), replicas, changes }
    }

    #[test]
    fn a_node_opens_its_member_or_what_is_added_and_nothing_that_leaves() {
        let replicas = [placed(4, 1), placed(5, 2), placed(6, 3)];
        let moved = changes(0, Some(placed(7, 4)), 0);
        let wanted_on = |changes: &GroupChanges, node| wanted(&group(&replicas, changes), NodeId(node));
        assert_eq!(wanted_on(&moved, 1), Some(placed(4, 1)));
        assert_eq!(wanted_on(&moved, 4), Some(placed(7, 4)));
        assert_eq!(wanted_on(&moved, 5), None);
        let rebuilt = changes(0, Some(placed(7, 3)), 0);
        assert_eq!(wanted_on(&rebuilt, 3), Some(placed(7, 3)), "in the place of the one that it replaces");
        let left = GroupChanges { leaving: vec![placed(6, 5)], ..GroupChanges::default() };
        assert_eq!(wanted_on(&left, 5), None);
    }

    #[test]
    fn only_founding_members_found_and_only_before_any_change() {
        let replicas = [placed(5, 2), placed(4, 1), placed(6, 3)];
        let initial = GroupChanges::default();
        let started = changes(0, Some(placed(7, 4)), 0);
        assert!(may_found(&group(&replicas, &initial), placed(5, 2)));
        assert!(may_found(&group(&replicas, &started), placed(5, 2)), "the members have not begun to change");
        assert!(!may_found(&group(&replicas, &started), placed(7, 4)), "it is added");
        assert!(!may_found(&group(&replicas, &changes(0, Some(placed(7, 4)), 3)), placed(5, 2)), "decided");
        assert!(!may_found(&group(&replicas, &changes(1, None, 0)), placed(5, 2)), "another generation");
        let places = [5, 4, 6, 7].map(|replica| place_of(&group(&replicas, &initial), ReplicaId(replica)));
        assert_eq!(places, [Some(1), Some(0), Some(2), None]);
        let specs =
            [placed(5, 2), placed(4, 1)].map(|here| spec(&group(&replicas, &initial), here, Arc::new(ShardMachine)));
        assert_eq!(specs.map(|spec| (spec.initialize, spec.members.len())), [(false, 3), (true, 3)]);
        let joins = spec(&group(&replicas, &started), placed(7, 4), Arc::new(ShardMachine));
        assert!(!joins.initialize && joins.members.is_empty());
    }
}
