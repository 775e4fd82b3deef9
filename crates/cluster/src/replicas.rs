//! Opens the shard replicas that the map places on this node.

use std::sync::Arc;

use strata_machine::Machine;
use strata_raft::{GroupSpec, OpenError};
use strata_shard::ShardMachine;
use strata_types::{GroupId, ReplicaPlacement, ShardMap, ShardPlacement};

use crate::node::Node;
use crate::{Phase, StartError};

/// Opens what is not open yet. A damaged replica is noted and left closed (CLUSTER-5); the shard goes on with the
/// others.
pub(crate) async fn open_all(node: &Node, map: &ShardMap) -> Result<(), StartError> {
    let wanted = missing(node, map);
    let total = wanted.len();
    for (done, (placement, here)) in wanted.into_iter().enumerate() {
        if !node.is_ready() {
            node.report_phase(Phase::OpeningShards { done, total });
        }
        open(node, placement, here).await?;
    }
    Ok(())
}

/// Opens what later maps place here.
pub(crate) async fn run(node: Arc<Node>) {
    let mut changes = node.keeper().watch();
    loop {
        let map = changes.borrow_and_update().clone();
        if let Err(error) = open_all(&node, &map).await {
            return node.env().halt(error.to_string());
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

fn missing<'a>(node: &Node, map: &'a ShardMap) -> Vec<(&'a ShardPlacement, ReplicaPlacement)> {
    let own = node.identity().node;
    let here = |placement: &'a ShardPlacement| {
        let here = placement.replicas.iter().find(|replica| replica.node == own)?;
        let group = GroupId::of_shard(placement.shard);
        let is_known = node.host().group(group).is_some() || node.refuses(group);
        (!is_known).then_some((placement, *here))
    };
    map.shards.iter().filter_map(here).collect()
}

async fn open(node: &Node, placement: &ShardPlacement, here: ReplicaPlacement) -> Result<(), StartError> {
    let machine: Arc<dyn Machine> = Arc::new(ShardMachine);
    let group = GroupId::of_shard(placement.shard);
    let spec = GroupSpec {
        group,
        replica: here.replica,
        members: placement.replicas.iter().map(|replica| (replica.replica, replica.node)).collect(),
        machine,
        // One node founds the group, so that it becomes its leader and nobody competes.
        initialize: placement.replicas.first() == Some(&here),
    };
    match node.host().open(spec).await {
        Ok(_) => Ok(()),
        Err(error @ OpenError::Corrupt { .. }) => {
            node.refuse(group, here.replica, error.to_string());
            Ok(())
        }
        Err(error) => Err(StartError::Group { group, detail: error.to_string() }),
    }
}
