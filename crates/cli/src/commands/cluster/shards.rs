//! `strata cluster shards`.

use serde_json::{Value, json};
use strata_proto::v1;

use crate::output::{Answer, table};

/// A line for each shard.
pub fn answer(shards: &[v1::ShardStatus]) -> Answer {
    let rows: Vec<Vec<String>> = shards.iter().map(row).collect();
    let mut text = table(&["shard", "slots", "leader", "term", "replicas", "applied", "log"], &rows);
    for shard in shards {
        let id = shard.placement.as_ref().map_or(0, |placement| placement.shard);
        for replica in shard.replicas.iter().filter(|replica| !replica.problem.is_empty()) {
            text.push_str(&format!(
                "\n! s{id}: replica r{} on n{}: {}",
                replica.replica, replica.node, replica.problem
            ));
        }
    }
    Answer::new(text, Value::Array(shards.iter().map(shard_json).collect()))
}

fn row(status: &v1::ShardStatus) -> Vec<String> {
    let placement = status.placement.clone().unwrap_or_default();
    // A replica that is being added has nothing for a while.
    let is_member = |id| placement.replicas.iter().any(|placed| placed.replica == id);
    let members = status.replicas.iter().filter(|replica| is_member(replica.replica));
    let slowest = members.clone().map(|replica| replica.applied).min();
    let fastest = members.map(|replica| replica.applied).max();
    let applied = match (slowest, fastest) {
        (Some(slowest), Some(fastest)) if slowest != fastest => format!("{slowest}..{fastest}"),
        (Some(same), _) => same.to_string(),
        (None, _) => "-".to_owned(),
    };
    let log_bytes = status.replicas.iter().map(|replica| replica.log_bytes).max().unwrap_or(0);
    vec![
        format!("s{}", placement.shard),
        slots_of(&placement),
        status.leader.map_or_else(|| "none".to_owned(), |node| format!("n{node}")),
        status.term.to_string(),
        replicas_of(status, &placement),
        applied,
        format!("{} KiB", log_bytes.div_ceil(1 << 10)),
    ]
}

/// The nodes of the replicas: `!` after one that does not serve, `+` before one that comes, `-` before one that goes.
fn replicas_of(status: &v1::ShardStatus, placement: &v1::ShardPlacement) -> String {
    let change = placement.changes.as_ref().and_then(|changes| changes.change);
    let serves = |node: u64| status.replicas.iter().any(|replica| replica.node == node && replica.serving);
    let members = placement.replicas.iter().map(|replica| {
        let goes = if change.is_some_and(|change| change.remove == replica.replica) { "-" } else { "" };
        let mark = if serves(replica.node) { "" } else { "!" };
        format!("{goes}n{}{mark}", replica.node)
    });
    let comes = change.and_then(|change| change.add).map(|added| format!("+n{}", added.node));
    members.chain(comes).collect::<Vec<_>>().join(" ")
}

fn shard_json(status: &v1::ShardStatus) -> Value {
    let placement = status.placement.clone().unwrap_or_default();
    let change = placement.changes.as_ref().and_then(|changes| changes.change);
    let replicas = placement.replicas.iter().map(|placed| {
        let told = status.replicas.iter().find(|replica| replica.replica == placed.replica);
        json!({
            "replica": placed.replica,
            "node": placed.node,
            "answers": told.is_some(),
            "serving": told.is_some_and(|replica| replica.serving),
            "last": told.map(|replica| replica.last),
            "committed": told.map(|replica| replica.committed),
            "applied": told.map(|replica| replica.applied),
            "log_bytes": told.map(|replica| replica.log_bytes),
            "problem": told.map(|replica| replica.problem.as_str()).filter(|problem| !problem.is_empty()),
        })
    });
    json!({
        "shard": placement.shard,
        "slots": slots_of(&placement),
        "leader": status.leader,
        "term": status.term,
        "replicas": replicas.collect::<Vec<_>>(),
        "adding": change.and_then(|change| change.add).map(|added| added.node),
        "removing": change.map(|change| change.remove).filter(|replica| *replica > 0),
    })
}

fn slots_of(placement: &v1::ShardPlacement) -> String {
    format!("{}..{}", placement.slot_start, placement.slot_end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_that_come_and_go_are_marked() {
        let placed = |replica, node| v1::ReplicaPlacement { replica, node };
        let change = v1::ReplicaChange { add: Some(placed(9, 4)), remove: 2, ..v1::ReplicaChange::default() };
        let status = |replica, node, applied| v1::ReplicaStatus {
            replica,
            node,
            applied,
            serving: true,
            ..v1::ReplicaStatus::default()
        };
        let shard = v1::ShardStatus {
            placement: Some(v1::ShardPlacement {
                shard: 5,
                slot_end: 16_384,
                replicas: vec![placed(1, 1), placed(2, 2), placed(3, 3)],
                changes: Some(v1::GroupChanges { change: Some(change), ..v1::GroupChanges::default() }),
                ..v1::ShardPlacement::default()
            }),
            leader: Some(1),
            term: 2,
            replicas: vec![status(1, 1, 70), status(2, 2, 70), status(9, 4, 3)],
        };
        let answer = answer(&[shard]);
        assert_eq!(
            String::from_utf8(answer.text).expect("text"),
            "shard  slots     leader  term  replicas        applied  log\n\
             s5     0..16384  n1      2     n1 -n2 n3! +n4  70       0 KiB"
        );
        assert_eq!((&answer.json[0]["adding"], &answer.json[0]["removing"]), (&4.into(), &2.into()));
    }
}
