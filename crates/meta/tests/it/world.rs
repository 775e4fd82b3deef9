//! A cluster to which anything may happen, command by command, and in which everybody does their part.

use std::collections::BTreeSet;

use proptest::prelude::*;
use strata_meta::{Joiner, MetaCommand, MetaReply, PlanLimits, held_up};
use strata_types::{
    ChangeId, ClusterId, GroupId, GroupPlacement, InstanceId, NodeDescriptor, NodeId, NodeState, ReplicaChange,
    ReplicaId, ReplicaPlacement, ShardId, ShardMap, Term, VersionRange,
};

use crate::tablet::Checked;

/// What happens. Numbers are taken modulo what there is.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    Join { zone: u8 },
    Wipe { node: u8 },
    Restart { node: u8, zone: u8 },
    Wish { node: u8, wanted: NodeState, force: bool },
    Plan { changes: u32, per_node: u32 },
    PlanAround { changes: u32, full: u8 },
    Decide { pick: u8, term: u64 },
    Finish { pick: u8 },
    Abandon { pick: u8, term: u64 },
    Cancel { pick: u8 },
    Stale { group: u8, change: u8 },
    Delete { pick: u8 },
    Move { group: u8, from: u8, to: u8 },
    Prefer { shard: u8, member: u8 },
    Rebuild { group: u8, member: u8 },
}

pub(crate) fn event() -> impl Strategy<Value = Event> {
    use NodeState::{Active, Draining, Lost, Removing, Stopping};
    let state = prop::sample::select(vec![Active, Draining, Removing, Lost, Stopping]);
    prop_oneof![
        1 => any::<u8>().prop_map(|zone| Event::Join { zone }),
        1 => any::<u8>().prop_map(|node| Event::Wipe { node }),
        1 => any::<(u8, u8)>().prop_map(|(node, zone)| Event::Restart { node, zone }),
        3 => (any::<u8>(), state, prop::bool::weighted(0.05)).prop_map(|(node, wanted, force)| Event::Wish { node, wanted, force }),
        4 => (0u32..6, 0u32..4).prop_map(|(changes, per_node)| Event::Plan { changes, per_node }),
        2 => (0u32..6, any::<u8>()).prop_map(|(changes, full)| Event::PlanAround { changes, full }),
        6 => (any::<u8>(), 0..4u64).prop_map(|(pick, term)| Event::Decide { pick, term }),
        6 => any::<u8>().prop_map(|pick| Event::Finish { pick }),
        2 => (any::<u8>(), 0..4u64).prop_map(|(pick, term)| Event::Abandon { pick, term }),
        1 => any::<u8>().prop_map(|pick| Event::Cancel { pick }),
        1 => any::<(u8, u8)>().prop_map(|(group, change)| Event::Stale { group, change }),
        4 => any::<u8>().prop_map(|pick| Event::Delete { pick }),
        2 => any::<(u8, u8, u8)>().prop_map(|(group, from, to)| Event::Move { group, from, to }),
        1 => any::<(u8, u8)>().prop_map(|(shard, member)| Event::Prefer { shard, member }),
        1 => any::<(u8, u8)>().prop_map(|(group, member)| Event::Rebuild { group, member }),
    ]
}

/// The machine, and who asks it for something.
pub(crate) struct World {
    machine: Checked,
    zones: u8,
    instances: u128,
}

impl World {
    pub(crate) fn new(nodes: u64, shards: u32, zones: u8) -> World {
        let mut world = World { machine: Checked::default(), zones, instances: u128::from(nodes) };
        let nodes: Vec<_> = (1..=nodes)
            .map(|id| NodeDescriptor {
                id: NodeId(id),
                instance: InstanceId(u128::from(id)),
                peer_address: format!("h{id}"),
                zone: world.zone(id as u8),
                ..NodeDescriptor::default()
            })
            .collect();
        let first = (1..).zip(nodes.iter().take(3));
        let meta = first.map(|(id, node)| ReplicaPlacement { replica: ReplicaId(id), node: node.id }).collect();
        let reply = world.apply(MetaCommand::Found { cluster: ClusterId(1), nodes, meta, shard_count: shards });
        assert!(matches!(reply, MetaReply::Founded { .. }), "{reply:?}");
        world
    }

    pub(crate) fn map(&self) -> ShardMap {
        self.machine.map().expect("founded")
    }

    fn zone(&self, number: u8) -> String {
        if self.zones == 0 { String::new() } else { format!("z{}", number % self.zones) }
    }

    /// Applies a command twice, as a driver does that crashed before the answer came: the second time changes nothing.
    fn apply(&mut self, command: MetaCommand) -> MetaReply {
        let reply = self.machine.apply(&command);
        self.machine.apply(&command);
        // A plan that was held back by limits may find something else that they allow.
        let is_held_back = matches!(reply, MetaReply::Planned { waiting, .. } if waiting > 0);
        assert!(is_held_back || self.machine.tablet.writes.is_empty(), "{command:?} was carried out twice");
        reply
    }

    fn node(&self, number: u8) -> NodeDescriptor {
        let map = self.map();
        map.nodes[usize::from(number) % map.nodes.len()].clone()
    }

    fn join(&mut self, instance: InstanceId, peer_address: String, zone: String) -> MetaReply {
        let (client_address, versions) = (String::new(), VersionRange::default());
        self.apply(MetaCommand::Join(Joiner { instance, peer_address, client_address, zone, weight: 1, versions }))
    }

    /// The nodes whose bits are set.
    pub(crate) fn chosen(&self, bits: u8) -> BTreeSet<NodeId> {
        let nodes = self.map().nodes.into_iter().map(|node| node.id);
        nodes.filter(|id| bits & (1u8 << (id.0 % 8)) != 0).collect()
    }

    fn group(&self, number: u8) -> GroupId {
        GroupId(u64::from(number) % (self.map().shards.len() as u64 + 1))
    }

    fn pick_change(&self, pick: u8) -> Option<(GroupId, ChangeId)> {
        let map = self.map();
        let running: Vec<_> = map.groups().filter_map(|group| Some((group.group, group.changes.change?.id))).collect();
        running.get(usize::from(pick) % running.len().max(1)).copied()
    }

    fn member(&self, group: GroupId, member: u8) -> ReplicaId {
        let map = self.map();
        let replicas = map.group(group).expect("a group").replicas;
        replicas[usize::from(member) % replicas.len()].replica
    }

    pub(crate) fn happen(&mut self, event: &Event) {
        let command = match *event {
            Event::Join { zone } => {
                self.instances += 1;
                let zone = self.zone(zone);
                self.join(InstanceId(self.instances), format!("h{}", self.instances), zone);
                return;
            }
            Event::Wipe { node } => {
                self.instances += 1;
                let node = self.node(node);
                self.join(InstanceId(self.instances), node.peer_address, node.zone);
                return;
            }
            Event::Restart { node, zone } => {
                let node = self.node(node);
                let zone = if zone < 32 { self.zone(zone) } else { node.zone };
                self.join(node.instance, node.peer_address, zone);
                return;
            }
            Event::Wish { node, wanted, force } => {
                MetaCommand::SetNodeState { node: self.node(node).id, wanted, force }
            }
            Event::Plan { changes, per_node } => MetaCommand::Plan { limits: PlanLimits { changes, per_node } },
            Event::PlanAround { changes, full } => {
                let limits = PlanLimits { changes, per_node: 2 };
                MetaCommand::PlanAround { limits, full: self.chosen(full).into_iter().collect() }
            }
            Event::Decide { pick, .. }
            | Event::Finish { pick }
            | Event::Abandon { pick, .. }
            | Event::Cancel { pick } => {
                let Some((group, change)) = self.pick_change(pick) else { return };
                match *event {
                    Event::Decide { term, .. } => MetaCommand::DecideChange { group, change, term: Term(term) },
                    Event::Finish { .. } => MetaCommand::FinishChange { group, change },
                    Event::Abandon { term, .. } => MetaCommand::AbandonChange { group, change, term: Term(term) },
                    _ => MetaCommand::CancelChange { group, change },
                }
            }
            Event::Stale { group, change } => {
                let (group, change) = (self.group(group), ChangeId(u64::from(change)));
                MetaCommand::FinishChange { group, change }
            }
            Event::Delete { pick } => {
                let map = self.map();
                let leaving = |group: GroupPlacement<'_>| {
                    group.changes.leaving.iter().map(|placement| (group.group, placement.replica)).collect::<Vec<_>>()
                };
                let leaving: Vec<_> = map.groups().flat_map(leaving).collect();
                let Some((group, replica)) = leaving.get(usize::from(pick) % leaving.len().max(1)).copied() else {
                    return;
                };
                MetaCommand::ReplicaDeleted { group, replica }
            }
            Event::Move { group, from, to } => {
                MetaCommand::Move { group: self.group(group), from: self.node(from).id, to: self.node(to).id }
            }
            Event::Prefer { shard, member } => {
                let shard = ShardId(u32::from(shard) % self.map().shards.len() as u32);
                MetaCommand::PreferLeader { shard, replica: self.member(GroupId::of_shard(shard), member) }
            }
            Event::Rebuild { group, member } => {
                let group = self.group(group);
                MetaCommand::Rebuild { group, replica: self.member(group, member) }
            }
        };
        self.apply(command);
    }

    /// Lost nodes start again, and drains end.
    pub(crate) fn everybody_comes_back(&mut self) {
        for node in self.map().nodes {
            self.join(node.instance, node.peer_address, node.zone);
            if node.state == NodeState::Draining {
                self.apply(MetaCommand::SetNodeState { node: node.id, wanted: NodeState::Active, force: false });
            }
        }
    }

    /// Everybody does their part and nothing else happens, while some nodes have no room: leaders finish changes, and
    /// what does not get on is cancelled where another node has room. Then planning comes to an end (META-9).
    pub(crate) fn come_to_rest(&mut self, full: &BTreeSet<NodeId>) {
        let limits = PlanLimits { changes: 4, per_node: 2 };
        for round in 0.. {
            assert!(round < 500, "planning does not come to an end around {full:?}: {}", shown(&self.map()));
            let before = self.map();
            for (group, change) in held_up(&before, full) {
                self.apply(MetaCommand::CancelChange { group, change });
            }
            self.apply(MetaCommand::plan_around(limits, full));
            self.lead(full);
            if self.map() == before {
                break;
            }
        }
    }

    /// Leaders that have a majority finish their changes, unless these wait for room, and nodes delete what left.
    fn lead(&mut self, full: &BTreeSet<NodeId>) {
        let map = self.map();
        for group in map.groups().filter(|group| has_majority(&map, group)) {
            let Some(change) = group.changes.change.filter(|_| !waits_for_room(&group, full)) else { continue };
            let group = group.group;
            if change.cancelled {
                self.apply(MetaCommand::AbandonChange { group, change: change.id, term: Term(9) });
            } else {
                self.apply(MetaCommand::DecideChange { group, change: change.id, term: Term(9) });
                self.apply(MetaCommand::FinishChange { group, change: change.id });
            }
        }
        let map = self.map();
        for group in map.groups() {
            for placement in &group.changes.leaving {
                self.apply(MetaCommand::ReplicaDeleted { group: group.group, replica: placement.replica });
            }
        }
    }
}

/// Whether the change of a group does not get on, because the new replica's node is full.
pub(crate) fn waits_for_room(group: &GroupPlacement<'_>, full: &BTreeSet<NodeId>) -> bool {
    let waits = |change: ReplicaChange| change.add.is_some_and(|add| full.contains(&add.node));
    group.changes.change.is_some_and(|change| !change.cancelled && !change.is_decided() && waits(change))
}

pub(crate) fn has_majority(map: &ShardMap, group: &GroupPlacement<'_>) -> bool {
    let is_there = |node| map.node(node).is_some_and(|node| node.state.is_counted_on());
    group.replicas.iter().filter(|placement| is_there(placement.node)).count() > group.replicas.len() / 2
}

pub(crate) fn shown(map: &ShardMap) -> String {
    let mut text = String::from("\n");
    crate::show::show_map(&mut text, map).expect("strings take everything");
    text
}
