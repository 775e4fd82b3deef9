//! What replicas have of transactions that are not done with. SIM-TXN-4: when everything has healed and nobody works,
//! nothing of any transaction is left open. SIM-TXN-6, at any time: a part that is prepared can be resolved.

use std::sync::Arc;

use bytes::Bytes;
use strata_machine::View;
use strata_shard::UnfinishedState;
use strata_storage::{Engine, Snapshot};
use strata_types::{Decision, GroupId, TransactionStatus};

use crate::cluster::Cluster;

/// So many parts of a replica are looked at.
const PARTS_MAX: usize = 100;

struct Tablet(Box<dyn Snapshot>);

impl View for Tablet {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.0.get(key).expect("the engine in memory does not fail")
    }

    fn scan(&self, start: &[u8], end: &[u8], visit: &mut dyn FnMut(&[u8], &Bytes) -> bool) {
        let mut visit = |key: &[u8], value: &[u8]| visit(key, &Bytes::copy_from_slice(value));
        self.0.scan(start, end, &mut visit).expect("the engine in memory does not fail");
    }
}

/// A replica that still has an intent, a lock, or a record without an end, in one sentence.
pub(crate) fn leftover(cluster: &Cluster) -> Option<String> {
    for (host, _, node) in cluster.nodes() {
        for group in node.host().groups().into_iter().filter(|group| group.id().shard().is_some()) {
            let tablet: Arc<dyn Engine> = group.tablet();
            let view = Tablet(tablet.snapshot());
            let state = strata_shard::shard_state(&view);
            let open = strata_shard::unfinished(&view, 10);
            if state.prepared > 0 || state.ranged > 0 || !open.is_empty() {
                let replica = group.replica();
                return Some(format!("{replica} of {} on host-{host} has {state:?}, {open:?}", group.id()));
            }
        }
    }
    None
}

/// SIM-TXN-6 (SHARD-8): a part that was prepared above the timestamp at which its transaction is committed. It came again,
/// or late; nobody can resolve it, and what it locks is neither read nor written.
pub(crate) fn prepared_too_late(cluster: &Cluster) -> Option<String> {
    let (map, nodes) = (cluster.newest_map(), cluster.nodes());
    let view_of = |group: &strata_raft::Group| Tablet(group.tablet().snapshot());
    let shards = nodes.iter().flat_map(|(_, _, node)| node.host().groups());
    for group in shards.filter(|group| group.id().shard().is_some()) {
        let view = view_of(&group);
        if strata_shard::shard_state(&view).prepared == 0 {
            continue;
        }
        for open in strata_shard::unfinished(&view, PARTS_MAX) {
            let UnfinishedState::Prepared { at } = open.state else { continue };
            let Some(anchor) = map.shard_of(open.transaction.anchor) else { continue };
            let replicas = nodes.iter().filter_map(|(_, _, node)| node.host().group(GroupId::of_shard(anchor.shard)));
            let decided =
                replicas.filter_map(|anchor| match strata_shard::status(&view_of(&anchor), open.transaction.id) {
                    TransactionStatus::Decided(Decision::Committed(decided)) => Some(decided),
                    _ => None,
                });
            if let Some(decided) = decided.min().filter(|decided| *decided < at) {
                let (replica, shard, id) = (group.replica(), group.id(), open.transaction.id);
                return Some(format!(
                    "{replica} of {shard} has prepared {id} at {at}, which is committed at {decided}"
                ));
            }
        }
    }
    None
}
