//! `strata cluster jobs`.

use serde_json::{Value, json};
use strata_proto::v1;
use strata_types::{GroupId, GroupPlacement, NodeId, ReplicaChange, ReplicaPlacement, ShardMap};

use super::estimate::{Estimate, left_text};
use super::{bytes_text, name_of};
use crate::output::{Answer, table};

/// Something that is under way in a group.
struct Job {
    group: String,
    change: Option<u64>,
    reason: Option<String>,
    from: Option<NodeId>,
    to: Option<NodeId>,
    state: &'static str,
    /// Entries of the log that the new replica has not applied, as far as anybody knows.
    behind: Option<u64>,
    estimate: Estimate,
    /// What keeps the new replica from catching up.
    problem: Option<String>,
}

/// A line for each change, and for each replica that is being deleted.
pub fn answer(map: &ShardMap, shards: &[v1::ShardStatus], nodes: &[v1::NodeStatus]) -> Answer {
    let mut jobs: Vec<Job> = map.groups().flat_map(|group| jobs_of(&group, shards)).collect();
    for job in jobs.iter_mut().filter(|job| job.problem.is_none()) {
        job.problem = job.to.and_then(|to| problem_of(to, nodes));
    }
    let json = Value::Array(jobs.iter().map(Job::json).collect());
    let mut text = "nothing is under way".to_owned();
    if !jobs.is_empty() {
        let rows: Vec<Vec<String>> = jobs.iter().map(Job::row).collect();
        text = table(&["job", "shard", "from", "to", "state", "left", "why"], &rows);
    }
    for job in &jobs {
        let Job { group, to: Some(to), problem: Some(problem), .. } = job else { continue };
        text += &format!("\n! {group} waits for {to}: {problem}");
    }
    for (node, problem) in leaving_problems(nodes) {
        text += &format!("\n! n{node}: {problem}");
    }
    Answer::new(text, json)
}

fn jobs_of(group: &GroupPlacement<'_>, shards: &[v1::ShardStatus]) -> Vec<Job> {
    let change = group.changes.change.map(|change| of_change(group, &change, shards));
    change.into_iter().chain(group.changes.leaving.iter().map(|placement| of_leaving(group, placement))).collect()
}

fn of_change(group: &GroupPlacement<'_>, change: &ReplicaChange, shards: &[v1::ShardStatus]) -> Job {
    let state = match (change.cancelled, change.is_decided()) {
        (true, _) => "cancelled",
        (false, true) => "decided",
        (false, false) => "catching up",
    };
    Job {
        group: name_of(group.group.shard().map(|shard| shard.0)),
        change: Some(change.id.0),
        reason: Some(change.reason.to_string()),
        from: change.remove.and_then(|replica| group.find(replica)).map(|placement| placement.node),
        to: change.add.map(|placement| placement.node),
        state,
        behind: change.add.and_then(|added| behind(group.group, added, shards)),
        estimate: change.add.and_then(|added| estimate(group.group, added, shards)).unwrap_or_default(),
        problem: change.add.and_then(|added| problem(group.group, added, shards)),
    }
}

fn of_leaving(group: &GroupPlacement<'_>, placement: &ReplicaPlacement) -> Job {
    Job {
        group: name_of(group.group.shard().map(|shard| shard.0)),
        change: None,
        reason: None,
        from: Some(placement.node),
        to: None,
        state: "deleting",
        behind: None,
        estimate: Estimate::default(),
        problem: None,
    }
}

/// What is told of a shard and of its new replica.
fn newcomer(
    group: GroupId,
    added: ReplicaPlacement,
    shards: &[v1::ShardStatus],
) -> Option<(&v1::ShardStatus, &v1::ReplicaStatus)> {
    let shard = group.shard()?.0;
    let status = shards.iter().find(|status| status.placement.as_ref().is_some_and(|found| found.shard == shard))?;
    Some((status, status.replicas.iter().find(|replica| replica.replica == added.replica.0)?))
}

/// How many entries of the leader's log a new replica has not applied, if both have answered. It may hold them all: a
/// full disk keeps it from applying them.
fn behind(group: GroupId, added: ReplicaPlacement, shards: &[v1::ShardStatus]) -> Option<u64> {
    let (status, newcomer) = newcomer(group, added, shards)?;
    Some(leader(status)?.last.saturating_sub(newcomer.applied))
}

fn leader(status: &v1::ShardStatus) -> Option<&v1::ReplicaStatus> {
    status.replicas.iter().find(|replica| Some(replica.node) == status.leader)
}

/// How far a new replica is, if both have answered.
fn estimate(group: GroupId, added: ReplicaPlacement, shards: &[v1::ShardStatus]) -> Option<Estimate> {
    let (status, newcomer) = newcomer(group, added, shards)?;
    Some(Estimate::of(newcomer, leader(status)?))
}

/// What the new replica says is wrong with it.
fn problem(group: GroupId, added: ReplicaPlacement, shards: &[v1::ShardStatus]) -> Option<String> {
    let (_, newcomer) = newcomer(group, added, shards)?;
    (!newcomer.problem.is_empty()).then(|| newcomer.problem.clone())
}

/// What a node says is wrong with it.
fn problem_of(node: NodeId, nodes: &[v1::NodeStatus]) -> Option<String> {
    let is_it = |status: &&v1::NodeStatus| status.node.as_ref().is_some_and(|found| found.id == node.0);
    nodes.iter().find(is_it)?.problems.first().cloned()
}

/// What keeps replicas on nodes that they are to leave.
fn leaving_problems(nodes: &[v1::NodeStatus]) -> impl Iterator<Item = (u64, &str)> {
    let leaving = nodes.iter().filter_map(|status| {
        let node = status.node.as_ref()?;
        matches!(node.state(), v1::NodeState::Lost | v1::NodeState::Removing | v1::NodeState::Gone)
            .then_some((node.id, status))
    });
    leaving.flat_map(|(node, status)| status.problems.iter().map(move |problem| (node, problem.as_str())))
}

impl Job {
    fn row(&self) -> Vec<String> {
        let node = |node: Option<NodeId>| node.map_or_else(|| "-".to_owned(), |node| node.to_string());
        let state = match (self.estimate.bytes, self.behind) {
            // How far it is says nothing while it does not get on; what it waits for stands below.
            _ if self.is_stuck() => format!("{}, waits", self.state),
            (Some((there, all)), _) if self.is_catching_up() => {
                format!("{}, {} of {}", self.state, bytes_text(there), bytes_text(all))
            }
            (None, Some(entries)) if self.is_catching_up() => format!("{}, {entries} entries behind", self.state),
            _ => self.state.to_owned(),
        };
        // The rest is a matter of moments, or waits for somebody.
        let left = match self.is_catching_up() && !self.is_stuck() {
            true => left_text(self.estimate.left),
            false => "-".to_owned(),
        };
        vec![
            self.change.map_or_else(|| "-".to_owned(), |change| format!("m{change}")),
            self.group.clone(),
            node(self.from),
            node(self.to),
            state,
            left,
            self.reason.clone().unwrap_or_else(|| "it left its group".to_owned()),
        ]
    }

    fn is_catching_up(&self) -> bool {
        self.state == "catching up"
    }

    /// Whether it is known what keeps it from catching up.
    fn is_stuck(&self) -> bool {
        self.is_catching_up() && self.problem.is_some()
    }

    fn json(&self) -> Value {
        let Estimate { bytes, left } = if self.is_catching_up() { self.estimate } else { Estimate::default() };
        let left = left.filter(|_| !self.is_stuck());
        json!({
            "job": self.change,
            "group": self.group,
            "reason": self.reason,
            "from": self.from.map(|node| node.0),
            "to": self.to.map(|node| node.0),
            "state": self.state.replace(' ', "_"),
            "behind": self.behind,
            "bytes_there": bytes.map(|(there, _)| there),
            "bytes": bytes.map(|(_, all)| all),
            "left_seconds": left.map(|left| left.as_secs()),
            "problem": self.problem,
        })
    }
}

#[cfg(test)]
mod tests {
    use strata_types::{ChangeId, ChangeReason, GroupChanges, ReplicaId, ShardId, ShardPlacement, Term};

    use super::*;

    fn placed(replica: u64, node: u64) -> ReplicaPlacement {
        ReplicaPlacement { replica: ReplicaId(replica), node: NodeId(node) }
    }

    fn shard(number: u32, change: Option<ReplicaChange>, leaving: Vec<ReplicaPlacement>) -> ShardPlacement {
        let first = u64::from(number) * 10;
        ShardPlacement {
            shard: ShardId(number),
            replicas: vec![placed(first + 1, 1), placed(first + 2, 2), placed(first + 3, 3)],
            changes: GroupChanges { generation: 1, change, leaving },
            ..ShardPlacement::default()
        }
    }

    fn change(id: u64, remove: u64) -> ReplicaChange {
        ReplicaChange {
            id: ChangeId(id),
            add: Some(placed(99, 4)),
            remove: Some(ReplicaId(remove)),
            reason: ChangeReason::NodeRemoving,
            cancelled: false,
            decided: Term(0),
        }
    }

    fn text(map: &ShardMap, shards: &[v1::ShardStatus]) -> String {
        String::from_utf8(answer(map, shards, &[]).text).expect("text")
    }

    #[test]
    fn every_state_of_a_change_has_a_word() {
        let map = ShardMap {
            shards: vec![
                shard(0, Some(change(5, 2)), Vec::new()),
                shard(1, Some(ReplicaChange { decided: Term(3), ..change(6, 12) }), vec![placed(8, 3)]),
                shard(2, Some(ReplicaChange { cancelled: true, remove: None, ..change(7, 0) }), Vec::new()),
            ],
            meta_changes: GroupChanges { change: Some(change(4, 0)), ..GroupChanges::default() },
            ..ShardMap::default()
        };
        let status = |replica, node, applied| v1::ReplicaStatus {
            replica,
            node,
            last: 500,
            applied,
            ..v1::ReplicaStatus::default()
        };
        let shards = [v1::ShardStatus {
            placement: Some(v1::ShardPlacement::from(&map.shards[0])),
            leader: Some(1),
            replicas: vec![status(1, 1, 500), status(99, 4, 60)],
            ..v1::ShardStatus::default()
        }];
        assert_eq!(
            text(&map, &shards),
            "job  shard  from  to  state                            left           why\n\
             m4   meta   -     n4  catching up                      not known yet  the node is being removed\n\
             m5   s0     n2    n4  catching up, 440 entries behind  not known yet  the node is being removed\n\
             m6   s1     n2    n4  decided                          -              the node is being removed\n\
             -    s1     n3    -   deleting                         -              it left its group\n\
             m7   s2     -     n4  cancelled                        -              the node is being removed"
        );
        let json = answer(&map, &shards, &[]).json;
        assert_eq!((&json[1]["state"], &json[1]["behind"]), (&"catching_up".into(), &440.into()));
    }

    #[test]
    fn the_time_left_is_told_when_it_can_be_known() {
        let map = ShardMap { shards: vec![shard(0, Some(change(5, 2)), Vec::new())], ..ShardMap::default() };
        let status = |replica, node, figures| v1::ReplicaStatus {
            replica,
            node,
            figures: Some(figures),
            ..v1::ReplicaStatus::default()
        };
        let whole = v1::ReplicaFigures { size: 64 << 20, ..v1::ReplicaFigures::default() };
        let half = v1::ReplicaFigures { arrived: 32 << 20, arriving_per_second: 8 << 20, ..whole };
        let shards = [v1::ShardStatus {
            placement: Some(v1::ShardPlacement::from(&map.shards[0])),
            leader: Some(1),
            replicas: vec![status(1, 1, whole), status(99, 4, half)],
            ..v1::ShardStatus::default()
        }];
        let lines = text(&map, &shards);
        assert!(lines.contains("catching up, 32 MiB of 64 MiB  4 s   the node is being removed"), "{lines}");
        let json = answer(&map, &shards, &[]).json;
        assert_eq!((&json[0]["left_seconds"], &json[0]["bytes"]), (&4.into(), &(64 << 20).into()));
        assert_eq!(answer(&map, &[], &[]).json[0]["left_seconds"], Value::Null);
    }

    #[test]
    fn what_keeps_a_new_replica_waiting_is_said() {
        let shards = vec![shard(0, Some(change(5, 2)), Vec::new()), shard(1, Some(change(6, 12)), Vec::new())];
        let map = ShardMap { shards, ..ShardMap::default() };
        // Its log has all that the leader's has, and its tablet has no room for it.
        let status = |replica, node| v1::ReplicaStatus { replica, node, last: 500, ..v1::ReplicaStatus::default() };
        let full = v1::ReplicaStatus { problem: "no room".into(), ..status(99, 4) };
        let told = [v1::ShardStatus {
            placement: Some(v1::ShardPlacement::from(&map.shards[0])),
            leader: Some(1),
            replicas: vec![status(1, 1), full],
            ..v1::ShardStatus::default()
        }];
        let node = v1::NodeDescriptor { id: 4, ..v1::NodeDescriptor::default() };
        let nodes = [v1::NodeStatus {
            node: Some(node),
            problems: vec!["the disk is full".to_owned()],
            ..v1::NodeStatus::default()
        }];
        let answer = answer(&map, &told, &nodes);
        let text = String::from_utf8(answer.text).expect("text");
        assert!(text.contains("s0     n2    n4  catching up, waits  -     the node is being removed"), "{text}");
        assert!(!text.contains("behind"), "it is not said to be almost done: {text}");
        assert!(text.ends_with("\n! s0 waits for n4: no room\n! s1 waits for n4: the disk is full"), "{text}");
        assert_eq!(
            (&answer.json[0]["problem"], &answer.json[1]["problem"]),
            (&"no room".into(), &"the disk is full".into())
        );
    }

    #[test]
    fn what_keeps_replicas_on_a_lost_node_is_said_also_when_nothing_is_under_way() {
        let node = |id, state: v1::NodeState, problem: &str| v1::NodeStatus {
            node: Some(v1::NodeDescriptor { id, state: state.into(), ..v1::NodeDescriptor::default() }),
            problems: vec![problem.to_owned()],
            ..v1::NodeStatus::default()
        };
        let nodes = [node(2, v1::NodeState::Active, "it is slow"), node(3, v1::NodeState::Lost, "nobody has room")];
        let text = String::from_utf8(answer(&ShardMap::default(), &[], &nodes).text).expect("text");
        assert_eq!(text, "nothing is under way\n! n3: nobody has room");
    }

    #[test]
    fn nothing_is_said_in_words() {
        assert_eq!(text(&ShardMap::default(), &[]), "nothing is under way");
        assert_eq!(answer(&ShardMap::default(), &[], &[]).json, json!([]));
    }
}
