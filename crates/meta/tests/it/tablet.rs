//! A machine and its tablet in memory, and what must hold whenever it has applied a command.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use strata_machine::{CommandContext, Machine, View, ViewMut};
use strata_meta::{MetaCommand, MetaMachine, MetaReply, load_map};
use strata_types::{ChangeReason, GroupPlacement, LogIndex, NodeId, NodeState, ReplicaId, ShardMap, Term, Timestamp};

/// A tablet in memory that notes its writes.
#[derive(Default)]
pub(crate) struct Tablet {
    pub(crate) rows: BTreeMap<Bytes, Bytes>,
    pub(crate) writes: Vec<(Bytes, Option<Bytes>)>,
}

impl View for Tablet {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.rows.get(key).cloned()
    }

    fn scan(&self, start: &[u8], end: &[u8], visit: &mut dyn FnMut(&[u8], &Bytes) -> bool) {
        let range = Bytes::copy_from_slice(start)..Bytes::copy_from_slice(end);
        for (key, value) in self.rows.range(range) {
            if !visit(key, value) {
                return;
            }
        }
    }
}

impl ViewMut for Tablet {
    fn put(&mut self, key: Bytes, value: Bytes) {
        self.rows.insert(key.clone(), value.clone());
        self.writes.push((key, Some(value)));
    }

    fn delete(&mut self, key: Bytes) {
        self.rows.remove(&key);
        self.writes.push((key, None));
    }
}

/// A machine whose every step is checked.
#[derive(Default)]
pub(crate) struct Checked {
    pub(crate) tablet: Tablet,
    applied: u64,
    nodes: BTreeSet<NodeId>,
    replicas: BTreeSet<ReplicaId>,
    /// The last timestamp that was reserved.
    reserved: Timestamp,
}

impl Checked {
    pub(crate) fn map(&self) -> Option<ShardMap> {
        load_map(&self.tablet)
    }

    /// Applies a command and checks the invariants.
    pub(crate) fn apply(&mut self, command: &MetaCommand) -> MetaReply {
        let encoded = command.encode();
        assert_eq!(MetaCommand::decode(encoded.clone()).as_ref(), Ok(command));
        self.applied += 1;
        let context = CommandContext { term: Term(1), index: LogIndex(self.applied), position: 0, stamp: Timestamp(0) };
        let (rows, before) = (self.tablet.rows.clone(), self.map());
        self.tablet.writes.clear();
        let reply = MetaMachine::new().apply(&mut self.tablet, context, &encoded);
        let reply = MetaReply::decode(reply).expect("replies decode");
        if let MetaReply::Refused(_) = reply {
            assert_eq!(self.tablet.rows, rows, "META-5: a refused command changes nothing");
        }
        if let MetaReply::Timestamps { first, count } = reply {
            assert_eq!(self.map(), before, "META-2: time is no part of the map");
            assert!(first > self.reserved, "META-10: {first} was reserved after {}", self.reserved);
            self.reserved = Timestamp(first.0 - 1 + u64::from(count));
        }
        if let Some(after) = self.map() {
            after.validate().expect("META-3: every stored map is valid");
            if let Some(before) = before {
                check_step(command, &before, &after);
            }
            self.check_ids(&after);
        }
        reply
    }

    /// META-1: new ids are above all that ever were.
    fn check_ids(&mut self, map: &ShardMap) {
        let nodes: BTreeSet<NodeId> = map.nodes.iter().map(|node| node.id).collect();
        let replicas: BTreeSet<ReplicaId> = map.groups().flat_map(|group| all(&group)).collect();
        check_new(&mut self.nodes, nodes);
        check_new(&mut self.replicas, replicas);
    }
}

fn check_new<Id: Ord + Copy + std::fmt::Display>(known: &mut BTreeSet<Id>, present: BTreeSet<Id>) {
    let new: Vec<Id> = present.difference(known).copied().collect();
    if let (Some(last), Some(first)) = (known.last(), new.first()) {
        assert!(first > last, "META-1: {first} was given out after {last}");
    }
    known.extend(new);
}

fn all(group: &GroupPlacement<'_>) -> Vec<ReplicaId> {
    let leaving = group.changes.leaving.iter().copied();
    group.open_replicas().chain(leaving).map(|placement| placement.replica).collect()
}

fn check_step(command: &MetaCommand, before: &ShardMap, after: &ShardMap) {
    let same = ShardMap { epoch: before.epoch, ..after.clone() } == *before;
    assert_eq!(
        after.epoch.0,
        before.epoch.0 + u64::from(!same),
        "META-2: the epoch rises with changes of the map only"
    );
    for (old, new) in before.groups().zip(after.groups()) {
        let ids = |group: &GroupPlacement<'_>| -> BTreeSet<ReplicaId> {
            group.replicas.iter().map(|placement| placement.replica).collect()
        };
        let (from, to) = (ids(&old), ids(&new));
        let added = old.changes.added().map(|placement| placement.replica);
        let removed = old.changes.removed();
        // META-6: the members are what the group's leader reported, and one change was under way.
        if from != to {
            assert!(matches!(command, MetaCommand::FinishChange { group, .. } if *group == old.group));
            let expected: BTreeSet<_> = from.iter().copied().filter(|id| Some(*id) != removed).chain(added).collect();
            assert_eq!(to, expected, "META-6: {}", old.group);
            assert_eq!(new.changes.generation, old.changes.generation + 1);
        }
        if let (Some(old), Some(new)) = (old.changes.change, new.changes.change) {
            assert_eq!(old.id, new.id, "META-6: a change ends before the next one begins");
            assert!(new.decided >= old.decided, "META-6: {} was decided by a later leader", old.id);
        }
        if let (Some(change), None) = (old.changes.change, new.changes.change) {
            let is_known = matches!(command, MetaCommand::AbandonChange { term, .. } if *term >= change.decided);
            assert!(if from == to { is_known } else { change.is_decided() }, "META-6: {} by {command:?}", change.id);
        }
        if let (None, Some(_)) = (old.changes.change, new.changes.change) {
            check_start(after, &new);
            let full = if let MetaCommand::PlanAround { full, .. } = command { full.as_slice() } else { &[] };
            let added = new.changes.added().filter(|added| full.contains(&added.node));
            assert_eq!(added, None, "META-11: {} gets a replica where there is no room", new.group);
        }
        // META-8: nobody forgets a replica that may still have files, unless its node will never be back.
        for gone in all(&old).into_iter().filter(|id| !all(&new).contains(id)) {
            let node = old.find(gone).expect("it was there").node;
            let is_deleted = matches!(command, MetaCommand::ReplicaDeleted { replica, .. } if *replica == gone);
            let is_gone = after.node(node).is_none_or(|node| node.state == NodeState::Gone);
            assert!(is_deleted || is_gone, "META-8: {gone} on {node} was forgotten");
        }
    }
}

/// META-7: a change is started only where a majority is there, and stays there.
fn check_start(map: &ShardMap, group: &GroupPlacement<'_>) {
    let is_there = |node| map.node(node).is_some_and(|node| node.state.is_counted_on());
    let removed = group.changes.removed();
    let before: Vec<NodeId> = group.replicas.iter().map(|placement| placement.node).collect();
    let staying = group.replicas.iter().filter(|placement| Some(placement.replica) != removed);
    let after: Vec<NodeId> = staying.copied().chain(group.changes.added()).map(|placement| placement.node).collect();
    for nodes in [before, after] {
        let there = nodes.iter().filter(|node| is_there(**node)).count();
        assert!(there > nodes.len() / 2, "META-7: {} has {there} of {} replicas", group.group, nodes.len());
    }
    if let Some(add) = group.changes.added() {
        let is_left = group.changes.leaving.iter().any(|placement| placement.node == add.node);
        let is_rebuilt = group.changes.change.is_some_and(|change| change.reason == ChangeReason::Damaged);
        assert!(!is_left || is_rebuilt, "{} comes back to {} too early", group.group, add.node);
    }
}
