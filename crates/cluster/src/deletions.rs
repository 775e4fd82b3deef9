//! Deletes the replicas of this node that left their groups, and says so.
//!
//! A replica leaves its group once and for ever, so an old map is as good as a new one (CLUSTER-7).

use std::sync::Arc;
use std::time::Duration;

use strata_meta::{MetaCommand, MetaReply};
use strata_types::{GroupId, NodeId, ReplicaId, ShardMap};

use crate::commanding::command;
use crate::node::Node;

/// How long the meta group may take to forget a replica.
const DEADLINE: Duration = Duration::from_secs(5);
/// Pause after something did not work.
const PAUSE: Duration = Duration::from_secs(1);

/// Deletes what maps say has left, from the start on: it may have left while this node was away.
pub(crate) async fn run(node: Arc<Node>) {
    let mut maps = node.keeper().watch();
    loop {
        let map = maps.borrow_and_update().clone();
        let mut is_done = true;
        for (group, replica) in leaving(&map, node.identity().node) {
            is_done &= delete(&node, group, replica).await;
        }
        let pause = node.env().jittered(PAUSE);
        tokio::select! {
            biased;
            changed = maps.changed() => if changed.is_err() { return },
            () = node.env().sleep(pause), if !is_done => {}
        }
    }
}

fn leaving(map: &ShardMap, own: NodeId) -> Vec<(GroupId, ReplicaId)> {
    let of_group = |group: strata_types::GroupPlacement<'_>| {
        let here = group.changes.leaving.iter().filter(|placement| placement.node == own);
        here.map(|placement| (group.group, placement.replica)).collect::<Vec<_>>()
    };
    map.groups().flat_map(of_group).collect()
}

/// Deletes a replica and has it forgotten. Returns whether both worked.
async fn delete(node: &Node, group: GroupId, replica: ReplicaId) -> bool {
    if let Err(error) = node.host().delete(group, replica).await {
        tracing::warn!(%group, %replica, %error, "a replica that left its group cannot be deleted yet");
        return false;
    }
    node.closed().forget(group, replica);
    match command(node, MetaCommand::ReplicaDeleted { group, replica }, DEADLINE).await {
        Ok(MetaReply::Done { .. }) => {
            tracing::info!(%group, %replica, "deleted a replica that left its group");
            true
        }
        Ok(other) => {
            tracing::warn!(%group, %replica, ?other, "the deletion of a replica was refused");
            false
        }
        Err(error) => {
            tracing::debug!(%group, %replica, %error, "the deletion of a replica is told again");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use strata_types::{GroupChanges, ReplicaPlacement, ShardId, ShardPlacement};

    use super::*;

    /// CLUSTER-7
    #[test]
    fn only_what_left_here_is_deleted() {
        let placed = |replica, node| ReplicaPlacement { replica: ReplicaId(replica), node: NodeId(node) };
        let map = ShardMap {
            shards: vec![ShardPlacement {
                shard: ShardId(0),
                replicas: vec![placed(4, 1), placed(5, 2)],
                changes: GroupChanges { leaving: vec![placed(6, 3), placed(7, 1)], ..GroupChanges::default() },
                ..ShardPlacement::default()
            }],
            meta: vec![placed(1, 1)],
            meta_changes: GroupChanges { leaving: vec![placed(2, 3)], ..GroupChanges::default() },
            ..ShardMap::default()
        };
        assert_eq!(leaving(&map, NodeId(1)), [(GroupId(1), ReplicaId(7))]);
        assert_eq!(leaving(&map, NodeId(2)), []);
        assert_eq!(leaving(&map, NodeId(3)), [(GroupId::META, ReplicaId(2)), (GroupId(1), ReplicaId(6))]);
    }
}
