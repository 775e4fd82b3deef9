//! `strata cluster nodes`.

use serde_json::{Value, json};
use strata_proto::v1;
use strata_types::NodeDescriptor;

use crate::output::{Answer, table};

/// A line for each node.
pub fn answer(nodes: &[v1::NodeStatus]) -> Answer {
    let rows: Vec<Vec<String>> = nodes.iter().map(row).collect();
    let head = ["node", "state", "up", "clients", "peers", "zone", "weight", "replicas", "leads", "version"];
    let mut text = table(&head, &rows);
    for node in nodes {
        let id = described(node).id;
        text.extend(node.problems.iter().map(|problem| format!("\n! {id}: {problem}")));
    }
    Answer::new(text, Value::Array(nodes.iter().map(node_json).collect()))
}

/// What is not told, or not understood, is as careful as can be.
pub(super) fn described(status: &v1::NodeStatus) -> NodeDescriptor {
    NodeDescriptor::from(status.node.clone().unwrap_or_default())
}

fn row(status: &v1::NodeStatus) -> Vec<String> {
    let node = described(status);
    let or_dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let when_up = |text: String, otherwise: &str| if status.up { text } else { otherwise.to_owned() };
    vec![
        node.id.to_string(),
        node.state.to_string(),
        when_up(format!("{} s", status.uptime_millis / 1_000), "down"),
        or_dash(&node.client_address),
        node.peer_address.clone(),
        or_dash(&node.zone),
        node.weight.to_string(),
        status.replicas.to_string(),
        when_up(status.leaders.to_string(), "-"),
        or_dash(&status.version),
    ]
}

fn node_json(status: &v1::NodeStatus) -> Value {
    let node = described(status);
    json!({
        "node": node.id.0,
        "state": node.state.to_string(),
        "up": status.up,
        "client_address": node.client_address,
        "peer_address": node.peer_address,
        "zone": node.zone,
        "weight": node.weight,
        "replicas": status.replicas,
        "leaders": status.leaders,
        "uptime_millis": status.uptime_millis,
        "version": status.version,
        "problems": status.problems,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_has_a_wished_state_and_is_up_or_down() {
        let node = |id, state: v1::NodeState| v1::NodeDescriptor {
            id,
            state: state.into(),
            client_address: "c:1".to_owned(),
            peer_address: "p:1".to_owned(),
            ..v1::NodeDescriptor::default()
        };
        let nodes = [
            v1::NodeStatus {
                node: Some(node(1, v1::NodeState::Draining)),
                up: true,
                version: "1.0.0".to_owned(),
                replicas: 4,
                uptime_millis: 8_100,
                ..v1::NodeStatus::default()
            },
            v1::NodeStatus { node: Some(node(2, v1::NodeState::Lost)), ..v1::NodeStatus::default() },
        ];
        let answer = answer(&nodes);
        assert_eq!(
            String::from_utf8(answer.text).expect("text"),
            "node  state     up    clients  peers  zone  weight  replicas  leads  version\n\
             n1    draining  8 s   c:1      p:1    -     1       4         0      1.0.0\n\
             n2    lost      down  c:1      p:1    -     1       0         -      -"
        );
        assert_eq!((&answer.json[0]["state"], &answer.json[1]["up"]), (&"draining".into(), &false.into()));
    }
}
