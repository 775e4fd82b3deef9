//! How much memory the recent rows of a node take.

use std::sync::atomic::{AtomicUsize, Ordering};

/// While the node has too many recent rows, a tablet may have so many still: to flush fewer gains little.
const LEAST_BYTES: usize = 64 << 10;

/// What the recent rows of all tablets of a node take, and how much they may.
pub(crate) struct Budget {
    bundle_bytes_max: usize,
    node_bytes_max: usize,
    node_bytes: AtomicUsize,
}

impl Budget {
    pub(crate) fn new(bundle_bytes_max: usize, node_bytes_max: usize) -> Budget {
        Budget { bundle_bytes_max, node_bytes_max, node_bytes: AtomicUsize::new(0) }
    }

    /// A bundle ends beyond this.
    pub(crate) fn bundle_bytes_max(&self) -> usize {
        self.bundle_bytes_max
    }

    /// Whether a tablet that has some bytes may have so many more. One that has none may take any batch.
    pub(crate) fn has_room(&self, bytes: usize, more: usize) -> bool {
        self.node_bytes() + more <= self.node_bytes_max || bytes == 0 || bytes + more <= LEAST_BYTES
    }

    /// Whether a tablet that is held up, with some bytes, may have so many more: it leaves room to others.
    pub(crate) fn leaves_room(&self, bytes: usize, more: usize) -> bool {
        bytes == 0 || bytes + more <= LEAST_BYTES.max(self.node_bytes_max / 2)
    }

    /// Whether who writes to a tablet that grew so should look whether there is room. Not only when a bundle is full:
    /// many tablets fill the node with less.
    pub(crate) fn is_step(before: usize, after: usize) -> bool {
        after / LEAST_BYTES > before / LEAST_BYTES
    }

    /// Whether there will be no room soon.
    pub(crate) fn is_tight(&self) -> bool {
        self.node_bytes() > self.node_bytes_max / 4 * 3
    }

    /// The rows of a tablet take another part of it.
    pub(crate) fn changed(&self, before: usize, after: usize) {
        match after.checked_sub(before) {
            Some(more) => self.node_bytes.fetch_add(more, Ordering::Relaxed),
            None => self.node_bytes.fetch_sub(before - after, Ordering::Relaxed),
        };
    }

    /// What all of them take.
    pub(crate) fn node_bytes(&self) -> usize {
        self.node_bytes.load(Ordering::Relaxed)
    }
}
