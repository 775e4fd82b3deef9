//! How many changes of members may be under way at once.

use strata_meta::PlanLimits;
use strata_types::ShardMap;
use strata_types::limits::REPLICAS_PER_SHARD;

/// Few enough changes at once that serving goes on undisturbed, and enough that one slow node does not hold up all.
pub(crate) const LIMITS: PlanLimits = PlanLimits { changes: 8, per_node: 2 };
/// The same while clients have work for the nodes, and replicas move only to spread them better: that is in no hurry.
const LIMITS_WHILE_BUSY: PlanLimits = PlanLimits { per_node: 1, ..LIMITS };
/// Operations a second of all shards together that are work.
const BUSY_LOAD: u64 = 50;

/// How many changes may be under way at once, where shards have so much to do.
pub(crate) fn limits(map: &ShardMap, load: u64) -> PlanLimits {
    let nobody_goes = map.nodes.iter().all(|node| node.state.keeps());
    let nothing_lacks = map.shards.iter().all(|shard| shard.replicas.len() >= REPLICAS_PER_SHARD);
    if nobody_goes && nothing_lacks && load >= BUSY_LOAD { LIMITS_WHILE_BUSY } else { LIMITS }
}

#[cfg(test)]
mod tests {
    use strata_types::{NodeDescriptor, NodeId, NodeState, ReplicaId, ReplicaPlacement, ShardPlacement};

    use super::*;

    fn map(state: NodeState, replicas: u64) -> ShardMap {
        let placement = |id| ReplicaPlacement { replica: ReplicaId(id), node: NodeId(id) };
        let shard = ShardPlacement { replicas: (1..=replicas).map(placement).collect(), ..ShardPlacement::default() };
        let nodes = vec![NodeDescriptor::default(), NodeDescriptor { state, ..NodeDescriptor::default() }];
        ShardMap { nodes, shards: vec![shard], ..ShardMap::default() }
    }

    #[test]
    fn replicas_move_gently_under_load_unless_some_have_to() {
        assert_eq!(limits(&map(NodeState::Active, 3), BUSY_LOAD - 1), LIMITS);
        assert_eq!(limits(&map(NodeState::Active, 3), BUSY_LOAD), LIMITS_WHILE_BUSY);
        assert_eq!(limits(&map(NodeState::Draining, 3), BUSY_LOAD), LIMITS_WHILE_BUSY, "it keeps its replicas");
        assert_eq!(limits(&map(NodeState::Active, 2), BUSY_LOAD), LIMITS, "a replica lacks");
        for goes in [NodeState::Removing, NodeState::Lost, NodeState::Gone] {
            assert_eq!(limits(&map(goes, 3), BUSY_LOAD), LIMITS, "{goes}");
        }
    }
}
