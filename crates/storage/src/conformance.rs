//! What every engine must do, as checks that any implementation can run.
//!
//! An implementation gives a [`Harness`] and calls [`run_all`] from a test; each check gets a fresh node. A check panics
//! with what went wrong.

mod crash;
mod engine;
mod transfer;

use std::sync::Arc;

use bytes::Bytes;
use strata_types::ReplicaId;

use crate::{Checkpoint, Engine, Receiver, StorageResult, Tablets, WriteBatch};

/// A node whose storage is tested.
pub trait Harness {
    /// The tablets of its present life.
    fn tablets(&self) -> Arc<dyn Tablets>;

    /// Kills the node without any goodbye and starts it again on what it left. Checks drop what they hold first, except
    /// where they name it.
    fn crash(&mut self);
}

type Check = fn(&mut dyn Harness);

const CHECKS: &[(&str, Check)] = &[
    ("writes become visible in order", engine::writes_become_visible_in_order),
    ("calls that do not wait do all or nothing", engine::calls_that_do_not_wait_do_all_or_nothing),
    ("scans are ordered and bounded", engine::scans_are_ordered_and_bounded),
    ("snapshots do not change", engine::snapshots_do_not_change),
    ("keys and values of all sizes", engine::keys_and_values_of_all_sizes),
    ("an open tablet is shared", engine::an_open_tablet_is_shared),
    ("unflushed bytes rise and fall", engine::unflushed_bytes_rise_and_fall),
    ("removed tablets are gone", engine::removed_tablets_are_gone),
    ("a flush persists", crash::a_flush_persists),
    ("a crash leaves a prefix", crash::a_crash_leaves_a_prefix),
    ("new and removed tablets survive", crash::new_and_removed_tablets_survive),
    ("a checkpoint does not change", transfer::a_checkpoint_does_not_change),
    ("a received tablet is installed whole", transfer::a_received_tablet_is_installed_whole),
    ("a crash before install keeps the old one", transfer::a_crash_before_install_keeps_the_old_one),
    ("a dropped receiver leaves nothing", transfer::a_dropped_receiver_leaves_nothing),
    ("bad names and holes are refused", transfer::bad_names_and_holes_are_refused),
    ("damaged transfers are refused", transfer::damaged_transfers_are_refused),
    ("only a received tablet is installed", transfer::only_a_received_tablet_is_installed),
];

/// Runs all checks, each on a fresh node.
pub fn run_all(make: &mut dyn FnMut() -> Box<dyn Harness>) {
    for (name, check) in CHECKS {
        let mut harness = make();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(&mut *harness)));
        if let Err(panic) = outcome {
            let detail = panic.downcast_ref::<String>().cloned();
            let detail = detail.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
            panic!("conformance check failed: {name}: {}", detail.unwrap_or_default());
        }
    }
}

/// Bytes of one read when [`copy_checkpoint`] copies: small, so that files come in pieces.
const COPY_BYTES: usize = 10_000;

/// Hands all files of a checkpoint to a receiver, in pieces, as a transfer does.
pub fn copy_checkpoint(checkpoint: &dyn Checkpoint, receiver: &mut dyn Receiver) -> StorageResult<()> {
    for file in checkpoint.files()? {
        let mut offset = 0;
        loop {
            let piece = checkpoint.read(&file.name, offset, COPY_BYTES)?;
            receiver.write(&file.name, offset, &piece)?;
            offset += piece.len() as u64;
            if offset >= file.length {
                break;
            }
        }
    }
    Ok(())
}

/// All items of a tablet, in the order of a scan.
pub fn contents(engine: &dyn Engine) -> StorageResult<Vec<(Bytes, Bytes)>> {
    let mut items = Vec::new();
    engine.scan(b"", b"", &mut |key, value| {
        items.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
        true
    })?;
    Ok(items)
}

const REPLICA: ReplicaId = ReplicaId(7);

fn open(harness: &dyn Harness, replica: ReplicaId) -> Arc<dyn Engine> {
    harness.tablets().open(replica).expect("a tablet opens")
}

fn put(engine: &dyn Engine, key: &str, value: &str) {
    write(engine, &[(key, Some(value))]);
}

fn write(engine: &dyn Engine, ops: &[(&str, Option<&str>)]) {
    let mut batch = WriteBatch::new();
    for (key, value) in ops {
        let key = Bytes::copy_from_slice(key.as_bytes());
        match value {
            Some(value) => batch.put(key, Bytes::copy_from_slice(value.as_bytes())),
            None => batch.delete(key),
        }
    }
    engine.write(batch).expect("a batch is written");
}

fn get(engine: &dyn Engine, key: &str) -> Option<String> {
    engine.get(key.as_bytes()).expect("a key is read").map(text)
}

fn get_persisted(engine: &dyn Engine, key: &str) -> Option<String> {
    engine.get_persisted(key.as_bytes()).expect("a persisted key is read").map(text)
}

fn all(engine: &dyn Engine) -> Vec<(String, String)> {
    let items = contents(engine).expect("a tablet is scanned");
    items.into_iter().map(|(key, value)| (text(key), text(value))).collect()
}

fn text(bytes: Bytes) -> String {
    String::from_utf8(bytes.to_vec()).expect("the checks write text")
}

fn pairs(items: &[(&str, &str)]) -> Vec<(String, String)> {
    items.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}
