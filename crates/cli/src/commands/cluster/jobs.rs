//! `strata cluster jobs`.

use serde_json::{Value, json};
use strata_proto::v1;
use strata_types::{GroupId, GroupPlacement, NodeId, ReplicaChange, ReplicaPlacement, ShardMap};

use super::name_of;
use crate::output::{Answer, table};

/// Something that is under way in a group.
struct Job {
    group: String,
    change: Option<u64>,
    reason: Option<String>,
    from: Option<NodeId>,
    to: Option<NodeId>,
    state: &'static str,
    /// Log entries that the new replica lacks, as far as anybody knows.
    behind: Option<u64>,
}

/// A line for each change, and for each replica that is being deleted.
pub fn answer(map: &ShardMap, shards: &[v1::ShardStatus]) -> Answer {
    let jobs: Vec<Job> = map.groups().flat_map(|group| jobs_of(&group, shards)).collect();
    let json = Value::Array(jobs.iter().map(Job::json).collect());
    if jobs.is_empty() {
        return Answer::new("nothing is under way", json);
    }
    let rows: Vec<Vec<String>> = jobs.iter().map(Job::row).collect();
    Answer::new(table(&["job", "shard", "from", "to", "state", "why"], &rows), json)
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
    }
}

/// How many entries of the leader's log a new replica lacks, if both have answered.
fn behind(group: GroupId, added: ReplicaPlacement, shards: &[v1::ShardStatus]) -> Option<u64> {
    let shard = group.shard()?.0;
    let status = shards.iter().find(|status| status.placement.as_ref().is_some_and(|found| found.shard == shard))?;
    let leader = status.replicas.iter().find(|replica| Some(replica.node) == status.leader)?;
    let newcomer = status.replicas.iter().find(|replica| replica.replica == added.replica.0)?;
    Some(leader.last.saturating_sub(newcomer.last))
}

impl Job {
    fn row(&self) -> Vec<String> {
        let node = |node: Option<NodeId>| node.map_or_else(|| "-".to_owned(), |node| node.to_string());
        let state = match self.behind {
            Some(entries) if self.state == "catching up" => format!("{}, {entries} entries behind", self.state),
            _ => self.state.to_owned(),
        };
        vec![
            self.change.map_or_else(|| "-".to_owned(), |change| format!("m{change}")),
            self.group.clone(),
            node(self.from),
            node(self.to),
            state,
            self.reason.clone().unwrap_or_else(|| "it left its group".to_owned()),
        ]
    }

    fn json(&self) -> Value {
        json!({
            "job": self.change,
            "group": self.group,
            "reason": self.reason,
            "from": self.from.map(|node| node.0),
            "to": self.to.map(|node| node.0),
            "state": self.state.replace(' ', "_"),
            "behind": self.behind,
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
        String::from_utf8(answer(map, shards).text).expect("text")
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
        let status = |replica, node, last| v1::ReplicaStatus { replica, node, last, ..v1::ReplicaStatus::default() };
        let shards = [v1::ShardStatus {
            placement: Some(v1::ShardPlacement::from(&map.shards[0])),
            leader: Some(1),
            replicas: vec![status(1, 1, 500), status(99, 4, 60)],
            ..v1::ShardStatus::default()
        }];
        assert_eq!(
            text(&map, &shards),
            "job  shard  from  to  state                            why\n\
             m4   meta   -     n4  catching up                      the node is being removed\n\
             m5   s0     n2    n4  catching up, 440 entries behind  the node is being removed\n\
             m6   s1     n2    n4  decided                          the node is being removed\n\
             -    s1     n3    -   deleting                         it left its group\n\
             m7   s2     -     n4  cancelled                        the node is being removed"
        );
        let json = answer(&map, &shards).json;
        assert_eq!((&json[1]["state"], &json[1]["behind"]), (&"catching_up".into(), &440.into()));
    }

    #[test]
    fn nothing_is_said_in_words() {
        assert_eq!(text(&ShardMap::default(), &[]), "nothing is under way");
        assert_eq!(answer(&ShardMap::default(), &[]).json, json!([]));
    }
}
