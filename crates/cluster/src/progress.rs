//! How far a node is on its way up or down, for those who watch it.

use std::sync::Arc;

use tokio::sync::watch;

use crate::Phase;

/// Tells of each phase once, and remembers the last one.
pub(crate) struct Progress {
    sink: Arc<dyn Fn(Phase) + Send + Sync>,
    phase: watch::Sender<Phase>,
}

impl Progress {
    pub(crate) fn new(sink: Arc<dyn Fn(Phase) + Send + Sync>) -> Progress {
        Progress { sink, phase: watch::Sender::new(Phase::Stopped) }
    }

    pub(crate) fn report(&self, phase: Phase) {
        let is_news = self.phase.send_if_modified(|last| {
            let is_news = *last != phase;
            last.clone_from(&phase);
            is_news
        });
        if is_news {
            (self.sink)(phase);
        }
    }

    /// The last one that was told of.
    pub(crate) fn phase(&self) -> Phase {
        self.phase.borrow().clone()
    }

    /// Changes with each phase.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }
}
