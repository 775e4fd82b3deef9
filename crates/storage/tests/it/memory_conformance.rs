//! The memory engine runs the conformance suite.

use std::sync::Arc;

use strata_storage::Tablets;
use strata_storage::conformance::{Harness, run_all};
use strata_storage::memory::{Durable, MemoryTablets};

struct MemoryNode {
    durable: Arc<Durable>,
    tablets: Arc<dyn Tablets>,
    write_buffer_bytes: u64,
}

impl MemoryNode {
    fn new(write_buffer_bytes: u64) -> MemoryNode {
        let durable = Durable::new();
        let tablets = MemoryTablets::over(Arc::clone(&durable)).with_write_buffer_bytes(write_buffer_bytes);
        MemoryNode { durable, tablets: Arc::new(tablets), write_buffer_bytes }
    }
}

impl Harness for MemoryNode {
    fn tablets(&self) -> Arc<dyn Tablets> {
        Arc::clone(&self.tablets)
    }

    fn crash(&mut self) {
        let tablets = MemoryTablets::over(Arc::clone(&self.durable));
        self.tablets = Arc::new(tablets.with_write_buffer_bytes(self.write_buffer_bytes));
    }
}

#[test]
fn memory_engine_conforms() {
    run_all(&mut || Box::new(MemoryNode::new(32 << 20)));
}
