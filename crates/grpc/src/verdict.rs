//! How the cluster is, in a word and in sentences.

use strata_proto::v1::Health;
use strata_types::{GroupPlacement, NodeState, ShardMap};

use crate::{ClusterOverview, NodeOverview, ShardOverview};

/// What an operator should know, most important things first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// In a word.
    pub(crate) health: Health,
    /// One sentence for each thing that is not as it should be.
    pub(crate) problems: Vec<String>,
    /// One sentence for each thing that is meant to be so, but not for ever.
    pub(crate) notes: Vec<String>,
}

impl Verdict {
    /// Of what the nodes said, and of what is wished of them.
    pub(crate) fn of(overview: &ClusterOverview, map: &ShardMap) -> Verdict {
        let mut problems = Vec::new();
        if overview.meta_leader.is_none() {
            problems.push("the meta group has no leader".to_owned());
        }
        for shard in overview.shards.iter().filter(|shard| shard.leader.is_none()) {
            problems.push(format!("shard {} has no leader", shard.placement.shard));
        }
        let is_available =
            problems.is_empty() && !overview.shards.is_empty() && overview.shards.iter().all(has_majority);
        problems.extend(overview.problems.iter().cloned());
        problems.extend(overview.nodes.iter().flat_map(|node| node_problems(node, map)));
        problems.extend(overview.shards.iter().flat_map(shard_problems));
        let health = match (is_available, problems.is_empty()) {
            (false, _) => Health::Unavailable,
            (true, false) => Health::Degraded,
            (true, true) => Health::Healthy,
        };
        let mut notes: Vec<_> = overview.nodes.iter().filter_map(|node| node_note(node, map)).collect();
        notes.extend(changes_note(map));
        notes.extend(version_note(map));
        Verdict { health, problems, notes }
    }
}

fn node_problems(node: &NodeOverview, map: &ShardMap) -> Vec<String> {
    let id = node.node.id;
    let mut problems = Vec::new();
    // Nobody waits for a lost node that has nothing any more.
    let is_missed = node.node.state.is_counted_on() || groups_of(node, map) > 0;
    if !node.is_up && is_missed {
        problems.push(format!("node {id} at {} does not answer", node.node.peer_address));
    }
    problems.extend(node.problems.iter().map(|problem| format!("node {id}: {problem}")));
    problems
}

fn shard_problems(shard: &ShardOverview) -> Vec<String> {
    let id = shard.placement.shard;
    let troubled = shard.replicas.iter().filter_map(|replica| Some((replica, replica.problem.as_ref()?)));
    let mut problems: Vec<_> = troubled
        .map(|(replica, problem)| format!("shard {id}: replica {} on {}: {problem}", replica.replica, replica.node))
        .collect();
    let (here, members) = (answering(shard), shard.placement.replicas.len());
    if here < members {
        problems.push(format!("shard {id}: {here} of {members} replicas answer"));
    }
    problems
}

/// Whether a leader could have a quorum. Without one it may not have noticed yet.
fn has_majority(shard: &ShardOverview) -> bool {
    answering(shard) > shard.placement.replicas.len() / 2
}

/// Members of a shard that answer.
fn answering(shard: &ShardOverview) -> usize {
    let answers = |id| shard.replicas.iter().any(|replica| replica.replica == id);
    shard.placement.replicas.iter().filter(|member| answers(member.replica)).count()
}

/// Groups, the meta group included, of which a node holds a replica or is to.
fn groups_of(node: &NodeOverview, map: &ShardMap) -> usize {
    let holds = |group: &GroupPlacement<'_>| group.open_replicas().any(|placement| placement.node == node.node.id);
    map.groups().filter(holds).count()
}

fn node_note(node: &NodeOverview, map: &ShardMap) -> Option<String> {
    let id = node.node.id;
    let groups = match groups_of(node, map) {
        1 => "1 replica".to_owned(),
        groups => format!("{groups} replicas"),
    };
    Some(match node.node.state {
        NodeState::Active => return None,
        NodeState::Draining => format!("node {id} is draining: it leads nothing and gets no new replicas"),
        NodeState::Removing => format!("node {id} is being removed: {groups} to go"),
        NodeState::Stopping => format!("node {id} is stopping, until it starts again"),
        NodeState::Lost if groups_of(node, map) == 0 => format!("node {id} is lost and holds nothing any more"),
        NodeState::Lost => format!("node {id} is lost: {groups} to be replaced"),
        state => format!("node {id} is {state}: {groups} to be replaced"),
    })
}

fn changes_note(map: &ShardMap) -> Option<String> {
    let under_way = map.groups().filter(|group| group.changes.change.is_some()).count();
    let leaving: usize = map.groups().map(|group| group.changes.leaving.len()).sum();
    let count = |count: usize, what: &str| match count {
        0 => None,
        1 => Some(format!("1 {what} is")),
        count => Some(format!("{count} {what}s are")),
    };
    let parts = [
        count(under_way, "change").map(|text| format!("{text} under way")),
        count(leaving, "former replica").map(|text| format!("{text} being deleted")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

/// An upgrade that everybody is ready for, or that is half way.
fn version_note(map: &ShardMap) -> Option<String> {
    let newest = map.nodes.iter().map(|node| node.versions.most).max()?;
    if newest <= map.version {
        return None;
    }
    let reach = map.version_within_reach();
    if reach > map.version {
        return Some(format!("every node knows cluster version {reach}: `strata cluster upgrade` switches it on"));
    }
    let behind = map.nodes.iter().filter(|node| node.versions.most < newest).count();
    let nodes = map.nodes.len();
    Some(format!("programs are being exchanged: {behind} of {nodes} nodes do not know cluster version {newest}"))
}

#[cfg(test)]
#[path = "verdict/tests.rs"]
mod tests;
