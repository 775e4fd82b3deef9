//! How much memory the recent rows of a node take, and who has to let go of some.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};
use strata_storage::WriteBatch;
use strata_types::ReplicaId;

use crate::recent::{Forgotten, Recent, size_of};

/// While the node has too many recent rows, a tablet may have so many still: writes of fewer rows at once gain little.
const LEAST_BYTES: usize = 64 << 10;

/// The recent rows of all tablets of a node, and how much memory they may take.
pub(crate) struct Budget {
    /// So much may one tablet have in a bundle.
    bundle_bytes_max: usize,
    node_bytes_max: usize,
    node_bytes: AtomicUsize,
    tablets: Mutex<Vec<Weak<RwLock<Recent>>>>,
}

impl Budget {
    pub(crate) fn new(bundle_bytes_max: usize, node_bytes_max: usize) -> Budget {
        Budget { bundle_bytes_max, node_bytes_max, node_bytes: AtomicUsize::new(0), tablets: Mutex::default() }
    }

    /// No rows yet, of the tablet of one more replica.
    pub(crate) fn tablet(self: &Arc<Budget>, replica: ReplicaId) -> Arc<RwLock<Recent>> {
        let recent = Arc::new(RwLock::new(Recent::new(Arc::clone(self), replica)));
        let mut tablets = self.tablets.lock();
        tablets.retain(|tablet| tablet.strong_count() > 0);
        tablets.push(Arc::downgrade(&recent));
        recent
    }

    /// Whether a batch can be taken when RocksDB has all rows and no other tablet has any.
    pub(crate) fn may_take(&self, batch: &WriteBatch) -> bool {
        size_of(batch) <= (self.bundle_bytes_max / 2).min(self.node_bytes_max)
    }

    /// How much a tablet may have in the bundle that begins with a part. All replicas of a shard write the same rows, and
    /// many shards as much as others: were this the same for all, all would be busy spilling at one moment, and none at
    /// others.
    pub(crate) fn bundle_bytes(&self, replica: ReplicaId, part: u64) -> usize {
        let least = self.bundle_bytes_max / 2;
        let dice = crc32c::crc32c_append(crc32c::crc32c(&replica.0.to_le_bytes()), &part.to_le_bytes());
        least + dice as usize % (self.bundle_bytes_max - least + 1)
    }

    /// Whether a tablet that has some bytes may have so many more.
    pub(crate) fn has_room(&self, bytes: usize, more: usize) -> bool {
        self.node_bytes.load(Ordering::Relaxed) + more <= self.node_bytes_max || bytes + more <= LEAST_BYTES
    }

    /// The rows of a tablet take another part of it.
    pub(crate) fn changed(&self, before: usize, after: usize) {
        self.node_bytes.fetch_add(after, Ordering::Relaxed);
        self.node_bytes.fetch_sub(before, Ordering::Relaxed);
    }

    /// Forgets the rows of the tablet that has the most, of those where RocksDB has them all: idle ones are among them.
    /// Returns them, or `None` if there was no such tablet. The caller has locked none.
    pub(crate) fn make_room(&self) -> Option<Forgotten> {
        let tablets: Vec<_> = self.tablets.lock().iter().filter_map(Weak::upgrade).collect();
        let size = |tablet: &Arc<RwLock<Recent>>| {
            tablet.try_read().filter(|recent| recent.is_settled()).map_or(0, |recent| recent.bytes())
        };
        let fullest = tablets.iter().map(|tablet| (size(tablet), tablet)).max_by_key(|(bytes, _)| *bytes);
        let (1.., fullest) = fullest? else { return None };
        let mut recent = fullest.write();
        if recent.is_settled() { recent.forget() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recent::tests::{batch, put, spill};

    #[test]
    fn rows_that_rocksdb_has_make_room_for_those_of_other_tablets() {
        let budget = Arc::new(Budget::new(1 << 20, 800_000));
        let [first, second, third] = [1, 2, 3].map(|replica| budget.tablet(ReplicaId(replica)));
        put(&first, &batch(0..2_000, b"value"));
        put(&second, &batch(0..3_000, b"value"));
        let more = batch(0..1_500, b"value");
        assert!(!third.read().has_room(&more));
        assert!(budget.make_room().is_none(), "RocksDB has none of them");
        assert!(third.read().has_room(&batch(0..300, b"value")), "a few always have room");

        spill(&first);
        spill(&second);
        assert!(first.read().get(&7_u32.to_be_bytes()).is_some());
        assert!(budget.make_room().is_some());
        assert!(second.read().get(&7_u32.to_be_bytes()).is_none(), "the fullest");
        assert!(first.read().get(&7_u32.to_be_bytes()).is_some());
        put(&third, &more);
        drop(first);
        assert!(budget.make_room().is_none(), "a closed tablet has no rows");
        assert_eq!(budget.node_bytes.load(Ordering::Relaxed), third.read().bytes());
    }
}
