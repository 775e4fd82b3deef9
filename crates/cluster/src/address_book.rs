//! Where the other nodes are.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use strata_net::Transport;
use strata_types::{InstanceId, NodeDescriptor, NodeId, ShardMap};

/// A living process of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    /// The process: drawn at random when it started.
    pub(crate) incarnation: u64,
    /// Where it said it is.
    pub(crate) address: String,
}

/// Tells the transport where nodes are.
///
/// What a node said of itself in this process's life counts more than the map that was known then: after a restart on
/// other ports the map still has the old ones, until the nodes have registered the new ones.
pub(crate) struct AddressBook {
    transport: Arc<dyn Transport>,
    heard: Mutex<BTreeMap<NodeId, Heard>>,
    /// The nodes of the newest map: their data directories, and where the map has them.
    members: Mutex<BTreeMap<NodeId, (InstanceId, String)>>,
}

impl AddressBook {
    pub(crate) fn new(transport: Arc<dyn Transport>) -> AddressBook {
        AddressBook { transport, heard: Mutex::default(), members: Mutex::default() }
    }

    /// The process that was last heard of for a node.
    pub(crate) fn heard(&self, node: NodeId) -> Option<Heard> {
        self.heard.lock().get(&node).cloned()
    }

    /// The data directory that is a node, and where the newest map has it.
    pub(crate) fn member(&self, node: NodeId) -> Option<(InstanceId, String)> {
        self.members.lock().get(&node).cloned()
    }

    /// A node said where it is.
    pub(crate) fn hear(&self, node: NodeId, heard: Heard) {
        self.transport.set_address(node, &heard.address);
        self.heard.lock().insert(node, heard);
    }

    /// A newer map is known.
    pub(crate) fn follow(&self, old: &ShardMap, new: &ShardMap) {
        let member = |node: &NodeDescriptor| (node.id, (node.instance, node.peer_address.clone()));
        *self.members.lock() = new.nodes.iter().map(member).collect();
        let heard = self.heard.lock();
        for node in &new.nodes {
            let before = old.node(node.id).map(|node| &node.peer_address);
            // The first map may be of before the restart of that node; a change of it is of after.
            let is_first = old.epoch.0 == 0;
            if before != Some(&node.peer_address) && !(is_first && heard.contains_key(&node.id)) {
                self.transport.set_address(node.id, &node.peer_address);
            }
        }
    }
}
