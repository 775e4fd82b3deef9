//! What health checks are told.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use strata_cluster::Node;
use strata_http::Readiness;

/// Where a server is in its life.
pub(crate) struct Life {
    phase: Mutex<String>,
    node: OnceLock<Arc<Node>>,
    is_stopping: AtomicBool,
}

impl Life {
    pub(crate) fn new() -> Arc<Life> {
        Arc::new(Life {
            phase: Mutex::new("starting".to_owned()),
            node: OnceLock::new(),
            is_stopping: AtomicBool::new(false),
        })
    }

    /// The node says where it is on its way up.
    pub(crate) fn set_phase(&self, phase: String) {
        *self.phase.lock() = phase;
    }

    /// The node is up: from now on it answers for itself.
    pub(crate) fn set_node(&self, node: Arc<Node>) {
        assert!(self.node.set(node).is_ok(), "a server has one node");
    }

    /// Nobody new should come.
    pub(crate) fn set_stopping(&self) {
        self.is_stopping.store(true, Ordering::Relaxed);
    }
}

impl Readiness for Life {
    fn ready(&self) -> Result<(), String> {
        if self.is_stopping.load(Ordering::Relaxed) {
            return Err("the node is stopping".to_owned());
        }
        match self.node.get() {
            Some(node) => node.ready(),
            None => Err(self.phase.lock().clone()),
        }
    }
}
