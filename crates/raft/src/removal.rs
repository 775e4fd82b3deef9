//! Deleting a replica for ever.
//!
//! A replica that has voted must not come back empty: it would vote again, and what it had acknowledged would count as
//! if it were still there. So the first thing that becomes durable is a tombstone in its log, in the place of its vote,
//! and opening looks there first (RAFT-9). The rest is only room on the disk: a crash before, between and after is made
//! good by deleting again.
//!
//! ```text
//!   stop the core  ->  tombstone, durable  ->  log entries gone  ->  tablet gone
//! ```
//! The node's log carries the tombstone from segment to segment as it does any vote: some tens of bytes for each
//! replica that was ever deleted here.

use bytes::Bytes;
use strata_storage::{StorageError, StorageResult};
use strata_types::{GroupId, ReplicaId};
use strata_wal::{ReplicaLog, WalError};

use crate::host::Host;

/// Stands where the vote was. Persisted: it stays as it is. It does not decode as a vote, so that a program that does
/// not know it refuses to open the replica too.
const TOMBSTONE: &[u8] = b"deleted";

/// Whether the replica of this log was deleted.
pub(crate) fn is_deleted(log: &ReplicaLog) -> bool {
    log.state().vote.as_deref() == Some(TOMBSTONE)
}

/// Durable when it returns. Nobody may write to the log any more: a vote would replace the tombstone.
async fn bury(log: &ReplicaLog) -> Result<(), WalError> {
    if !is_deleted(log) {
        log.save_vote(Bytes::from_static(TOMBSTONE)).await?;
    }
    log.truncate_after(None).await
}

impl Host {
    /// Stops a replica if it is open, and deletes its tablet and its log. Its id can never be opened here again. May be
    /// called again and again, and also for a replica that was never opened.
    pub async fn delete(&self, group: GroupId, replica: ReplicaId) -> StorageResult<()> {
        let alone = self.alone(group);
        let _alone = alone.lock().await;
        if let Some(open) = self.group(group).filter(|open| open.replica() == replica) {
            open.stop().await;
            // What is being received must not be installed after its place was cleared.
            let state = open.state().clone();
            self.parts.env.blocking(move || state.retire()).await;
            self.forget(group);
        }
        let buried = bury(&self.parts.wal.log(replica)).await;
        #[cfg(debug_assertions)]
        let buried = match crate::mutant::is(crate::mutant::Mutant::ReplicaIdReused) {
            true => self.parts.wal.remove(replica).await,
            false => buried,
        };
        buried.map_err(storage_error)?;
        let tablets = self.parts.tablets.clone();
        match self.parts.env.background(move || tablets.remove(replica)).await {
            Some(removed) => removed,
            None => Err(StorageError::Io { detail: format!("deleting the tablet of {replica} panicked") }),
        }
    }
}

fn storage_error(error: WalError) -> StorageError {
    match error {
        WalError::Corrupt { file, detail } => StorageError::Corrupt { file, detail },
        error => StorageError::Io { detail: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::decode_vote;

    #[test]
    fn a_tombstone_keeps_its_bytes_and_is_no_vote() {
        assert_eq!(TOMBSTONE, b"deleted");
        assert!(decode_vote(Bytes::from_static(TOMBSTONE)).is_err());
    }
}
