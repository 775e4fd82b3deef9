//! Opens the shard replicas that the map places on this node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use strata_env::Mono;
use strata_machine::Machine;
use strata_raft::{Group, GroupSpec, OpenError};
use strata_shard::ShardMachine;
use strata_types::{GroupId, LogIndex, NodeId, ReplicaId, ReplicaPlacement, ShardMap, ShardPlacement, Term};

use crate::node::Node;
use crate::{Phase, StartError};

/// How long a group is left to the node that should found it.
const FOUND_PATIENCE: Duration = Duration::from_secs(3);
/// Each replica waits this much longer than the one before it in the placement: longer than an election, so that they
/// do not compete.
const FOUND_STAGGER: Duration = Duration::from_secs(1);
/// How often it is looked whether a group has been founded.
const FOUND_TICK: Duration = Duration::from_millis(500);

/// Opens what is not open yet, several at a time. A damaged replica is noted and left closed (CLUSTER-5); the shard goes
/// on with the others.
pub(crate) async fn open_all(node: &Node, map: &ShardMap) -> Result<(), StartError> {
    let wanted = missing(node, map);
    let total = wanted.len();
    let report = |done| {
        if total > 0 && !node.is_ready() {
            node.report_phase(Phase::OpeningShards { done, total });
        }
    };
    report(0);
    let mut opening: FuturesUnordered<_> =
        wanted.into_iter().map(|(placement, here)| open(node, placement, here)).collect();
    let (mut done, mut failure) = (0, None);
    while let Some(opened) = opening.next().await {
        done += 1;
        report(done);
        // The others are opened to the end: a half-opened one would be left in the middle of writing.
        failure = failure.or(opened.err());
    }
    failure.map_or(Ok(()), Err)
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

/// Founds the groups whose first replica is on a node that never came: without an entry nobody calls an election. All
/// name the members that the map has, which are those of the group's birth as long as replicas do not move; see
/// [`Group::found`] for why it does no harm when the first one comes back.
pub(crate) async fn found_late(node: Arc<Node>) {
    let mut waits: BTreeMap<GroupId, Mono> = BTreeMap::new();
    loop {
        node.env().sleep(FOUND_TICK).await;
        let (now, map) = (node.env().now(), node.map());
        let shards = map.shards.iter().map(|shard| (GroupId::of_shard(shard.shard), shard.replicas.as_slice()));
        let meta = (GroupId::META, node.membership().charter.meta.as_slice());
        for (id, replicas) in std::iter::once(meta).chain(shards) {
            let place = replicas.iter().position(|replica| replica.node == node.identity().node);
            let Some((group, place)) = node.host().group(id).zip(place).filter(|(group, _)| is_unfounded(group)) else {
                waits.remove(&id);
                continue;
            };
            if now.since(*waits.entry(id).or_insert(now)) < FOUND_PATIENCE + FOUND_STAGGER * place as u32 {
                continue;
            }
            match group.found(&members(replicas)).await {
                Ok(false) => {}
                Ok(true) => tracing::info!(group = %id, "founded a group in the place of its first node"),
                Err(error) => tracing::warn!(group = %id, %error, "a group could not be founded"),
            }
        }
    }
}

/// Whether nothing was ever heard of a group. (Term 0 is before the first election.)
fn is_unfounded(group: &Group) -> bool {
    let status = group.status();
    status.serving && status.leader.is_none() && status.term == Term(0) && status.last == LogIndex(0)
}

fn members(replicas: &[ReplicaPlacement]) -> BTreeMap<ReplicaId, NodeId> {
    replicas.iter().map(|replica| (replica.replica, replica.node)).collect()
}

async fn open(node: &Node, placement: &ShardPlacement, here: ReplicaPlacement) -> Result<(), StartError> {
    let machine: Arc<dyn Machine> = Arc::new(ShardMachine);
    let group = GroupId::of_shard(placement.shard);
    let spec = GroupSpec {
        group,
        replica: here.replica,
        members: members(&placement.replicas),
        machine,
        // One node founds the group, so that it becomes its leader and nobody competes. If it is down the others do
        // it later.
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
