//! All shard maps that anybody ever had, and what must hold between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use strata_types::{
    Epoch, GroupId, GroupPlacement, InstanceId, NodeId, NodeState, ReplicaChange, ReplicaId, ReplicaPlacement,
    ShardMap, Term,
};

use crate::version_rules::cannot_follow;

/// Every map by its epoch.
#[derive(Default)]
pub(crate) struct MapHistory {
    maps: BTreeMap<Epoch, Arc<ShardMap>>,
    /// The highest epoch a node has shown in its present life.
    epochs: BTreeMap<(NodeId, u64), Epoch>,
    /// Where a replica lives, for ever.
    places: BTreeMap<ReplicaId, (GroupId, NodeId)>,
    /// The last epoch in which a replica was to be open, and the first later one in which it was not.
    wanted: BTreeMap<ReplicaId, Epoch>,
    unwanted: BTreeMap<ReplicaId, Epoch>,
    /// The data directory that a node is, and when it was there last, and no more.
    instances: BTreeMap<NodeId, InstanceId>,
    present: BTreeMap<NodeId, Epoch>,
    absent: BTreeMap<NodeId, Epoch>,
    /// What the changes of groups are, and the latest term in which one was decided.
    changes: BTreeMap<(GroupId, u64), ReplicaChange>,
    decided: BTreeMap<GroupId, Term>,
    /// Pairs of replicas of which one was built anew as the other, on one node.
    rebuilt: BTreeSet<(ReplicaId, ReplicaId)>,
    broken: Vec<String>,
}

impl MapHistory {
    pub(crate) fn newest(&self) -> Arc<ShardMap> {
        self.maps.last_key_value().map(|(_, map)| map.clone()).unwrap_or_default()
    }

    /// Whether a node was a member and is no more, or will never be one again.
    pub(crate) fn is_removed(&self, node: NodeId) -> bool {
        let is_gone = || self.newest().node(node).is_some_and(|node| node.state == NodeState::Gone);
        self.absent.contains_key(&node) || is_gone()
    }

    /// Whether a replica was a member or about to become one, and is neither any more.
    pub(crate) fn has_left(&self, replica: ReplicaId) -> bool {
        self.unwanted.contains_key(&replica)
    }

    /// The latest term in which a change of a group was decided.
    pub(crate) fn decided(&self, group: GroupId) -> Term {
        self.decided.get(&group).copied().unwrap_or_default()
    }

    /// Nodes that ever were members.
    pub(crate) fn nodes_ever(&self) -> usize {
        self.present.len()
    }

    pub(crate) fn nodes_removed(&self) -> usize {
        self.absent.len()
    }

    /// Changes of groups that were made.
    pub(crate) fn changes(&self) -> u64 {
        self.newest().groups().map(|group| group.changes.generation).sum()
    }

    pub(crate) fn take_broken(&mut self) -> Vec<String> {
        std::mem::take(&mut self.broken)
    }

    fn break_(&mut self, text: String) {
        self.broken.push(text);
    }

    /// A node has this map. SIM-MAP-3: no node's map goes back within a life.
    pub(crate) fn see(&mut self, node: NodeId, life: u64, map: &Arc<ShardMap>) {
        if map.epoch == Epoch(0) {
            return;
        }
        let epoch = self.epochs.entry((node, life)).or_default();
        if map.epoch < *epoch {
            let text = format!("SIM-MAP-3 epochs rise: {node} went from {epoch} to {}", map.epoch);
            self.break_(text);
        } else {
            *epoch = map.epoch;
        }
        match self.maps.get(&map.epoch) {
            // SIM-MAP-2: an epoch has one map. A second cluster (CLUSTER-8) would have others.
            Some(known) if known != map => {
                self.break_(format!("SIM-MAP-2 one map an epoch: {node} holds another map of {}", map.epoch));
            }
            Some(_) => {}
            None => self.add(map),
        }
    }

    fn add(&mut self, map: &Arc<ShardMap>) {
        // SIM-MAP-1: slots have one owner each, replicas of a group are on distinct nodes, changes are possible.
        if let Err(error) = map.validate() {
            self.break_(format!("SIM-MAP-1 valid map: epoch {}: {error}", map.epoch));
        }
        let before = self.maps.range(..map.epoch).next_back().map(|(_, map)| map.clone());
        let after = self.maps.range(map.epoch..).next().map(|(_, map)| map.clone());
        self.maps.insert(map.epoch, map.clone());
        if let Some(before) = &before {
            self.step(before, map);
        }
        if let Some(after) = &after {
            self.step(map, after);
        }
        if let Some(text) = cannot_follow(map) {
            self.break_(text);
        }
        self.nodes_stay(map);
        for group in map.groups() {
            self.replicas_stay(map.epoch, &group);
        }
    }

    /// What a map says after an earlier one. There may be others between them.
    fn step(&mut self, old: &ShardMap, new: &ShardMap) {
        if new.version < old.version {
            let (from, to, epoch) = (old.version, new.version, new.epoch);
            self.break_(format!("SIM-VERSION-1 versions rise: the cluster went from {from} to {to} in {epoch}"));
        }
        let highest = all_replicas(old).map(|(_, placed)| placed.replica).max().unwrap_or_default();
        let known: BTreeSet<ReplicaId> = all_replicas(old).map(|(_, placed)| placed.replica).collect();
        for (_, placed) in all_replicas(new).filter(|(_, placed)| !known.contains(&placed.replica)) {
            if placed.replica < highest {
                self.break_(format!("SIM-MAP-4 ids are new: {} comes after {highest}", placed.replica));
            }
        }
        for placed in old.groups().flat_map(|group| group.open_replicas().collect::<Vec<_>>()) {
            let stays = new.groups().any(|group| group.open_replicas().any(|other| other.replica == placed.replica));
            if !stays {
                let first = self.unwanted.entry(placed.replica).or_insert(new.epoch);
                *first = (*first).min(new.epoch);
            }
        }
        for node in old.nodes.iter().filter(|node| new.node(node.id).is_none()) {
            let first = self.absent.entry(node.id).or_insert(new.epoch);
            *first = (*first).min(new.epoch);
        }
        for group in new.groups() {
            if let Some(before) = old.group(group.group) {
                self.members_follow(new.epoch, &before, &group);
            }
        }
    }

    /// SIM-MAP-5: the generation rises, by one for each change, and a change adds one replica and removes one at most.
    fn members_follow(&mut self, epoch: Epoch, old: &GroupPlacement<'_>, new: &GroupPlacement<'_>) {
        let ids = |group: &GroupPlacement<'_>| group.replicas.iter().map(|placed| placed.replica).collect();
        let (before, after): (BTreeSet<ReplicaId>, BTreeSet<ReplicaId>) = (ids(old), ids(new));
        let (added, removed) = (after.difference(&before).count() as u64, before.difference(&after).count() as u64);
        let made = new.changes.generation.checked_sub(old.changes.generation);
        if made.is_none_or(|made| added > made || removed > made) {
            let group = new.group;
            self.break_(format!("SIM-MAP-5 one change at a time: {group} in {epoch}: {old:?} became {new:?}"));
        }
    }

    /// SIM-MAP-6: a node is one data directory, and does not come back after it was removed.
    fn nodes_stay(&mut self, map: &ShardMap) {
        for node in &map.nodes {
            let instance = *self.instances.entry(node.id).or_insert(node.instance);
            let last = self.present.entry(node.id).or_insert(map.epoch);
            *last = (*last).max(map.epoch);
            if instance != node.instance || self.absent.get(&node.id).is_some_and(|absent| absent <= last) {
                let (id, epoch) = (node.id, map.epoch);
                self.break_(format!("SIM-MAP-6 one node a directory: {id} is another one, or back, in {epoch}"));
            }
        }
    }

    /// SIM-MAP-7: a replica has one group and one node, and does not become a member again after it left; a node has one
    /// replica of a group, and another one only while one is built anew. A change stays what it is.
    fn replicas_stay(&mut self, epoch: Epoch, group: &GroupPlacement<'_>) {
        let id = group.group;
        if let Some(change) = group.changes.change {
            self.change_stays(epoch, id, change);
            let removed = change.remove.and_then(|replica| group.find(replica));
            if let Some((add, removed)) = change.add.zip(removed).filter(|(add, removed)| add.node == removed.node) {
                self.rebuilt.insert((removed.replica, add.replica));
            }
        }
        let all: Vec<ReplicaPlacement> = group.open_replicas().chain(group.changes.leaving.iter().copied()).collect();
        for placed in &all {
            let place = *self.places.entry(placed.replica).or_insert((id, placed.node));
            if place != (id, placed.node) {
                self.break_(format!("SIM-MAP-7 one place a replica: {placed:?} of {id} was {place:?} before {epoch}"));
            }
            for other in all.iter().filter(|other| other.node == placed.node && other.replica < placed.replica) {
                // Built anew more than once, when the first attempt was cancelled.
                let is_rebuilt = self.rebuilt.iter().any(|(_, new)| *new == placed.replica);
                if !is_rebuilt {
                    self.break_(format!("SIM-MAP-7 one replica a node: {id} has {other:?} and {placed:?} in {epoch}"));
                }
            }
        }
        for placed in group.open_replicas() {
            let last = self.wanted.entry(placed.replica).or_insert(epoch);
            *last = (*last).max(epoch);
            if self.unwanted.get(&placed.replica).is_some_and(|unwanted| unwanted <= last) {
                self.break_(format!("SIM-MAP-7 one life a replica: {} of {id} is back in {epoch}", placed.replica));
            }
        }
    }

    fn change_stays(&mut self, epoch: Epoch, group: GroupId, change: ReplicaChange) {
        let decided = self.decided.entry(group).or_default();
        *decided = (*decided).max(change.decided);
        let known = *self.changes.entry((group, change.id.0)).or_insert(change);
        if (known.add, known.remove, known.reason) != (change.add, change.remove, change.reason) {
            self.break_(format!("SIM-MAP-5 a change stays what it is: {group} in {epoch}: {known:?} and {change:?}"));
        }
    }
}

/// All replicas that a map names, whatever becomes of them.
fn all_replicas(map: &ShardMap) -> impl Iterator<Item = (GroupId, ReplicaPlacement)> {
    map.groups().flat_map(|group| {
        let all = group.open_replicas().chain(group.changes.leaving.iter().copied());
        all.map(|placed| (group.group, placed)).collect::<Vec<_>>()
    })
}

#[cfg(test)]
#[path = "map_history/tests.rs"]
mod tests;
