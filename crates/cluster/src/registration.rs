//! Tells the meta group where this node is, if that has changed.

use std::sync::Arc;
use std::time::Duration;

use strata_meta::{MetaCommand, MetaReply};
use strata_raft::ProposeError;
use strata_types::{GroupId, NodeId};

use crate::meta_group;
use crate::node::Node;
use crate::question::{Question, Reply};

const DEADLINE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(200);

/// Registers until the map says what the settings say.
pub(crate) async fn run(node: Arc<Node>) {
    let own = node.identity().node;
    let settings = node.settings();
    let question = Question::Register {
        peer_address: settings.peer_address.clone(),
        client_address: settings.client_address.clone(),
    };
    let mut turn = 0;
    let mut hint = None;
    loop {
        let map = node.keeper().newer_than(strata_types::Epoch(0)).await;
        let is_right = map.node(own).is_some_and(|node| {
            node.peer_address == settings.peer_address && node.client_address == settings.client_address
        });
        if is_right {
            return;
        }
        let known = node.host().group(GroupId::META).and_then(|group| group.watch().borrow().leader);
        let target = hint.take().or(known.map(|(_, leader)| leader)).unwrap_or_else(|| {
            turn += 1;
            map.meta[turn % map.meta.len()].node
        });
        match node.ask(target, &question, DEADLINE).await {
            // The map that says so is on its way.
            Ok(Reply::Registered { epoch }) if epoch > map.epoch => {
                let _ = node.env().timeout(DEADLINE, node.keeper().newer_than(map.epoch)).await;
            }
            Ok(Reply::NotLeader { leader }) => {
                hint = leader.filter(|leader| *leader != target);
                node.env().sleep(node.env().jittered(PAUSE)).await;
            }
            Ok(other) => {
                tracing::debug!(%target, ?other, "registering is tried again");
                node.env().sleep(node.env().jittered(PAUSE)).await;
            }
            Err(detail) => {
                tracing::debug!(%target, detail, "registering is tried again");
                node.env().sleep(node.env().jittered(PAUSE)).await;
            }
        }
    }
}

/// Another node, or this one, registers here.
pub(crate) async fn register(node: &Node, from: NodeId, peer_address: String, client_address: String) -> Reply {
    let command = MetaCommand::SetAddresses { node: from, peer_address, client_address };
    match meta_group::propose(node, command.encode()).await {
        Ok(MetaReply::AddressesSet { epoch }) => Reply::Registered { epoch },
        Ok(MetaReply::Refused(refusal)) => Reply::Failed { detail: refusal.to_string() },
        Ok(other) => Reply::Failed { detail: format!("not an answer to a registration: {other:?}") },
        Err(ProposeError::NotLeader { leader }) => Reply::NotLeader { leader },
        Err(error) => Reply::Failed { detail: error.to_string() },
    }
}
