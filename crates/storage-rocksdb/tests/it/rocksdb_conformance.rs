//! RocksDB tablets run the conformance suite.

use strata_storage::conformance::run_all;

use crate::node::RocksNode;

#[test]
fn rocksdb_engine_conforms() {
    run_all(&mut || Box::new(RocksNode::new()));
}

#[test]
fn rocksdb_engine_conforms_when_each_write_is_put_in_order() {
    run_all(&mut || Box::new(RocksNode::with(0, 8 << 20)));
}
