//! Says to the meta group where and what this node is: at each start, and whenever the map has it otherwise.

use std::sync::Arc;
use std::time::Duration;

use strata_meta::{Joiner, MetaCommand, MetaRefusal, MetaReply};
use strata_types::{Epoch, NodeDescriptor, NodeState, ShardMap};

use crate::commanding;
use crate::node::Node;

/// How long one attempt goes on.
const DEADLINE: Duration = Duration::from_secs(10);
/// Pause between two attempts. Two processes that give themselves out for one node must not keep the meta group busy.
const PAUSE: Duration = Duration::from_secs(1);

/// Registers until the node stops. A node that was declared lost, but lives, comes back by this; one that was removed
/// ends.
pub(crate) async fn run(node: Arc<Node>) {
    let own = node.identity().node;
    let joiner = node.settings().joiner(node.membership().instance());
    node.keeper().newer_than(Epoch(0)).await;
    loop {
        match commanding::command(&node, MetaCommand::Join(joiner.clone()), DEADLINE).await {
            Ok(MetaReply::Joined { node: id, epoch }) if id == own => until_wrong(&node, &joiner, epoch).await,
            Ok(MetaReply::Joined { node: id, .. }) => {
                let detail = format!("the data directory says that it is node {own}, and the cluster knows it as {id}");
                return node.env().halt(format!("{detail}: start with an empty directory"));
            }
            Ok(MetaReply::Refused(MetaRefusal::NodeRemoved { .. })) => {
                return node.env().halt(format!(
                    "this data directory belongs to node {own}, which was removed from the cluster; \
                     start with an empty directory"
                ));
            }
            Ok(MetaReply::Refused(refusal)) => {
                return node.env().halt(format!("the cluster does not take this node: {refusal}"));
            }
            Ok(other) => tracing::warn!(?other, "not an answer to a registration"),
            Err(error) => tracing::info!(%error, "registering is tried again"),
        }
        node.env().sleep(node.env().jittered(PAUSE)).await;
    }
}

/// Completes when a map of this epoch, or a later one, says something else of this node.
async fn until_wrong(node: &Node, joiner: &Joiner, epoch: Epoch) {
    let own = node.identity().node;
    let is_wrong = |map: &Arc<ShardMap>| {
        map.epoch >= epoch && !map.node(own).is_some_and(|known| is_right(known, joiner)) && !node.is_stopping()
    };
    // An error means that the sender, which this node holds, is gone.
    let _ = node.keeper().watch().wait_for(is_wrong).await;
}

fn is_right(known: &NodeDescriptor, joiner: &Joiner) -> bool {
    let is_member = !matches!(known.state, NodeState::Lost | NodeState::Gone | NodeState::Stopping);
    is_member
        && known.instance == joiner.instance
        && known.peer_address == joiner.peer_address
        && known.client_address == joiner.client_address
        && known.zone == joiner.zone
        && known.weight == joiner.weight
        && known.versions == joiner.versions
}

#[cfg(test)]
mod tests {
    use strata_types::InstanceId;

    use super::*;
    use crate::settings::tests::settings;

    #[test]
    fn a_node_that_is_lost_or_described_otherwise_registers_again() {
        let joiner = settings("a:1", &[], 1).joiner(InstanceId(7));
        let right = NodeDescriptor {
            instance: InstanceId(7),
            peer_address: "a:1".into(),
            client_address: joiner.client_address.clone(),
            versions: joiner.versions,
            ..NodeDescriptor::default()
        };
        assert!(is_right(&right, &joiner));
        assert!(
            is_right(&NodeDescriptor { state: NodeState::Draining, ..right.clone() }, &joiner),
            "an operator's wish"
        );
        let wrong: [fn(&mut NodeDescriptor); 7] = [
            |node| node.state = NodeState::Lost,
            |node| node.state = NodeState::Gone,
            |node| node.state = NodeState::Stopping,
            |node| node.peer_address = "b:1".into(),
            |node| node.zone = "z".into(),
            |node| node.weight = 2,
            |node| node.versions.most.0 += 1,
        ];
        for spoil in wrong {
            let mut node = right.clone();
            spoil(&mut node);
            assert!(!is_right(&node, &joiner), "{node:?}");
        }
    }
}
