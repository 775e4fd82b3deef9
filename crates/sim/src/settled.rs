//! Whether a healed cluster has come to rest.

use std::collections::BTreeMap;

use strata_meta::{PlanLimits, plan};
use strata_raft::GroupStatus;
use strata_types::{GroupPlacement, NodeDescriptor, NodeId, NodeState, ReplicaId, ShardMap};

use crate::cluster::Cluster;

/// What is still missing, in one sentence; `None` for a cluster that has come to rest: all machines in service run a node
/// that has the newest map, nothing is under way or planned, and each group has the members that the map has, open on
/// their nodes, one leader among them, and all of them alike.
pub(crate) fn unsettled(cluster: &Cluster) -> Option<String> {
    let nodes = cluster.nodes();
    let Some(map) = nodes.iter().map(|(_, _, node)| node.map()).max_by_key(|map| map.epoch) else {
        return Some("no node runs".into());
    };
    if map.shards.is_empty() {
        return Some("the cluster is not founded".into());
    }
    for host in cluster.in_service() {
        let Some((_, _, node)) = nodes.iter().find(|(running, _, _)| *running == host) else {
            return Some(format!("host-{host} has no running node"));
        };
        let (id, epoch) = (node.identity().node, node.map().epoch);
        if map.node(id).is_none() || epoch != map.epoch {
            return Some(format!("host-{host} is {id}, with a map of {epoch}, and the newest is of {}", map.epoch));
        }
    }
    let members_of = |group: &GroupPlacement<'_>| {
        let open = nodes.iter().filter_map(|(_, _, node)| node.host().group(group.group));
        let leaders: Vec<_> = open.filter(|replica| replica.status().is_leader).collect();
        match leaders.as_slice() {
            [leader] => leader.members(),
            _ => None,
        }
    };
    if let Some(text) = unfinished(&map) {
        return Some(text);
    }
    let statuses = cluster.statuses();
    for group in map.groups() {
        let voters: BTreeMap<ReplicaId, NodeId> =
            group.replicas.iter().map(|placed| (placed.replica, placed.node)).collect();
        let Some(members) = members_of(&group) else {
            return Some(format!("{} has no leader, or more than one", group.group));
        };
        if members.voters != voters || !members.learners.is_empty() || members.is_joint {
            return Some(format!("{} has {members:?} instead of {voters:?}", group.group));
        }
        let of: Vec<_> = statuses.iter().filter(|status| status.group == group.group).collect();
        if !of.iter().map(|status| status.replica).eq(voters.keys().copied()) || !are_alike(&of) {
            return Some(format!("{} is not the same everywhere: {of:?}", group.group));
        }
    }
    None
}

/// SIM-MAP-8: of a cluster that has come to rest, a group that has too many replicas in one zone, although other
/// zones have nodes for them. A node without a zone is one of its own.
pub(crate) fn crowded(map: &ShardMap) -> Option<String> {
    let zone_of = |node: &NodeDescriptor| match node.zone.is_empty() {
        true => node.id.to_string(),
        false => node.zone.clone(),
    };
    let mut sizes: BTreeMap<String, usize> = BTreeMap::new();
    for node in map.nodes.iter().filter(|node| node.state.takes()) {
        *sizes.entry(zone_of(node)).or_default() += 1;
    }
    map.groups().find_map(|group| {
        let room = |most: usize| sizes.values().map(|size| most.min(*size)).sum::<usize>();
        let most = (1..=group.replicas.len()).find(|most| room(*most) >= group.replicas.len())?;
        let mut held: BTreeMap<String, usize> = BTreeMap::new();
        for placed in group.replicas {
            *held.entry(zone_of(map.node(placed.node)?)).or_default() += 1;
        }
        let is_crowded = held.values().any(|count| *count > most);
        is_crowded.then(|| format!("SIM-MAP-8 zones are used: {} has {held:?} of {sizes:?}", group.group))
    })
}

/// What the map says is still to be done.
fn unfinished(map: &ShardMap) -> Option<String> {
    if let Some(group) = map.groups().find(|group| group.changes.change.is_some() || !group.changes.leaving.is_empty())
    {
        return Some(format!("{} is changing: {:?}", group.group, group.changes));
    }
    let plan = plan(map, PlanLimits::NONE);
    if !plan.is_empty() {
        return Some(format!("there is something to plan: {plan:?}"));
    }
    // A removal may wait for another node that could take the replicas; then the planner says so.
    let is_stuck = |state| matches!(state, NodeState::Removing | NodeState::Gone | NodeState::Lost);
    let node = map.nodes.iter().find(|node| is_stuck(node.state) && plan.waiting.is_empty())?;
    Some(format!("{} is {}, and nothing is planned about it", node.id, node.state))
}

fn are_alike(replicas: &[&GroupStatus]) -> bool {
    let first = replicas.first();
    first.is_some_and(|first| {
        replicas.iter().all(|one| one.applied == one.last && one.applied == first.applied && one.chain == first.chain)
    })
}

#[cfg(test)]
mod tests {
    use strata_types::{ReplicaPlacement, ShardId, ShardPlacement};

    use super::*;

    /// A shard on nodes, of which each has a zone, by its name.
    fn map(zones: &[&str], on: &[u64]) -> ShardMap {
        let node = |(index, zone): (usize, &&str)| {
            let (id, zone) = (NodeId(index as u64 + 1), (*zone).to_owned());
            NodeDescriptor { id, zone, ..NodeDescriptor::default() }
        };
        let placed = |node: &u64| ReplicaPlacement { replica: ReplicaId(*node), node: NodeId(*node) };
        let replicas = on.iter().map(placed).collect();
        let shard = ShardPlacement { shard: ShardId(0), replicas, ..ShardPlacement::default() };
        ShardMap { nodes: zones.iter().enumerate().map(node).collect(), shards: vec![shard], ..ShardMap::default() }
    }

    /// SIM-MAP-8
    #[test]
    fn replicas_that_crowd_a_zone_are_found() {
        let zones = ["a", "b", "c", "a"];
        assert_eq!(crowded(&map(&zones, &[1, 2, 3])), None);
        assert!(crowded(&map(&zones, &[1, 2, 4])).is_some_and(|text| text.starts_with("SIM-MAP-8")));
        assert_eq!(crowded(&map(&["a", "b", "a", "b"], &[1, 2, 4])), None, "two zones cannot do better");
        assert_eq!(crowded(&map(&["a", "a", "a"], &[1, 2, 3])), None);
        assert_eq!(crowded(&map(&["", "", ""], &[1, 2, 3])), None);
        let mut leaving = map(&zones, &[1, 2, 4]);
        leaving.nodes[2].state = NodeState::Draining;
        assert_eq!(crowded(&leaving), None, "nothing new comes to the third zone");
    }
}
