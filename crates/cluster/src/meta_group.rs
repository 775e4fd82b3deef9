//! This node's replica of the meta group: opened and served as the map says.
//!
//! ```text
//!   map --> write down who the meta group is, in the file `map` --> open the replica that is named --> serve it
//! ```
//! One task does it all, map after map, so that what belongs to a replica ends with it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use strata_machine::Machine;
use strata_meta::{MetaMachine, MetaReply, ReadMapError, RowReader, read_map};
use strata_raft::{Group, OpenError, ProposeError};
use strata_storage::{Snapshot, StorageError};
use strata_types::{GroupId, GroupPlacement, NodeId, ReplicaPlacement, ShardMap};
use tokio::sync::Notify;

use crate::data_directory::DataDirectory;
use crate::node::Node;
use crate::{StartError, map_file, replicas};

/// How often a leader without a map proposes one, and how often it is looked who leads.
const FOUND_PAUSE: Duration = Duration::from_millis(50);
/// When what failed is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// This node's part in the meta group.
pub(crate) struct MetaGroup {
    node: Arc<Node>,
    directory: DataDirectory,
    /// What the file `map` holds.
    saved: Option<ShardMap>,
    open: Option<Open>,
}

/// An open replica.
struct Open {
    group: Arc<Group>,
    /// Something was applied.
    applied: Arc<Notify>,
}

impl MetaGroup {
    /// Brings the replica of this node in line with what is known at the start. A damaged one is noted, and this node
    /// gets its map from the others.
    pub(crate) async fn start(
        node: &Arc<Node>,
        directory: DataDirectory,
        saved: Option<ShardMap>,
    ) -> Result<MetaGroup, StartError> {
        let node = node.clone();
        let mut meta = MetaGroup { node, directory, saved, open: None };
        let map = meta.node.map();
        meta.follow(&map).await?;
        Ok(meta)
    }

    /// Serves the replica, and follows the map, until the node stops.
    pub(crate) async fn run(mut self) {
        let mut maps = self.node.keeper().watch();
        loop {
            let map = maps.borrow_and_update().clone();
            let is_done = match self.follow(&map).await {
                Ok(is_done) => is_done,
                Err(error) => {
                    tracing::error!(%error, "this node's part in the meta group is tried again");
                    false
                }
            };
            tokio::select! {
                biased;
                changed = maps.changed() => if changed.is_err() { return },
                () = self.node.env().sleep(self.node.env().jittered(RETRY)), if !is_done => {}
                () = self.serve() => {}
            }
        }
    }

    /// One step: what a map says is so afterwards, if it returns true. May be repeated, and cut off anywhere.
    async fn follow(&mut self, map: &ShardMap) -> Result<bool, StartError> {
        self.remember(map).await?;
        // After a restart the replica here may be behind what this node knew before. Only the map of the start, which is
        // what it wrote down, has no epoch.
        if map.epoch.0 > 0 && self.saved.as_ref().is_some_and(|saved| map.epoch < saved.epoch) {
            return Ok(false);
        }
        let Some(placement) = map.group(GroupId::META) else { return Ok(true) };
        let Some(here) = replicas::wanted(&placement, self.node.identity().node) else {
            // It has left. Who deletes the replicas that left deletes this one too.
            self.open = None;
            return Ok(true);
        };
        let open = self.open.as_ref().map(|open| open.group.replica());
        if open == Some(here.replica) || self.node.closed().refused(GroupId::META) == Some(here.replica) {
            return Ok(true);
        }
        if !replicas::make_way(&self.node, &placement, here).await {
            return Ok(false);
        }
        self.open = None;
        self.open(here, &placement).await?;
        Ok(self.open.is_some() || self.node.closed().refused(GroupId::META) == Some(here.replica))
    }

    /// Writes down who the meta group is, before this node acts on it (CLUSTER-9).
    async fn remember(&mut self, map: &ShardMap) -> Result<(), StartError> {
        let head = map_file::without_shards(map);
        let is_news =
            |saved: &ShardMap| head.epoch > saved.epoch && ShardMap { epoch: saved.epoch, ..head.clone() } != *saved;
        if head.epoch.0 == 0 || !self.saved.as_ref().is_none_or(is_news) {
            return Ok(());
        }
        self.directory.save_map(&head).await?;
        self.saved = Some(head);
        Ok(())
    }

    async fn open(&mut self, here: ReplicaPlacement, placement: &GroupPlacement<'_>) -> Result<(), StartError> {
        let applied = Arc::new(Notify::new());
        let wake = applied.clone();
        let machine: Arc<dyn Machine> = Arc::new(MetaMachine::with_listener(move |_| wake.notify_one()));
        match self.node.host().open(replicas::spec(placement, here, machine)).await {
            Ok(group) => {
                self.node.closed().forget(GroupId::META, here.replica);
                self.open = Some(Open { group, applied });
            }
            // A deleted one left long ago, or was to be built anew: a newer map says more.
            Err(error @ (OpenError::Corrupt { .. } | OpenError::Deleted { .. })) => {
                self.node.closed().refuse(GroupId::META, here.replica, error.to_string());
            }
            Err(error @ OpenError::Full { .. }) => {
                self.node.closed().wait_for_room(GroupId::META, here.replica, error.to_string());
            }
            Err(error) => return Err(StartError::Group { group: GroupId::META, detail: error.to_string() }),
        }
        Ok(())
    }

    /// What an open replica does: its map is this node's map, and its leader founds the cluster.
    async fn serve(&self) {
        let Some(open) = &self.open else { return std::future::pending().await };
        // What was applied before: at a start old perhaps, but enough to open the shards while a leader is elected.
        open.applied.notify_one();
        futures_util::future::join(read_maps(&self.node, open), found(&self.node, &open.group)).await;
    }
}

/// Carries out a command, if this node's replica leads the meta group.
pub(crate) async fn propose(node: &Node, command: Bytes) -> Result<Bytes, ProposeError> {
    let Some(group) = node.host().group(GroupId::META) else {
        return Err(ProposeError::NotLeader { leader: None });
    };
    group.propose(vec![command]).await.pop().expect("one command has one reply")
}

/// The node that leads the meta group, as far as a replica on this node knows.
pub(crate) fn known_leader(node: &Node) -> Option<NodeId> {
    let group = node.host().group(GroupId::META)?;
    let leader = group.watch().borrow().leader;
    leader.map(|(_, leader)| leader)
}

/// Proposes the cluster until there is one. Every founding replica of the meta group does so while it leads. Never
/// completes.
async fn found(node: &Node, group: &Group) {
    let command = node.membership().charter.found_command(node.settings().versions).encode();
    while node.membership().is_founding && node.map().epoch.0 == 0 {
        if group.watch().borrow().is_leader {
            match propose(node, command.clone()).await.map(MetaReply::decode) {
                Ok(Ok(MetaReply::Refused(refusal))) => {
                    node.env().halt(format!("the cluster cannot be founded: {refusal}"));
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "founding is tried again"),
            }
        }
        node.env().sleep(FOUND_PAUSE).await;
    }
    std::future::pending().await
}

/// Takes the map out of the tablet whenever something was applied.
async fn read_maps(node: &Node, open: &Open) {
    loop {
        open.applied.notified().await;
        let tablet = open.group.tablet();
        match node.env().blocking(move || map_in(tablet.snapshot())).await {
            Some(Ok(Some(map))) => {
                node.keeper().install(map);
            }
            Some(Ok(None)) => {}
            Some(Err(ReadMapError::Reader(error))) => {
                tracing::error!(%error, "the shard map cannot be read");
                open.group.refuse(&error);
            }
            Some(Err(error)) => node.env().halt(format!("the shard map cannot be read: {error}")),
            // The process is ending.
            None => std::future::pending().await,
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
