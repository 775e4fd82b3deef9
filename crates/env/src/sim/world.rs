//! The machines of one run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::SimNode;
use super::SimRng;

/// All machines of one simulated run. Make it inside a current-thread tokio runtime whose time is paused.
#[derive(Clone)]
pub struct SimWorld {
    inner: Arc<WorldInner>,
}

struct WorldInner {
    seed: u64,
    start: Instant,
    nodes: Mutex<BTreeMap<u64, SimNode>>,
}

impl SimWorld {
    /// A world in which every choice follows from `seed`.
    pub fn new(seed: u64) -> SimWorld {
        let start = Instant::now();
        SimWorld { inner: Arc::new(WorldInner { seed, start, nodes: Mutex::default() }) }
    }

    /// The machine with this number; the first call makes it, running and with an empty disk. What it does depends on
    /// the seed and the number only, not on which other machines exist.
    pub fn node(&self, number: u64) -> SimNode {
        let mut nodes = self.inner.nodes.lock();
        nodes.entry(number).or_insert_with(|| SimNode::new(self.inner.seed, number, self.inner.start)).clone()
    }

    /// All machines made so far, by number.
    pub fn nodes(&self) -> Vec<SimNode> {
        self.inner.nodes.lock().values().cloned().collect()
    }

    /// Time since the world began.
    pub fn elapsed(&self) -> Duration {
        self.inner.start.elapsed()
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.inner.seed
    }

    /// A sequence for the harness itself, apart from those of the nodes; the same label gives the same sequence.
    pub fn rng(&self, label: u64) -> SimRng {
        SimRng::new(super::rng::mix(self.inner.seed) ^ super::rng::mix(!label))
    }
}
