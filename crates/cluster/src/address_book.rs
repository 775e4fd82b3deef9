//! Where the other nodes are.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use strata_net::Transport;
use strata_types::{InstanceId, NodeDescriptor, NodeId, ShardMap};

/// Most nodes that no map names, and that are heard of all the same: their maps are newer than this one's. Any id may
/// be given out for one, and the transport never lets go of what it was told of.
const STRANGERS_MAX: usize = 64;

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
        self.note(&mut self.heard.lock(), node, heard);
    }

    /// The same, unless another process than `former` was heard of for the node meanwhile. Returns whether none was.
    pub(crate) fn hear_after(&self, node: NodeId, former: Option<&Heard>, heard: Heard) -> bool {
        let mut all = self.heard.lock();
        let is_unchanged = all.get(&node) == former;
        if is_unchanged {
            self.note(&mut all, node, heard);
        }
        is_unchanged
    }

    fn note(&self, all: &mut BTreeMap<NodeId, Heard>, node: NodeId, heard: Heard) {
        let members = self.members.lock();
        let is_stranger = |node: &&NodeId| !members.contains_key(*node);
        if is_stranger(&&node) && !all.contains_key(&node) && all.keys().filter(is_stranger).count() >= STRANGERS_MAX {
            // It has an address as soon as a map names it.
            return tracing::warn!(%node, address = %heard.address, "too many nodes that the map does not know");
        }
        self.transport.set_address(node, &heard.address);
        all.insert(node, heard);
    }

    /// A newer map is known.
    pub(crate) fn follow(&self, old: &ShardMap, new: &ShardMap) {
        let member = |node: &NodeDescriptor| (node.id, (node.instance, node.peer_address.clone()));
        *self.members.lock() = new.nodes.iter().map(member).collect();
        let mut heard = self.heard.lock();
        // Who was removed is no stranger that may be taken in.
        heard.retain(|node, _| old.node(*node).is_none() || new.node(*node).is_some());
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
