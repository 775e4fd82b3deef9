//! Preferred leaders of the shards of a map: none on nodes that leave, and even otherwise.

use std::collections::BTreeMap;

use strata_types::{NodeId, ReplicaPlacement, ShardPlacement};

use crate::leaders;
use crate::state::State;

impl State {
    /// Makes the preferred leaders even over the nodes that may lead, with as few handovers as possible.
    pub(crate) fn even_leaders(&mut self) {
        let positions: BTreeMap<NodeId, usize> =
            self.map.nodes.iter().enumerate().map(|(position, node)| (node.id, position)).collect();
        let weight = |node: &strata_types::NodeDescriptor| if node.state.takes() { node.weight } else { 0 };
        let weights: Vec<u32> = self.map.nodes.iter().map(weight).collect();
        let may_lead = |placement: &&ReplicaPlacement| weights[positions[&placement.node]] > 0;
        let candidates = |shard: &ShardPlacement| -> Vec<usize> {
            let able: Vec<&ReplicaPlacement> = shard.replicas.iter().filter(may_lead).collect();
            let leaves = |placement: &&ReplicaPlacement| shard.changes.removed() == Some(placement.replica);
            let staying: Vec<&ReplicaPlacement> = able.iter().copied().filter(|placement| !leaves(placement)).collect();
            let chosen = if staying.is_empty() { able } else { staying };
            chosen.into_iter().map(|placement| positions[&placement.node]).collect()
        };
        let mut placed: Vec<Vec<usize>> = self.map.shards.iter().map(candidates).collect();
        leaders::even_out(&mut placed, &weights);
        for (shard, members) in self.map.shards.iter_mut().zip(placed) {
            let Some(leader) = members.first().map(|position| self.map.nodes[*position].id) else { continue };
            let position = shard.replicas.iter().position(|placement| placement.node == leader);
            shard.replicas.swap(0, position.expect("candidates are replicas"));
        }
    }
}
