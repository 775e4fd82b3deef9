//! `strata cluster status`.

use serde_json::json;
use strata_proto::v1;

use crate::output::Answer;

/// Health in a word, then why, then figures.
pub fn answer(status: &v1::ClusterStatusReply) -> Answer {
    let health = health_of(status);
    let mut lines = vec![health.to_owned()];
    lines.extend(status.problems.iter().map(|problem| format!("  ! {problem}")));
    lines.extend(status.notes.iter().map(|note| format!("  - {note}")));
    let meta = status.meta_leader.map_or_else(|| "none".to_owned(), |node| format!("n{node}"));
    // A node of an older version does not say what it is called.
    lines.push(match status.name.is_empty() {
        true => format!("  cluster {}", status.cluster),
        false => format!("  cluster {} ({})", status.name, status.cluster),
    });
    lines.push(format!("  nodes   {} of {} answer", status.nodes_up, status.nodes));
    lines.push(format!("  shards  {} of {} have a leader", status.shards_led, status.shards));
    lines.push(format!("  meta    leader {meta}, shard map epoch {}", status.epoch));
    let asked =
        format!("  asked   n{}, program {}, cluster version v{}", status.node, status.version, status.cluster_version);
    lines.push(asked);
    let json = json!({
        "cluster": status.cluster,
        "name": Some(&status.name).filter(|name| !name.is_empty()),
        "health": health,
        "healthy": status.healthy,
        "problems": status.problems,
        "notes": status.notes,
        "nodes": status.nodes,
        "nodes_up": status.nodes_up,
        "shards": status.shards,
        "shards_led": status.shards_led,
        "meta_leader": status.meta_leader,
        "epoch": status.epoch,
        "node": status.node,
        "version": status.version,
        "cluster_version": status.cluster_version,
        "version_within_reach": status.version_within_reach,
    });
    Answer::new(lines.join("\n"), json)
}

/// A node of an older version does not say it in a word.
fn health_of(status: &v1::ClusterStatusReply) -> &'static str {
    match status.health() {
        v1::Health::Healthy => "healthy",
        v1::Health::Degraded => "degraded",
        v1::Health::Unavailable => "unavailable",
        v1::Health::Unspecified if status.healthy => "healthy",
        v1::Health::Unspecified => "degraded",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn health_comes_first_and_then_why() {
        let status = v1::ClusterStatusReply {
            cluster: "ab".to_owned(),
            name: "prod".to_owned(),
            node: 1,
            version: "1.0.0".to_owned(),
            cluster_version: 1,
            epoch: 9,
            nodes: 3,
            nodes_up: 2,
            shards: 4,
            shards_led: 4,
            meta_leader: Some(2),
            problems: vec!["node n3 at h:1 does not answer".to_owned()],
            notes: vec!["node n2 is draining".to_owned()],
            health: v1::Health::Degraded.into(),
            ..v1::ClusterStatusReply::default()
        };
        let text = String::from_utf8(answer(&status).text).expect("text");
        assert_eq!(
            text,
            "degraded\n  ! node n3 at h:1 does not answer\n  - node n2 is draining\n  cluster prod (ab)\n  \
             nodes   2 of 3 answer\n  shards  4 of 4 have a leader\n  meta    leader n2, shard map epoch 9\n  \
             asked   n1, program 1.0.0, cluster version v1"
        );
        assert_eq!(answer(&status).json["health"], "degraded");
        let old = v1::ClusterStatusReply { healthy: true, ..v1::ClusterStatusReply::default() };
        assert_eq!((&answer(&old).json["health"], &answer(&old).json["name"]), (&"healthy".into(), &Value::Null));
    }
}
