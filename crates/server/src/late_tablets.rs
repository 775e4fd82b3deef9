//! Tablets that are opened when somebody asks for one, and not before.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use strata_storage::{Engine, Receiver, StorageError, StorageResult, Tablets};
use strata_types::ReplicaId;

use crate::OpenTablets;

/// Opening tablets makes and sweeps directories. A node asks for its first tablet when it has found that it knows the
/// format of its data directory: before that, nothing in it may change.
pub(crate) struct LateTablets {
    path: PathBuf,
    state: Mutex<State>,
}

enum State {
    NotYet(Option<OpenTablets>),
    Opened(Arc<dyn Tablets>),
    Failed(StorageError),
}

impl LateTablets {
    /// The tablets in a directory, which is not looked at yet.
    pub(crate) fn new(path: PathBuf, open: OpenTablets) -> Arc<LateTablets> {
        Arc::new(LateTablets { path, state: Mutex::new(State::NotYet(Some(open))) })
    }

    /// Why they could not be opened, if that was tried.
    pub(crate) fn failure(&self) -> Option<StorageError> {
        match &*self.state.lock() {
            State::Failed(error) => Some(error.clone()),
            State::NotYet(_) | State::Opened(_) => None,
        }
    }

    fn opened(&self) -> StorageResult<Arc<dyn Tablets>> {
        let mut state = self.state.lock();
        if let State::NotYet(open) = &mut *state {
            let open = open.take().expect("it is taken once, and then the state is another one");
            *state = match open(&self.path) {
                Ok(tablets) => State::Opened(tablets),
                Err(error) => State::Failed(error),
            };
        }
        match &*state {
            State::Opened(tablets) => Ok(tablets.clone()),
            State::Failed(error) => Err(error.clone()),
            State::NotYet(_) => unreachable!("it was opened above"),
        }
    }
}

impl Tablets for LateTablets {
    fn open(&self, replica: ReplicaId) -> StorageResult<Arc<dyn Engine>> {
        self.opened()?.open(replica)
    }

    fn receive(&self, replica: ReplicaId) -> StorageResult<Box<dyn Receiver>> {
        self.opened()?.receive(replica)
    }

    fn install(&self, replica: ReplicaId, received: Arc<dyn Engine>) -> StorageResult<()> {
        self.opened()?.install(replica, received)
    }

    fn remove(&self, replica: ReplicaId) -> StorageResult<()> {
        self.opened()?.remove(replica)
    }

    fn list(&self) -> StorageResult<Vec<ReplicaId>> {
        self.opened()?.list()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use strata_storage::memory::{Durable, MemoryTablets};

    use super::*;

    fn late(open: impl FnOnce(&Path) -> StorageResult<Arc<dyn Tablets>> + Send + 'static) -> Arc<LateTablets> {
        LateTablets::new("shards".into(), Box::new(open))
    }

    #[test]
    fn they_are_opened_once_and_only_when_asked_for() {
        let opened = Arc::new(AtomicUsize::new(0));
        let count = opened.clone();
        let tablets = late(move |path| {
            assert_eq!(path, Path::new("shards"));
            count.fetch_add(1, Ordering::SeqCst);
            Ok(Arc::new(MemoryTablets::over(Durable::new())))
        });
        assert_eq!(opened.load(Ordering::SeqCst), 0);
        let first = tablets.open(ReplicaId(1)).expect("a new tablet");
        let again = tablets.open(ReplicaId(1)).expect("the same");
        assert!(Arc::ptr_eq(&first, &again));
        assert_eq!(tablets.list(), Ok(vec![ReplicaId(1)]));
        assert_eq!((opened.load(Ordering::SeqCst), tablets.failure()), (1, None));
    }

    #[test]
    fn a_failure_is_kept() {
        let error = StorageError::Io { detail: "permission denied".to_owned() };
        let reason = error.clone();
        let tablets = late(move |_| Err(reason));
        assert_eq!(tablets.failure(), None);
        for _ in 0..2 {
            assert_eq!(tablets.list(), Err(error.clone()));
        }
        assert_eq!(tablets.failure(), Some(error));
    }
}
