//! A node of a cluster, as the shard map knows it.

use std::fmt;

use crate::{InstanceId, NodeId, VersionRange};

/// A node, how to reach it, and what is wished of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeDescriptor {
    /// Its id.
    pub id: NodeId,
    /// The data directory that the id was given to; zero when it is not known.
    pub instance: InstanceId,
    /// Where other nodes reach it, `host:port`.
    pub peer_address: String,
    /// Where clients reach it, `host:port`.
    pub client_address: String,
    /// Failure domain; empty when not set.
    pub zone: String,
    /// How much it takes relative to others.
    pub weight: u32,
    /// What is wished of it.
    pub state: NodeState,
    /// Which cluster versions its binary can take part in.
    pub versions: VersionRange,
}

impl Default for NodeDescriptor {
    fn default() -> NodeDescriptor {
        NodeDescriptor {
            id: NodeId::default(),
            instance: InstanceId::default(),
            peer_address: String::new(),
            client_address: String::new(),
            zone: String::new(),
            weight: 1,
            state: NodeState::default(),
            versions: VersionRange::default(),
        }
    }
}

/// What is wished of a node, and whether it was given up.
///
/// ```text
///   Active <--> Draining <--> Removing --> Removed      by an operator; the last step by the meta machine
///     |  ^          |            |            ^
///     |  +- Stopping|            v            |         Stopping: SIGTERM; its next start ends it
///     v     ^       v          Gone ----------+         lost for good: cannot come back
///   Lost <--+-------+            ^
///     +--------------------------+                      Lost: joins again and is Active
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum NodeState {
    /// Takes replicas and leads.
    #[default]
    Active,
    /// Its leaders leave and none come back; it keeps its replicas and gets no new ones.
    Draining,
    /// As draining, and its replicas move off. Ends as `Removed`.
    Removing,
    /// Declared dead: its replicas are replaced without its help. Comes back by joining with its data directory.
    Lost,
    /// No longer a member: the id is never used again, and its data directory cannot come back.
    Removed,
    /// Lost while it was being removed, or removed while it was lost. Ends as `Removed`.
    Gone,
    /// As draining, until it starts again: what a node asks for itself before it stops.
    Stopping,
}

impl NodeState {
    /// All states; the position of each is its number in formats. Only ever appended.
    pub const ALL: [NodeState; 7] = [
        NodeState::Active,
        NodeState::Draining,
        NodeState::Removing,
        NodeState::Lost,
        NodeState::Removed,
        NodeState::Gone,
        NodeState::Stopping,
    ];

    /// Its number in formats.
    pub fn number(self) -> u8 {
        match self {
            NodeState::Active => 0,
            NodeState::Draining => 1,
            NodeState::Removing => 2,
            NodeState::Lost => 3,
            NodeState::Removed => 4,
            NodeState::Gone => 5,
            NodeState::Stopping => 6,
        }
    }

    /// The state with a number.
    pub fn of_number(number: u8) -> Option<NodeState> {
        NodeState::ALL.get(usize::from(number)).copied()
    }

    /// Whether leaders and new replicas may come to the node.
    pub fn takes(self) -> bool {
        self == NodeState::Active
    }

    /// Whether the node keeps the replicas that it has.
    pub fn keeps(self) -> bool {
        matches!(self, NodeState::Active | NodeState::Draining | NodeState::Stopping)
    }

    /// Whether the node was not given up: its replicas count as up to date.
    pub fn is_counted_on(self) -> bool {
        self.keeps() || self == NodeState::Removing
    }
}

impl fmt::Display for NodeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NodeState::Active => "active",
            NodeState::Draining => "draining",
            NodeState::Removing => "removing",
            NodeState::Lost => "lost",
            NodeState::Removed => "removed",
            NodeState::Gone => "gone",
            NodeState::Stopping => "stopping",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_states_are_their_positions() {
        for (number, state) in (0..).zip(NodeState::ALL) {
            assert_eq!((state.number(), NodeState::of_number(number)), (number, Some(state)));
        }
        assert_eq!(NodeState::of_number(7), None);
    }
}
