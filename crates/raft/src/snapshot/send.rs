//! The side of a snapshot that sends.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use openraft::raft::SnapshotResponse;
use strata_codec::checksum;
use strata_net::NetError;
use strata_storage::{Checkpoint, StorageError};
use strata_types::LogIndex;

use super::parts::{Part, Parts};
use super::{DAMAGED, SendError, SnapshotSource};
use crate::kept::Sending;
use crate::messages::{SnapshotPiece, decode_position, decode_snapshot_reply};
use crate::network::Peer;
use crate::replica::Replica;
use crate::types::{Snapshot, Types, Vote};

/// Pieces on their way at once: enough to hide the round trip, few enough to bound memory on both sides.
const CHUNKS_IN_FLIGHT: usize = 4;
/// One piece is written and answered in this time, or the transfer breaks off.
const PIECE_DEADLINE: Duration = Duration::from_secs(10);
/// The last piece waits for the whole tablet to be made durable and opened.
const END_DEADLINE: Duration = Duration::from_secs(120);

/// A leader whose files were found to be sound looks at them again only after this, whoever refuses them: it takes a copy of
/// all of them. It is the receiver's disk then.
const SOUND_FOR: Duration = Duration::from_secs(600);

/// Sends what the receiver lacks of a checkpoint and returns its vote.
pub(crate) async fn send(
    peer: &Peer,
    replica: &Arc<Replica>,
    vote: Vote,
    snapshot: Snapshot,
) -> Result<SnapshotResponse<Types>, SendError> {
    let SnapshotSource::Checkpoint(kept) = snapshot.snapshot else {
        return Err(SendError::Protocol("only a checkpoint can be sent".into()));
    };
    let sender = Sender { peer, replica, sending: replica.transfers.sending(replica.id, peer.target(), kept) };
    let total = sender.send_files().await?;
    let meta = snapshot.meta;
    #[cfg(debug_assertions)]
    let meta = match crate::mutant::is(crate::mutant::Mutant::PurgeDuringTransfer) {
        true => replica.applied().snapshot_meta(),
        false => meta,
    };
    let end = SnapshotPiece::End { snapshot: sender.sending.kept().id, total, vote, meta };
    let reply = match sender.peer.snapshot_piece(&end, END_DEADLINE).await {
        Err(error @ NetError::Refused { .. }) => {
            if matches!(&error, NetError::Refused { detail, .. } if detail.starts_with(DAMAGED)) {
                sender.take_itself().await?;
            }
            return Err(SendError::Net(error));
        }
        reply => reply.map_err(SendError::Net)?,
    };
    let reply = decode_snapshot_reply(reply).map_err(|error| SendError::Protocol(error.to_string()))?;
    let has = LogIndex(sender.sending.kept().meta.last_log_id.map_or(0, |id| id.index));
    replica.catching_up.begin(peer.target(), has, replica.env.now());
    sender.sending.done();
    Ok(reply)
}

struct Sender<'a> {
    peer: &'a Peer,
    replica: &'a Arc<Replica>,
    sending: Sending,
}

impl Sender<'_> {
    /// Sends the files from where the receiver is, and returns how many bytes they have in all.
    async fn send_files(&self) -> Result<u64, SendError> {
        // Asked before there is a turn, so that nodes that are gone keep nobody waiting.
        let position = self.begin().await?;
        let files = self.background(|checkpoint| checkpoint.files()).await?;
        let transfers = &self.replica.transfers;
        let parts = Parts::new(files, position, transfers.piece_bytes());
        let mut parts =
            parts.ok_or_else(|| SendError::Protocol(format!("the receiver has more than there is: {position}")))?;
        let total = parts.total();
        let _turn = transfers.outgoing().await;
        if position > 0 {
            tracing::info!(group = %self.replica.group, position, total, "a snapshot goes on where it broke off");
            metrics::counter!("strata_raft_snapshot_resumed_total").increment(1);
        }
        let mut in_flight = FuturesUnordered::new();
        // The first one tries whether the receiver has room at all.
        let mut window = 1;
        loop {
            while in_flight.len() < window
                && let Some(part) = parts.next()
            {
                if self.sending.is_given_up() {
                    return Err(SendError::Protocol("the log was cut behind what is being sent".into()));
                }
                transfers.pace(part.length).await;
                let piece = self.read(part).await?;
                in_flight.push(self.peer.snapshot_piece(&piece, PIECE_DEADLINE));
            }
            // The answers come in any order: the first failure ends the attempt.
            let Some(answer) = in_flight.next().await else { return Ok(total) };
            answer.map_err(SendError::Net)?;
            self.sending.arrived();
            window = CHUNKS_IN_FLIGHT;
        }
    }

    /// Does what the receiver did, to learn whose files are damaged. What comes of it is not installed.
    async fn take_itself(&self) -> Result<(), SendError> {
        let now = self.replica.env.now();
        if self.replica.found_sound.lock().is_some_and(|at| now.since(at) < SOUND_FOR) {
            return Ok(());
        }
        let _turn = self.replica.transfers.outgoing().await;
        let replica = Arc::clone(self.replica);
        let mut receiver = self.background(move |_| replica.receive()).await?;
        let files = self.background(|checkpoint| checkpoint.files()).await?;
        let transfers = &self.replica.transfers;
        for part in Parts::new(files, 0, transfers.piece_bytes()).into_iter().flatten() {
            transfers.pace(part.length).await;
            receiver = self
                .background(move |checkpoint| {
                    let bytes = checkpoint.read(&part.file, part.offset, part.length as usize)?;
                    if bytes.len() as u64 != part.length {
                        return Err(StorageError::Corrupt { file: part.file, detail: "shorter than it said".into() });
                    }
                    receiver.write(&part.file, part.offset, &bytes)?;
                    Ok(receiver)
                })
                .await?;
        }
        let replica = self.replica.id;
        let finish = self.background(move |_| match receiver.finish() {
            Err(StorageError::Invalid { detail }) => {
                Err(StorageError::Corrupt { file: format!("the tablet of {replica}"), detail })
            }
            finished => finished.map(drop),
        });
        finish.await?;
        *self.replica.found_sound.lock() = Some(self.replica.env.now());
        Ok(())
    }

    async fn begin(&self) -> Result<u64, SendError> {
        let begin = SnapshotPiece::Begin { snapshot: self.sending.kept().id };
        let reply = self.peer.snapshot_piece(&begin, PIECE_DEADLINE).await.map_err(SendError::Net)?;
        decode_position(reply).map_err(|error| SendError::Protocol(error.to_string()))
    }

    async fn read(&self, part: Part) -> Result<SnapshotPiece, SendError> {
        let Part { file, offset, length, position } = part;
        let name = file.clone();
        let read = self.background(move |checkpoint| {
            let bytes: Bytes = checkpoint.read(&name, offset, length as usize)?;
            Ok((checksum(&bytes), bytes))
        });
        let (crc, bytes) = read.await?;
        if bytes.len() as u64 != length {
            return Err(SendError::Protocol(format!("checkpoint file `{file}` is shorter than it said")));
        }
        metrics::counter!("strata_raft_snapshot_sent_bytes_total").increment(length);
        Ok(SnapshotPiece::Chunk { snapshot: self.sending.kept().id, position, file, offset, crc, bytes })
    }

    async fn background<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Checkpoint) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, SendError> {
        let checkpoint = self.sending.kept().checkpoint();
        match self.replica.env.background(move || work(checkpoint.as_ref())).await {
            Some(result) => result.map_err(SendError::Storage),
            None => Err(SendError::Protocol("reading a checkpoint panicked".into())),
        }
    }
}
