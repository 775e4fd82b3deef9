//! The thread that does for a node's tablets what their writers should not wait for.
//!
//! A bundle of rows takes milliseconds, for which a writer would hold up all that its thread does. This thread locks nothing
//! that a writer or a reader waits for, and its answer is looked at by who needs the room.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::thread;

use strata_storage::{StorageError, StorageResult};

use crate::part::Part;
use crate::recent::Forgotten;
use crate::rocks::{Patience, Rocks};

/// The thread's inbox. It ends when this is gone and all is done.
pub(crate) struct Spiller {
    jobs: Sender<Job>,
}

enum Job {
    Spill { rocks: Arc<Rocks>, bundle: Vec<Arc<Part>>, done: SyncSender<StorageResult<()>> },
    Free(#[expect(dead_code, reason = "it is only dropped")] Forgotten),
}

/// A bundle on its way to RocksDB.
pub(crate) struct Spill(Receiver<StorageResult<()>>);

impl Spiller {
    pub(crate) fn start() -> StorageResult<Spiller> {
        let (jobs, inbox) = channel::<Job>();
        let work = move || inbox.into_iter().for_each(Job::run);
        let started = thread::Builder::new().name("strata-spill".to_owned()).spawn(work);
        started.map_err(|error| StorageError::Io { detail: format!("cannot start a thread: {error}") })?;
        Ok(Spiller { jobs })
    }

    /// Begins to give RocksDB the rows of a bundle, the newest first: all or none of them.
    pub(crate) fn spill(&self, rocks: &Arc<Rocks>, bundle: Vec<Arc<Part>>) -> Spill {
        let (done, outcome) = sync_channel(1);
        let job = Job::Spill { rocks: Arc::clone(rocks), bundle, done };
        // A panic of the storage stops the node, wherever it was.
        self.jobs.send(job).expect("the thread ends only when its inbox is gone, or by a panic");
        Spill(outcome)
    }

    /// Frees what takes long to free.
    pub(crate) fn free(&self, forgotten: Forgotten) {
        let _ = self.jobs.send(Job::Free(forgotten));
    }
}

impl Job {
    fn run(self) {
        // Dropped from the last to the first, also by a panic: who hears of the end may be about to close the database.
        let Job::Spill { done, bundle, rocks } = self else { return };
        // One tablet that RocksDB holds back must not hold back the others: its own writers are the ones who wait.
        let outcome = rocks.write_parts(&bundle, Patience::Hurries);
        drop(rocks);
        let _ = done.send(outcome);
    }
}

impl Spill {
    /// One that RocksDB refused.
    #[cfg(test)]
    pub(crate) fn refused() -> Spill {
        Spill(sync_channel(1).1)
    }

    /// Whether RocksDB has the rows now, or `None` when that is not known yet and the caller does not wait.
    pub(crate) fn outcome(&self, patience: Patience) -> Option<bool> {
        let outcome = match (patience, self.0.try_recv()) {
            (_, Ok(outcome)) => outcome.is_ok(),
            (_, Err(TryRecvError::Disconnected)) => false,
            (Patience::Waits, Err(TryRecvError::Empty)) => matches!(self.0.recv(), Ok(Ok(()))),
            (Patience::Hurries, Err(TryRecvError::Empty)) => return None,
        };
        Some(outcome)
    }
}
