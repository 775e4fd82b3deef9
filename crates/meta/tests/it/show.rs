//! Maps and changes as text.

use std::fmt::{Result, Write as _};

use strata_meta::{Imbalance, PlannedChange};
use strata_types::{GroupChanges, GroupId, NodeDescriptor, NodeState, ReplicaPlacement, ShardMap, VersionRange};

pub(crate) fn members(replicas: &[ReplicaPlacement]) -> String {
    let shown: Vec<_> = replicas.iter().map(|placement| format!("{}@{}", placement.replica, placement.node)).collect();
    shown.join(" ")
}

pub(crate) fn group_name(group: GroupId) -> String {
    group.shard().map_or("meta".to_owned(), |shard| shard.to_string())
}

/// Only what is not as it was at the beginning.
fn changes_text(changes: &GroupChanges) -> String {
    let mut text = String::new();
    if let Some(change) = changes.change {
        let add = change.add.map_or(String::new(), |add| format!(" +{}@{}", add.replica, add.node));
        let remove = change.remove.map_or(String::new(), |remove| format!(" -{remove}"));
        let mut cancelled = if change.cancelled { ", cancelled".to_owned() } else { String::new() };
        if change.is_decided() {
            cancelled += &format!(", decided in {}", change.decided);
        }
        text += &format!("; {}{add}{remove} ({}{cancelled})", change.id, change.reason);
    }
    if !changes.leaving.is_empty() {
        text += &format!("; leaving {}", members(&changes.leaving));
    }
    text
}

fn node_text(node: &NodeDescriptor) -> String {
    let mut text = String::new();
    if node.instance.0 != 0 {
        text += &format!(" instance={:x}", node.instance.0);
    }
    if node.weight != 1 {
        text += &format!(" weight={}", node.weight);
    }
    if node.versions != VersionRange::default() {
        text += &format!(" versions={}", node.versions);
    }
    if node.state != NodeState::Active {
        text += &format!(" {}", node.state);
    }
    text
}

pub(crate) fn show_map(output: &mut String, map: &ShardMap) -> Result {
    let meta = members(&map.meta) + &changes_text(&map.meta_changes);
    let version = if map.version.0 == 1 { String::new() } else { format!(" version {}", map.version) };
    writeln!(output, "cluster {} epoch {}{version} meta {meta}", map.cluster, map.epoch)?;
    for node in &map.nodes {
        let text = node_text(node);
        let NodeDescriptor { id, peer_address, client_address, zone, .. } = node;
        writeln!(output, "{id} peer={peer_address} client={client_address} zone={zone:?}{text}")?;
    }
    for shard in &map.shards {
        let changes = changes_text(&shard.changes);
        writeln!(output, "{} {} {}{changes}", shard.shard, shard.slots, members(&shard.replicas))?;
    }
    show_loads(output, map)
}

/// How much each node holds and leads.
pub(crate) fn show_loads(output: &mut String, map: &ShardMap) -> Result {
    let count = |id, leading| {
        let shards = map.shards.iter();
        let held = shards.filter(|shard| match leading {
            true => shard.replicas[0].node == id,
            false => shard.replicas.iter().any(|placement| placement.node == id),
        });
        held.count()
    };
    for node in &map.nodes {
        let state = if node.state == NodeState::Active { String::new() } else { format!(" {}", node.state) };
        writeln!(output, "{}{state} holds {} leads {}", node.id, count(node.id, false), count(node.id, true))?;
    }
    Ok(())
}

pub(crate) fn show_changes(output: &mut String, map: &ShardMap) -> Result {
    for group in map.groups() {
        let text = changes_text(group.changes);
        if !text.is_empty() {
            writeln!(output, "{}{text}", group_name(group.group))?;
        }
    }
    Ok(())
}

pub(crate) fn planned_text(change: &PlannedChange) -> String {
    let name = |node: Option<strata_types::NodeId>| node.map_or("-".to_owned(), |node| node.to_string());
    let group = group_name(change.group);
    format!("{group} {} -> {}: {}", name(change.remove), name(change.add), change.reason)
}

pub(crate) fn imbalance_text(imbalance: Imbalance) -> String {
    format!("entropy {:.3} largest/mean {:.3}", imbalance.entropy, imbalance.largest_over_mean)
}
