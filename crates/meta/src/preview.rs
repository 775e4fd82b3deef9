//! What would be moved until nothing is left to do, without doing any of it.

use std::collections::BTreeSet;

use strata_types::{GroupChanges, NodeId, ReplicaId, ReplicaPlacement, ShardMap};

use crate::{PlanLimits, PlannedChange, plan_around};

/// Rounds after which a preview ends: each group needs few changes, so far fewer are ever needed.
const ROUNDS_MAX: usize = 64;

/// All changes that planning would make from this map on, in order, if nothing else happened: what is under way is taken
/// as done, and nodes without room get none. The map as it would be then comes with them.
pub fn preview(map: &ShardMap, full: &BTreeSet<NodeId>) -> (Vec<PlannedChange>, ShardMap) {
    let mut map = map.clone();
    let mut changes = Vec::new();
    conclude_all(&mut map);
    for _ in 0..ROUNDS_MAX {
        let round = plan_around(&map, PlanLimits::NONE, full).start;
        if round.is_empty() {
            break;
        }
        round.iter().for_each(|change| carry_out(&mut map, change));
        changes.extend(round);
    }
    (changes, map)
}

fn groups_mut(map: &mut ShardMap) -> impl Iterator<Item = (&mut Vec<ReplicaPlacement>, &mut GroupChanges)> {
    let shards = map.shards.iter_mut().map(|shard| (&mut shard.replicas, &mut shard.changes));
    std::iter::once((&mut map.meta, &mut map.meta_changes)).chain(shards)
}

fn conclude_all(map: &mut ShardMap) {
    for (replicas, changes) in groups_mut(map) {
        if let Some(change) = changes.change.take().filter(|change| !change.cancelled) {
            replicas.retain(|placement| Some(placement.replica) != change.remove);
            replicas.extend(change.add);
        }
        changes.leaving.clear();
    }
}

/// Replica ids do not matter here, but must differ within the group: the highest one's successor is taken.
fn carry_out(map: &mut ShardMap, change: &PlannedChange) {
    let position = change.group.shard().map(|id| map.shards.iter().position(|shard| shard.shard == id));
    let replicas = match position {
        None => &mut map.meta,
        Some(Some(position)) => &mut map.shards[position].replicas,
        Some(None) => return,
    };
    let next = replicas.iter().map(|placement| placement.replica.0 + 1).max().unwrap_or(1);
    replicas.retain(|placement| Some(placement.node) != change.remove);
    replicas.extend(change.add.map(|node| ReplicaPlacement { replica: ReplicaId(next), node }));
}
