//! Takes new nodes into a founded cluster.

use std::sync::{Arc, Weak};
use std::time::Duration;

use strata_meta::{Joiner, MetaCommand, MetaRefusal, MetaReply};
use strata_types::{Epoch, InstanceId, NodeId};

use crate::introduction::{Refusal, Verdict};
use crate::node::Node;
use crate::{Charter, commanding};

/// How long the meta group may take. The candidate waits longer, and asks again.
const COMMAND_DEADLINE: Duration = Duration::from_millis(2_500);
/// How long the map with the new node may take to arrive here.
const MAP_PATIENCE: Duration = Duration::from_secs(1);

/// The way from introductions, which are answered before there is a node, to the meta group.
pub(crate) struct Admission {
    node: Weak<Node>,
}

impl Admission {
    pub(crate) fn new(node: &Arc<Node>) -> Admission {
        Admission { node: Arc::downgrade(node) }
    }

    /// The node that a data directory has become, and where it was then.
    pub(crate) fn known(&self, instance: InstanceId) -> Option<(NodeId, String)> {
        let map = self.node.upgrade()?.map();
        map.nodes.iter().find(|node| node.instance == instance).map(|node| (node.id, node.peer_address.clone()))
    }

    /// Makes a candidate, which answers at its address, a member. Whoever asks again gets the same id (CLUSTER-2).
    pub(crate) async fn admit(&self, joiner: Joiner) -> Verdict {
        let later = |detail: &str| Verdict::Later { detail: detail.to_owned() };
        let Some(node) = self.node.upgrade().filter(|node| !node.is_stopping()) else { return later("it is stopping") };
        let instance = joiner.instance;
        match commanding::command(&node, MetaCommand::Join(joiner), COMMAND_DEADLINE).await {
            Ok(MetaReply::Joined { node: id, epoch }) => {
                let newer = node.keeper().newer_than(Epoch(epoch.0.saturating_sub(1)));
                let Ok(map) = node.env().timeout(MAP_PATIENCE, newer).await else {
                    return later("it waits for the map with the new node");
                };
                match map.node(id).is_some_and(|seated| seated.instance == instance) {
                    true => Verdict::Joined(Charter::of_map(&map)),
                    // Removed since.
                    false => later("the map has changed meanwhile"),
                }
            }
            Ok(MetaReply::Refused(refusal)) => Verdict::Refused(refusal_of(refusal)),
            Ok(other) => later(&format!("not an answer to a node that joins: {other:?}")),
            Err(error) => later(&error.to_string()),
        }
    }
}

fn refusal_of(refusal: MetaRefusal) -> Refusal {
    match refusal {
        MetaRefusal::NodeRemoved { node } => Refusal::Removed { node },
        MetaRefusal::Version { version, versions } => Refusal::Version { version, versions },
        other => Refusal::NotTaken { detail: other.to_string() },
    }
}
