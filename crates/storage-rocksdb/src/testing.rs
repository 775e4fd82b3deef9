//! Tablets whose insides are tested.

use std::any::Any;
use std::ops::Range;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use strata_storage::{Engine, Tablets, WriteBatch};
use strata_types::ReplicaId;
use tempfile::TempDir;

use crate::tablet::RocksTablet;
use crate::{RocksOptions, RocksTablets};

pub(crate) fn bytes(number: u32) -> Bytes {
    Bytes::from(number.to_be_bytes().to_vec())
}

pub(crate) fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().unwrap())
}

pub(crate) fn batch(rows: Range<u32>, value: u32) -> WriteBatch {
    let mut batch = WriteBatch::new();
    rows.for_each(|row| batch.put(bytes(row), bytes(value)));
    batch
}

pub(crate) fn tablets(directory: &TempDir, memory_bytes: usize) -> RocksTablets {
    let options = RocksOptions { memory_bytes, bundle_bytes: 2_000, ..RocksOptions::default() };
    RocksTablets::new(directory.path().join("shards"), options).unwrap()
}

pub(crate) fn open(tablets: &RocksTablets, replica: u64) -> RocksTablet {
    let tablet = tablets.open(ReplicaId(replica)).unwrap();
    let tablet: &dyn Any = &*tablet;
    RocksTablet::new(Arc::clone(tablet.downcast_ref::<RocksTablet>().unwrap().database()))
}

pub(crate) fn value(tablet: &RocksTablet, row: u32) -> u32 {
    number(&tablet.get(&row.to_be_bytes()).unwrap().expect("a row"))
}

/// Whether something comes true that other threads take their time for.
pub(crate) fn soon(mut is_true: impl FnMut() -> bool) -> bool {
    (0..20_000).any(|_| {
        thread::sleep(Duration::from_millis(1));
        is_true()
    })
}
