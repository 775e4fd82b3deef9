//! SIM-TXN-4: when everything has healed and nobody works, nothing of any transaction is left open.

use std::sync::Arc;

use bytes::Bytes;
use strata_machine::View;
use strata_storage::{Engine, Snapshot};

use crate::cluster::Cluster;

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
