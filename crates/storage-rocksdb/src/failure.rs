//! What comes after a flush that failed.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use strata_storage::{StorageError, StorageResult};

/// How long no flush is tried after one that found no room: each attempt takes what room is left, for a while.
const FULL_PAUSE: Duration = Duration::from_secs(5);

/// The error of the last flush of a tablet, if it failed. After one that lasts nothing is tried again: nobody knows
/// what is durable.
#[derive(Default)]
pub(crate) struct Failure(Mutex<Option<(StorageError, Instant)>>);

impl Failure {
    /// Notes how a flush went.
    pub(crate) fn note(&self, outcome: StorageResult<()>) -> StorageResult<()> {
        *self.0.lock() = outcome.as_ref().err().map(|error| (error.clone(), Instant::now()));
        outcome
    }

    /// Fails while there must be no other flush.
    pub(crate) fn check_flush(&self) -> StorageResult<()> {
        match &*self.0.lock() {
            Some((error, since)) if lasts(error) || since.elapsed() < FULL_PAUSE => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Fails if there will be none any more.
    pub(crate) fn check_write(&self) -> StorageResult<()> {
        match &*self.0.lock() {
            Some((error, _)) if lasts(error) => Err(error.clone()),
            _ => Ok(()),
        }
    }
}

fn lasts(error: &StorageError) -> bool {
    !matches!(error, StorageError::Full { .. } | StorageError::Behind { .. } | StorageError::WouldBlock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flush_comes_after_one_that_found_no_room_and_none_after_a_failed_disk() {
        let failure = Failure::default();
        let full = Err(StorageError::Full { detail: "full".into() });
        let failed = Err(StorageError::Io { detail: "failed".into() });
        assert_eq!((failure.check_flush(), failure.check_write()), (Ok(()), Ok(())));
        assert_eq!(failure.note(full.clone()), full);
        assert_eq!((failure.check_flush(), failure.check_write()), (full, Ok(())));
        if let Some((_, since)) = &mut *failure.0.lock() {
            *since -= FULL_PAUSE;
        }
        assert_eq!((failure.check_flush(), failure.check_write()), (Ok(()), Ok(())));
        assert_eq!(failure.note(failed.clone()), failed);
        if let Some((_, since)) = &mut *failure.0.lock() {
            *since -= FULL_PAUSE;
        }
        assert_eq!((failure.check_flush(), failure.check_write()), (failed.clone(), failed));
    }
}
