//! The state of the meta machine, in memory while a command is applied.
//!
//! A command is a function of this. What it changed is found by comparison: so the epoch rises exactly when the map has
//! changed (META-2), and a command that fails half-way has changed nothing (META-5).

use std::collections::BTreeSet;

use strata_machine::ViewMut;
use strata_types::{
    ChangeId, Epoch, GroupChanges, GroupId, InstanceId, NodeDescriptor, NodeId, NodeState, ReplicaId, ReplicaPlacement,
    ShardId, ShardMap,
};

use crate::MetaRefusal;
use crate::rows::{load_state, store_difference};

/// All rows of the meta tablet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) map: ShardMap,
    /// What is kept of removed nodes: id and instance.
    pub(crate) removed: Vec<NodeDescriptor>,
    pub(crate) next_node: NodeId,
    pub(crate) next_shard: ShardId,
    pub(crate) next_replica: ReplicaId,
    pub(crate) next_change: ChangeId,
}

impl State {
    /// The id of the first change.
    pub(crate) const FIRST_CHANGE: ChangeId = ChangeId(1);

    /// The state in a view, carried through `change`, back into the view. Returns what `change` returns.
    pub(crate) fn update<T>(
        view: &mut dyn ViewMut,
        change: impl FnOnce(&mut State) -> Result<T, MetaRefusal>,
    ) -> Result<(Epoch, T), MetaRefusal> {
        let before = load_state(view).ok_or(MetaRefusal::NotFounded)?;
        let mut after = before.clone();
        let value = change(&mut after)?;
        after.map.epoch = before.map.epoch;
        if after.map != before.map {
            after.map.epoch = Epoch(before.map.epoch.0 + 1);
        }
        after.store(view, Some(&before));
        Ok((after.map.epoch, value))
    }

    /// Writes what differs.
    ///
    /// # Panics
    /// When the map is not valid (META-3): a wrong map must never be stored, whatever that costs.
    pub(crate) fn store(&self, view: &mut dyn ViewMut, before: Option<&State>) {
        if let Err(error) = self.map.validate() {
            panic!("META-3: a command would make a map that is not valid: {error}");
        }
        store_difference(view, before, self);
    }

    /// All nodes there ever were, as far as they are known.
    pub(crate) fn all_nodes(&self) -> impl Iterator<Item = &NodeDescriptor> {
        self.map.nodes.iter().chain(&self.removed)
    }

    /// A node that is not removed.
    pub(crate) fn node(&self, id: NodeId) -> Result<&NodeDescriptor, MetaRefusal> {
        match self.map.node(id) {
            Some(node) => Ok(node),
            None if self.removed.iter().any(|node| node.id == id) => Err(MetaRefusal::NodeRemoved { node: id }),
            None => Err(MetaRefusal::UnknownNode { node: id }),
        }
    }

    /// A node that is not removed, for changing it.
    pub(crate) fn node_mut(&mut self, id: NodeId) -> Result<&mut NodeDescriptor, MetaRefusal> {
        self.node(id)?;
        Ok(self.map.nodes.iter_mut().find(|node| node.id == id).expect("it was found just now"))
    }

    /// The node that an instance is or was.
    pub(crate) fn node_of(&self, instance: InstanceId) -> Option<&NodeDescriptor> {
        self.all_nodes().find(|node| node.instance == instance)
    }

    /// What a group consists of, for changing it.
    pub(crate) fn group_mut(
        &mut self,
        group: GroupId,
    ) -> Result<(&mut Vec<ReplicaPlacement>, &mut GroupChanges), MetaRefusal> {
        let Some(id) = group.shard() else {
            return match group {
                GroupId::META => Ok((&mut self.map.meta, &mut self.map.meta_changes)),
                _ => Err(MetaRefusal::UnknownGroup { group }),
            };
        };
        let shard = self.map.shards.iter_mut().find(|shard| shard.shard == id);
        let shard = shard.ok_or(MetaRefusal::UnknownGroup { group })?;
        Ok((&mut shard.replicas, &mut shard.changes))
    }

    /// An id for a new replica.
    pub(crate) fn take_replica_id(&mut self) -> ReplicaId {
        let id = self.next_replica;
        self.next_replica = ReplicaId(id.0 + 1);
        id
    }

    /// An id for a new change.
    pub(crate) fn take_change_id(&mut self) -> ChangeId {
        let id = self.next_change;
        self.next_change = ChangeId(id.0 + 1);
        id
    }

    /// Removes nodes that are over, and forgets replicas whose deletion nobody will confirm.
    pub(crate) fn settle(&mut self) {
        let over: Vec<NodeId> = self.map.nodes.iter().filter(|node| self.is_over(node)).map(|node| node.id).collect();
        let (over, staying): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.map.nodes).into_iter().partition(|node| over.contains(&node.id));
        self.removed.extend(over.into_iter().map(tombstone));
        self.removed.sort_by_key(|node| node.id);
        let back: BTreeSet<NodeId> =
            staying.iter().filter(|node| node.state != NodeState::Gone).map(|node| node.id).collect();
        self.map.nodes = staying;
        let shards = self.map.shards.iter_mut().map(|shard| &mut shard.changes);
        for changes in shards.chain([&mut self.map.meta_changes]) {
            changes.leaving.retain(|placement| back.contains(&placement.node));
        }
    }

    /// Whether a node was to be removed and nothing is left of it, or its data directory is gone: another one answers
    /// at its address, and all that it had was replaced.
    fn is_over(&self, node: &NodeDescriptor) -> bool {
        let is_here = |placement: &ReplicaPlacement| placement.node == node.id;
        let is_member = || self.map.groups().any(|group| group.open_replicas().any(|placement| is_here(&placement)));
        let has_files = || self.map.groups().any(|group| group.changes.leaving.iter().any(is_here));
        match node.state {
            NodeState::Removing => !is_member() && !has_files(),
            NodeState::Gone => !is_member(),
            NodeState::Lost => !is_member() && self.is_replaced(node),
            _ => false,
        }
    }

    fn is_replaced(&self, node: &NodeDescriptor) -> bool {
        let mut others = self.map.nodes.iter().filter(|other| other.id != node.id && other.state.is_counted_on());
        others.any(|other| other.peer_address == node.peer_address)
    }
}

/// What is kept of a removed node.
fn tombstone(node: NodeDescriptor) -> NodeDescriptor {
    NodeDescriptor { id: node.id, instance: node.instance, state: NodeState::Removed, ..NodeDescriptor::default() }
}
