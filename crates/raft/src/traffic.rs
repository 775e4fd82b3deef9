//! How much a node has under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Entries that a node has proposed and that are still on their way.
pub(crate) struct Traffic {
    entries: AtomicUsize,
    /// With so many on their way the node is busy.
    busy: usize,
}

impl Traffic {
    /// Of a node with so many cores.
    pub(crate) fn new(cores: u32) -> Arc<Traffic> {
        Arc::new(Traffic { entries: AtomicUsize::new(0), busy: cores.max(1) as usize })
    }

    /// Whether what goes out now, and might go with the next, would only wait elsewhere.
    pub(crate) fn is_busy(&self) -> bool {
        self.entries.load(Ordering::Relaxed) >= self.busy
    }

    /// An entry goes out.
    pub(crate) fn begin(&self) {
        self.entries.fetch_add(1, Ordering::Relaxed);
    }

    /// An entry is back.
    pub(crate) fn end(&self) {
        self.entries.fetch_sub(1, Ordering::Relaxed);
    }
}
