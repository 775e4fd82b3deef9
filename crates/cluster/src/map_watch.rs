//! Learns newer maps from the replicas of the meta group: a long poll that goes round.
//!
//! Also nodes that have such a replica do it: theirs may be damaged, stopped or cut off.

use std::sync::Arc;
use std::time::Duration;

use strata_types::NodeId;

use crate::node::Node;
use crate::question::{Question, Reply};

/// How long the other side waits for a newer map.
pub(crate) const POLL: Duration = Duration::from_secs(2);
/// How long until it counts as not answering.
const DEADLINE: Duration = Duration::from_secs(3);
/// Pause after somebody did not answer.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(1);

pub(crate) async fn run(node: Arc<Node>) {
    let own = node.identity().node;
    let mut failures: u32 = 0;
    for turn in 0usize.. {
        let map = node.map();
        let others: Vec<NodeId> = map.meta.iter().map(|placement| placement.node).filter(|id| *id != own).collect();
        if others.is_empty() {
            return;
        }
        let target = others[turn % others.len()];
        match node.ask(target, &Question::FetchMap { newer_than: map.epoch }, DEADLINE).await {
            Ok(Reply::Map(newer)) => {
                failures = 0;
                if let Some(newer) = newer {
                    node.keeper().install(*newer);
                }
            }
            Ok(other) => {
                tracing::warn!(%target, ?other, "not an answer to the question for the map");
                node.env().sleep(PAUSE_MAX).await;
            }
            Err(detail) => {
                tracing::debug!(%target, detail, "no map");
                failures = failures.saturating_add(1);
                let pause = PAUSE.saturating_mul(failures).min(PAUSE_MAX);
                node.env().sleep(node.env().jittered(pause)).await;
            }
        }
    }
}
