//! `strata cluster`.

use serde_json::{Value, json};
use strata_proto::v1;

use crate::args::ClusterCommand;
use crate::failure::Failure;
use crate::output::{Answer, Format, table};
use crate::session::Session;

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Is everything well?
    Status,
    /// All nodes.
    Nodes,
    /// All shards.
    Shards,
}

/// Asks and prints.
pub async fn run(command: ClusterCommand, format: Format) -> Result<(), Failure> {
    let (question, connect) = match command {
        ClusterCommand::Status(connect) => (Question::Status, connect),
        ClusterCommand::Nodes(connect) => (Question::Nodes, connect),
        ClusterCommand::Shards(connect) => (Question::Shards, connect),
    };
    let session = Session::new(&connect);
    format.print(&ask(&session, question).await?)
}

/// Asks any node that answers.
pub async fn ask(session: &Session, question: Question) -> Result<Answer, Failure> {
    match question {
        Question::Status => {
            let reply = session.admin(v1::ClusterStatusRequest {}, |mut client, request| async move {
                client.cluster_status(request).await
            });
            Ok(status_answer(&reply.await?))
        }
        Question::Nodes => {
            let reply =
                session.admin(v1::NodesRequest {}, |mut client, request| async move { client.nodes(request).await });
            Ok(nodes_answer(&reply.await?.nodes))
        }
        Question::Shards => {
            let reply =
                session.admin(v1::ShardsRequest {}, |mut client, request| async move { client.shards(request).await });
            Ok(shards_answer(&reply.await?.shards))
        }
    }
}

fn status_answer(status: &v1::ClusterStatusReply) -> Answer {
    let verdict = if status.healthy { "healthy" } else { "not healthy" };
    let meta = status.meta_leader.map_or_else(|| "none".to_owned(), |node| format!("n{node}"));
    let mut lines = vec![
        format!("cluster {} is {verdict}", status.cluster),
        format!("  nodes   {} of {} answer", status.nodes_up, status.nodes),
        format!("  shards  {} of {} have a leader", status.shards_led, status.shards),
        format!("  meta    leader {meta}, shard map epoch {}", status.epoch),
        format!("  asked   n{}, version {}", status.node, status.version),
    ];
    lines.extend(status.problems.iter().map(|problem| format!("  ! {problem}")));
    let json = json!({
        "cluster": status.cluster,
        "healthy": status.healthy,
        "problems": status.problems,
        "nodes": status.nodes,
        "nodes_up": status.nodes_up,
        "shards": status.shards,
        "shards_led": status.shards_led,
        "meta_leader": status.meta_leader,
        "epoch": status.epoch,
        "node": status.node,
        "version": status.version,
    });
    Answer::new(lines.join("\n"), json)
}

fn nodes_answer(nodes: &[v1::NodeStatus]) -> Answer {
    let rows: Vec<Vec<String>> = nodes.iter().map(node_row).collect();
    let head = ["node", "state", "clients", "peers", "zone", "replicas", "leads", "up for", "version"];
    let mut text = table(&head, &rows);
    for node in nodes {
        let id = node.node.as_ref().map_or(0, |node| node.id);
        text.extend(node.problems.iter().map(|problem| format!("\n! n{id}: {problem}")));
    }
    Answer::new(text, Value::Array(nodes.iter().map(node_json).collect()))
}

fn node_row(status: &v1::NodeStatus) -> Vec<String> {
    let node = status.node.clone().unwrap_or_default();
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let when_up = |text: String| if status.up { text } else { "-".to_owned() };
    vec![
        format!("n{}", node.id),
        if status.up { "up" } else { "down" }.to_owned(),
        node.client_address,
        node.peer_address,
        or_dash(&node.zone),
        status.replicas.to_string(),
        when_up(status.leaders.to_string()),
        when_up(format!("{} s", status.uptime_millis / 1_000)),
        or_dash(&status.version),
    ]
}

fn node_json(status: &v1::NodeStatus) -> Value {
    let node = status.node.clone().unwrap_or_default();
    json!({
        "node": node.id,
        "up": status.up,
        "client_address": node.client_address,
        "peer_address": node.peer_address,
        "zone": node.zone,
        "replicas": status.replicas,
        "leaders": status.leaders,
        "uptime_millis": status.uptime_millis,
        "version": status.version,
        "problems": status.problems,
    })
}

fn shards_answer(shards: &[v1::ShardStatus]) -> Answer {
    let rows: Vec<Vec<String>> = shards.iter().map(shard_row).collect();
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

fn shard_row(status: &v1::ShardStatus) -> Vec<String> {
    let placement = status.placement.clone().unwrap_or_default();
    let answers = |node: u64| status.replicas.iter().any(|replica| replica.node == node && replica.serving);
    let replicas = placement.replicas.iter().map(|replica| {
        let mark = if answers(replica.node) { "" } else { "!" };
        format!("n{}{mark}", replica.node)
    });
    let slowest = status.replicas.iter().map(|replica| replica.applied).min();
    let fastest = status.replicas.iter().map(|replica| replica.applied).max();
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
        replicas.collect::<Vec<_>>().join(" "),
        applied,
        format!("{} KiB", log_bytes.div_ceil(1 << 10)),
    ]
}

fn shard_json(status: &v1::ShardStatus) -> Value {
    let placement = status.placement.clone().unwrap_or_default();
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
    })
}

fn slots_of(placement: &v1::ShardPlacement) -> String {
    format!("{}..{}", placement.slot_start, placement.slot_end)
}
