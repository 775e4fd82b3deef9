//! Snapshots on their way: a checkpoint is sent file by file in checked pieces, and becomes a tablet at the other end
//! only when all of it arrived and agrees with what was announced.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesOrdered, StreamExt as _};
use openraft::raft::SnapshotResponse;
use strata_codec::{APPLIED_KEY, checksum};
use strata_net::NetError;
use strata_storage::{Checkpoint, Engine, Receiver, StorageError};

use crate::messages::{SnapshotPiece, decode_snapshot_reply};
use crate::network::Peer;
use crate::state_machine::{Applied, Replica};
use crate::types::{Raft, Snapshot, SnapshotMeta, Types, Vote};

/// Bytes of one piece.
const CHUNK_BYTES: usize = 512 * 1024;
/// Pieces on their way at once: enough to hide the round trip, few enough to bound memory on both sides.
const CHUNKS_IN_FLIGHT: usize = 4;
/// One piece is written and answered in this time, or the transfer starts anew.
const PIECE_DEADLINE: Duration = Duration::from_secs(10);
/// The last piece waits for the whole tablet to be made durable and opened.
const END_DEADLINE: Duration = Duration::from_secs(120);

/// What stands behind a snapshot.
pub(crate) enum SnapshotSource {
    /// The tablet itself, made durable: frees the log, cannot be sent.
    Flushed,
    /// A copy that can be sent.
    Checkpoint(Arc<dyn Checkpoint>),
    /// A tablet received from another replica.
    Received(Arc<dyn Engine>),
}

/// Why a snapshot was not sent.
pub(crate) enum SendError {
    Net(NetError),
    Storage(StorageError),
    Protocol(String),
}

/// Sends a checkpoint and returns the receiver's vote.
pub(crate) async fn send(
    peer: &Peer,
    replica: &Arc<Replica>,
    vote: Vote,
    snapshot: Snapshot,
) -> Result<SnapshotResponse<Types>, SendError> {
    let SnapshotSource::Checkpoint(checkpoint) = snapshot.snapshot else {
        return Err(SendError::Protocol("only a checkpoint can be sent".into()));
    };
    let _hold = Hold::new(replica);
    let transfer = replica.env.rng.next_u64();
    let piece = |piece, deadline| peer.snapshot_piece(&piece, deadline);
    piece(SnapshotPiece::Begin { transfer }, PIECE_DEADLINE).await.map_err(SendError::Net)?;

    let mut in_flight = FuturesOrdered::new();
    for file in blocking(replica, &checkpoint, |checkpoint| checkpoint.files()).await? {
        let mut offset = 0;
        while offset < file.length {
            let name = file.name.clone();
            let bytes = blocking(replica, &checkpoint, move |checkpoint| checkpoint.read(&name, offset, CHUNK_BYTES));
            let bytes = bytes.await?;
            if bytes.is_empty() {
                return Err(SendError::Protocol(format!("checkpoint file `{}` is shorter than it said", file.name)));
            }
            let length = bytes.len() as u64;
            let crc = checksum(&bytes);
            let chunk = SnapshotPiece::Chunk { transfer, file: file.name.clone(), offset, crc, bytes };
            in_flight.push_back(piece(chunk, PIECE_DEADLINE));
            offset += length;
            while in_flight.len() >= CHUNKS_IN_FLIGHT {
                in_flight.next().await.unwrap_or(Ok(Bytes::new())).map_err(SendError::Net)?;
            }
        }
    }
    while let Some(answer) = in_flight.next().await {
        answer.map_err(SendError::Net)?;
    }
    let meta = snapshot.meta;
    #[cfg(debug_assertions)]
    let meta = match crate::mutant::is(crate::mutant::Mutant::PurgeDuringTransfer) {
        true => crate::state_machine::meta_of(&replica.applied()),
        false => meta,
    };
    let end = SnapshotPiece::End { transfer, vote, meta };
    let reply = piece(end, END_DEADLINE).await.map_err(SendError::Net)?;
    decode_snapshot_reply(reply).map_err(|error| SendError::Protocol(error.to_string()))
}

async fn blocking<T: Send + 'static>(
    replica: &Replica,
    checkpoint: &Arc<dyn Checkpoint>,
    work: impl FnOnce(&dyn Checkpoint) -> Result<T, StorageError> + Send + 'static,
) -> Result<T, SendError> {
    let checkpoint = checkpoint.clone();
    match replica.env.blocking(move || work(checkpoint.as_ref())).await {
        Some(result) => result.map_err(SendError::Storage),
        None => Err(SendError::Protocol("reading a checkpoint panicked".into())),
    }
}

/// Keeps the log from being purged while a transfer runs: what the snapshot lacks must still be in the log when it
/// arrives, or the follower needs yet another snapshot.
struct Hold(Arc<Replica>);

impl Hold {
    fn new(replica: &Arc<Replica>) -> Hold {
        replica.transfers.fetch_add(1, Ordering::AcqRel);
        Hold(replica.clone())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.transfers.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A snapshot that is arriving.
pub(crate) struct Incoming {
    transfer: u64,
    receiver: Box<dyn Receiver>,
}

/// Takes one piece. `slot` holds the transfer under way; a new one replaces it. Returns the body of the answer.
pub(crate) async fn receive(
    slot: &mut Option<Incoming>,
    piece: SnapshotPiece,
    replica: &Arc<Replica>,
    raft: &Raft,
) -> Result<Bytes, String> {
    match piece {
        SnapshotPiece::Begin { transfer } => {
            *slot = None;
            let target = replica.clone();
            let receiver = run(replica, move || target.receive()).await?;
            *slot = Some(Incoming { transfer, receiver });
            Ok(Bytes::new())
        }
        SnapshotPiece::Chunk { transfer, file, offset, crc, bytes } => {
            if checksum(&bytes) != crc {
                *slot = None;
                return Err(format!("piece of `{file}` at {offset} was damaged on the way"));
            }
            let mut incoming = take(slot, transfer)?;
            let incoming = run(replica, move || {
                incoming.receiver.write(&file, offset, &bytes)?;
                Ok(incoming)
            })
            .await?;
            *slot = Some(incoming);
            Ok(Bytes::new())
        }
        SnapshotPiece::End { transfer, vote, meta } => {
            let incoming = take(slot, transfer)?;
            let received = run(replica, move || {
                let tablet = incoming.receiver.finish()?;
                let applied = Applied::decode(tablet.get(APPLIED_KEY)?)?;
                Ok((tablet, applied))
            })
            .await?;
            install(received, vote, meta, raft).await
        }
    }
}

async fn install(
    (tablet, applied): (Arc<dyn Engine>, Applied),
    vote: Vote,
    meta: SnapshotMeta,
    raft: &Raft,
) -> Result<Bytes, String> {
    #[cfg(debug_assertions)]
    let applied = match crate::mutant::is(crate::mutant::Mutant::PurgeDuringTransfer) {
        true => Applied { log_id: meta.last_log_id, ..applied },
        false => applied,
    };
    if applied.log_id != meta.last_log_id {
        return Err(format!("snapshot is at {:?} but was announced at {:?}", applied.log_id, meta.last_log_id));
    }
    let snapshot = Snapshot { meta, snapshot: SnapshotSource::Received(tablet) };
    let reply = raft.install_full_snapshot(vote, snapshot).await.map_err(|error| error.to_string())?;
    Ok(crate::messages::encode_snapshot_reply(&reply))
}

fn take(slot: &mut Option<Incoming>, transfer: u64) -> Result<Incoming, String> {
    slot.take_if(|incoming| incoming.transfer == transfer).ok_or_else(|| "this transfer is not under way".to_string())
}

async fn run<T: Send + 'static>(
    replica: &Replica,
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, String> {
    match replica.env.blocking(work).await {
        Some(Ok(value)) => Ok(value),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("receiving a snapshot panicked".into()),
    }
}
