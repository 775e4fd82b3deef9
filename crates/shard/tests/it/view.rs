//! A tablet in memory that records what is done to it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use bytes::Bytes;
use strata_machine::{View, ViewMut};

use crate::show;

/// A map that writes down each read and write.
#[derive(Default)]
pub(crate) struct TraceView {
    pub(crate) rows: BTreeMap<Bytes, Bytes>,
    trace: RefCell<Vec<String>>,
    /// Rows that scans have shown.
    pub(crate) shown: Cell<u64>,
}

impl TraceView {
    /// What was done since the last call.
    pub(crate) fn take_trace(&self) -> Vec<String> {
        self.trace.take()
    }

    fn note(&self, line: String) {
        self.trace.borrow_mut().push(line);
    }
}

impl View for TraceView {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.note(format!("read {}", show::key(key)));
        self.rows.get(key).cloned()
    }

    fn scan(&self, start: &[u8], end: &[u8], visit: &mut dyn FnMut(&[u8], &Bytes) -> bool) {
        self.note(format!("scan {} .. {}", show::key(start), show::key(end)));
        let range = self.rows.range(Bytes::copy_from_slice(start)..Bytes::copy_from_slice(end));
        for (key, value) in range {
            self.shown.set(self.shown.get() + 1);
            if !visit(key, value) {
                return;
            }
        }
    }
}

impl ViewMut for TraceView {
    fn put(&mut self, key: Bytes, value: Bytes) {
        self.note(format!("put {} = {}", show::key(&key), show::row(&key, &value)));
        self.rows.insert(key, value);
    }

    fn delete(&mut self, key: Bytes) {
        self.note(format!("delete {}", show::key(&key)));
        self.rows.remove(&key);
    }
}
