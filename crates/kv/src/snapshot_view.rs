//! A tablet as the pure reading code wants it.

use std::cell::{Cell, RefCell};

use bytes::Bytes;
use strata_machine::View;
use strata_storage::{Engine, Snapshot, StorageError};

/// A [`View`] cannot fail, a snapshot can: the first failure is kept, and whatever was read is worth nothing (KV-4).
pub(crate) struct SnapshotView<'a> {
    snapshot: &'a dyn Snapshot,
    failed: RefCell<Option<StorageError>>,
}

impl<'a> SnapshotView<'a> {
    pub(crate) fn new(snapshot: &'a dyn Snapshot) -> SnapshotView<'a> {
        SnapshotView { snapshot, failed: RefCell::default() }
    }

    /// What was read through the view, if all of it could be read.
    pub(crate) fn finish<T>(self, read: T) -> Result<T, StorageError> {
        self.failed.into_inner().map_or(Ok(read), Err)
    }

    fn fail(&self, error: StorageError) {
        self.failed.borrow_mut().get_or_insert(error);
    }
}

impl View for SnapshotView<'_> {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.snapshot.get(key).unwrap_or_else(|error| {
            self.fail(error);
            None
        })
    }

    fn scan(&self, start: &[u8], end: &[u8], visit: &mut dyn FnMut(&[u8], &Bytes) -> bool) {
        let mut visit = |key: &[u8], value: &[u8]| visit(key, &Bytes::copy_from_slice(value));
        if let Err(error) = self.snapshot.scan(start, end, &mut visit) {
            self.fail(error);
        }
    }
}

/// A tablet as far as it is in memory. What is read through it is not one state: single keys only, in the order that the
/// pure code keeps.
pub(crate) struct CachedView<'a> {
    engine: &'a dyn Engine,
    has_failed: Cell<bool>,
}

impl<'a> CachedView<'a> {
    pub(crate) fn new(engine: &'a dyn Engine) -> CachedView<'a> {
        CachedView { engine, has_failed: Cell::new(false) }
    }

    /// What was read through the view, unless it needs the disk. Whatever else goes wrong is told by the read that may
    /// wait for it.
    pub(crate) fn finish<T>(self, read: T) -> Option<T> {
        (!self.has_failed.get()).then_some(read)
    }
}

impl View for CachedView<'_> {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        if self.has_failed.get() {
            return None;
        }
        self.engine.get_cached(key).unwrap_or_else(|_| {
            self.has_failed.set(true);
            None
        })
    }

    fn scan(&self, _start: &[u8], _end: &[u8], _visit: &mut dyn FnMut(&[u8], &Bytes) -> bool) {
        self.has_failed.set(true);
    }
}

/// A tablet as it is from one read to the next, for single keys.
pub(crate) struct EngineView<'a> {
    engine: &'a dyn Engine,
    failed: RefCell<Option<StorageError>>,
}

impl<'a> EngineView<'a> {
    pub(crate) fn new(engine: &'a dyn Engine) -> EngineView<'a> {
        EngineView { engine, failed: RefCell::default() }
    }

    /// What was read through the view, if all of it could be read.
    pub(crate) fn finish<T>(self, read: T) -> Result<T, StorageError> {
        self.failed.into_inner().map_or(Ok(read), Err)
    }

    fn fail(&self, error: StorageError) {
        self.failed.borrow_mut().get_or_insert(error);
    }
}

impl View for EngineView<'_> {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.engine.get(key).unwrap_or_else(|error| {
            self.fail(error);
            None
        })
    }

    fn scan(&self, start: &[u8], end: &[u8], visit: &mut dyn FnMut(&[u8], &Bytes) -> bool) {
        let mut visit = |key: &[u8], value: &[u8]| visit(key, &Bytes::copy_from_slice(value));
        if let Err(error) = self.engine.scan(start, end, &mut visit) {
            self.fail(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use strata_storage::StorageResult;

    use super::*;

    struct Failing;

    impl Snapshot for Failing {
        fn get(&self, _key: &[u8]) -> StorageResult<Option<Bytes>> {
            Err(StorageError::Io { detail: "first".into() })
        }

        fn scan(&self, _: &[u8], _: &[u8], visit: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> StorageResult<()> {
            visit(b"k", b"v");
            Err(StorageError::Io { detail: "second".into() })
        }
    }

    /// KV-4
    #[test]
    fn a_failure_spoils_everything_that_was_read() {
        let view = SnapshotView::new(&Failing);
        let mut seen = 0;
        view.scan(b"a", b"z", &mut |_, _| {
            seen += 1;
            true
        });
        assert_eq!((seen, view.get(b"k")), (1, None));
        assert_eq!(view.finish(()), Err(StorageError::Io { detail: "second".into() }), "the first failure is told");
    }
}
