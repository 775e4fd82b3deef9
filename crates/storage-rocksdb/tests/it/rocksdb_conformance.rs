//! RocksDB tablets run the conformance suite.

use strata_storage::conformance::run_all;

use crate::node::RocksNode;

#[test]
fn rocksdb_engine_conforms() {
    run_all(&mut || Box::new(RocksNode::new()));
}

#[test]
fn rocksdb_engine_conforms_without_recent_rows() {
    run_all(&mut || Box::new(RocksNode::with_recent_bytes(0)));
}
