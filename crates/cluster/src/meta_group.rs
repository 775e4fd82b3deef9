//! This node's replica of the meta group.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use strata_codec::DecodeError;
use strata_machine::Machine;
use strata_meta::{MetaMachine, MetaReply, ReadMapError, RowReader, read_map};
use strata_raft::{Group, GroupSpec, OpenError, ProposeError};
use strata_storage::{Snapshot, StorageError};
use strata_types::{GroupId, ShardMap};
use tokio::sync::Notify;

use crate::StartError;
use crate::node::Node;

/// How often a leader without a map proposes one, and how often it is looked who leads.
const FOUND_PAUSE: Duration = Duration::from_millis(50);

/// Opens the replica of the meta group, if one lives here, and starts what belongs to it. A damaged one is noted, and
/// this node gets its map from the others.
pub(crate) async fn open(node: &Arc<Node>) -> Result<(), StartError> {
    let charter = &node.membership().charter;
    let own = node.identity().node;
    let Some(here) = charter.meta.iter().find(|placement| placement.node == own) else { return Ok(()) };
    let applied = Arc::new(Notify::new());
    let wake = applied.clone();
    let machine: Arc<dyn Machine> = Arc::new(MetaMachine::with_listener(move |_| wake.notify_one()));
    let spec = GroupSpec {
        group: GroupId::META,
        replica: here.replica,
        members: charter.meta.iter().map(|placement| (placement.replica, placement.node)).collect(),
        machine,
        initialize: charter.meta.first() == Some(here),
    };
    let group = match node.host().open(spec).await {
        Ok(group) => group,
        Err(error @ OpenError::Corrupt { .. }) => {
            node.refuse(GroupId::META, here.replica, error.to_string());
            return Ok(());
        }
        Err(error) => return Err(StartError::Group { group: GroupId::META, detail: error.to_string() }),
    };
    // What was applied before the start: old perhaps, but enough to open the shards while a leader is elected.
    applied.notify_one();
    node.spawn("meta-map", read_maps(node.clone(), group.clone(), applied));
    node.spawn("meta-found", found(node.clone(), group));
    Ok(())
}

/// Carries out a command, if this node's replica leads the meta group.
pub(crate) async fn propose(node: &Node, command: Bytes) -> Result<MetaReply, ProposeError> {
    let Some(group) = node.host().group(GroupId::META) else {
        return Err(ProposeError::NotLeader { leader: None });
    };
    let reply = group.propose(vec![command]).await.pop().expect("one command has one reply")?;
    MetaReply::decode(reply).map_err(|error: DecodeError| ProposeError::Unknown { detail: error.to_string() })
}

/// Proposes the cluster until there is one. Every replica of the meta group does so while it leads.
async fn found(node: Arc<Node>, group: Arc<Group>) {
    let command = node.membership().charter.found_command().encode();
    while node.map().epoch.0 == 0 {
        if group.watch().borrow().is_leader {
            match propose(&node, command.clone()).await {
                Ok(MetaReply::Refused(refusal)) => {
                    return node.env().halt(format!("the cluster cannot be founded: {refusal}"));
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "founding is tried again"),
            }
        }
        node.env().sleep(FOUND_PAUSE).await;
    }
}

/// Takes the map out of the tablet whenever something was applied.
async fn read_maps(node: Arc<Node>, group: Arc<Group>, applied: Arc<Notify>) {
    loop {
        applied.notified().await;
        let tablet = group.tablet();
        match node.env().blocking(move || map_in(tablet.snapshot())).await {
            Some(Ok(Some(map))) => {
                node.keeper().install(map);
            }
            Some(Ok(None)) => {}
            Some(Err(ReadMapError::Reader(error))) => {
                tracing::error!(%error, "the shard map cannot be read");
                group.refuse(&error);
            }
            Some(Err(error)) => return node.env().halt(format!("the shard map cannot be read: {error}")),
            None => return,
        }
    }
}

fn map_in(snapshot: Box<dyn Snapshot>) -> Result<Option<ShardMap>, ReadMapError<StorageError>> {
    read_map(&SnapshotRows(snapshot))
}

struct SnapshotRows(Box<dyn Snapshot>);

impl RowReader for SnapshotRows {
    type Error = StorageError;

    fn row(&self, key: &[u8]) -> Result<Option<Bytes>, StorageError> {
        self.0.get(key)
    }
}
