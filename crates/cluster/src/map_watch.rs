//! Learns newer maps from the replicas of the meta group: a long poll that goes round.
//!
//! Also nodes that have such a replica do it: theirs may be damaged, stopped or cut off. When none of them answers the
//! other nodes are asked as well: the meta group may have moved while this node was away.

use std::sync::Arc;
use std::time::Duration;

use strata_types::{NodeId, ShardMap};

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
    let mut failures: u32 = 0;
    for turn in 0usize.. {
        let map = node.map();
        let targets = targets(&map, node.identity().node, failures);
        if targets.is_empty() {
            // Alone, until somebody joins.
            node.keeper().newer_than(map.epoch).await;
            continue;
        }
        let target = targets[turn % targets.len()];
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

/// Whom to ask after so many failures in a row: the other replicas of the meta group, and then all others too.
fn targets(map: &ShardMap, own: NodeId, failures: u32) -> Vec<NodeId> {
    let is_other = |node: &NodeId| *node != own;
    let mut targets: Vec<NodeId> = map.meta.iter().map(|placement| placement.node).filter(is_other).collect();
    if failures as usize >= targets.len() && (failures > 0 || map.meta.iter().all(|placement| placement.node != own)) {
        let others = map.nodes.iter().map(|node| node.id).filter(is_other);
        let others: Vec<NodeId> = others.filter(|node| !targets.contains(node)).collect();
        targets.extend(others);
    }
    targets
}

#[cfg(test)]
mod tests {
    use strata_types::{NodeDescriptor, ReplicaId, ReplicaPlacement};

    use super::*;

    #[test]
    fn others_are_asked_when_no_replica_of_the_meta_group_answers() {
        let node = |id| NodeDescriptor { id: NodeId(id), ..NodeDescriptor::default() };
        let placed = |replica, node| ReplicaPlacement { replica: ReplicaId(replica), node: NodeId(node) };
        let map = ShardMap {
            nodes: vec![node(1), node(2), node(3), node(4)],
            meta: vec![placed(1, 1), placed(2, 2)],
            ..ShardMap::default()
        };
        let asked = |own, failures| targets(&map, NodeId(own), failures).iter().map(|node| node.0).collect::<Vec<_>>();
        assert_eq!((asked(4, 0), asked(4, 1)), (vec![1, 2], vec![1, 2]));
        assert_eq!(asked(4, 2), [1, 2, 3]);
        assert_eq!((asked(1, 0), asked(1, 1)), (vec![2], vec![2, 3, 4]));
        // The only replica of the meta group is here: its maps need no asking.
        let alone = ShardMap { meta: vec![placed(1, 1)], ..map.clone() };
        assert_eq!(targets(&alone, NodeId(1), 0), []);
    }
}
