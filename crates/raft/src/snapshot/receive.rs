//! The side of a snapshot that receives.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use strata_codec::{APPLIED_KEY, checksum};
use strata_env::Mono;
use strata_storage::{Engine, Receiver, StorageError};

use super::{DAMAGED, SnapshotSource};
use crate::applied::Applied;
use crate::kept::KEEP_FOR;
use crate::messages::{SnapshotPiece, encode_position, encode_snapshot_reply};
use crate::replica::Replica;
use crate::transfers::Turn;
use crate::types::{Raft, Snapshot, SnapshotMeta, Vote};

/// A transfer that is silent for this long lets another one have its turn: longer than its sender waits for an answer.
const PAUSE_AFTER: Duration = Duration::from_secs(15);
/// How long a piece waits for the turn of its transfer: shorter than its sender waits for an answer.
const TURN_PATIENCE: Duration = Duration::from_secs(5);

/// How long senders are kept away after there was no room: each try sends something, some all of it.
const FULL_PAUSE: Duration = Duration::from_secs(5);

/// Where the snapshots for one replica arrive, one at a time.
pub(crate) struct Inlet {
    replica: Arc<Replica>,
    incoming: Option<Incoming>,
    /// When there was no room for a snapshot, whatever became of it, and what the disk said. Until a piece is written.
    full: Option<(Mono, String)>,
}

/// What is there of a snapshot: a beginning of it, or all.
struct Incoming {
    snapshot: u64,
    /// How many bytes of it are written.
    received: u64,
    state: State,
}

enum State {
    Arriving {
        receiver: Box<dyn Receiver>,
        /// `None` when it has been silent for a while.
        turn: Option<Turn>,
    },
    /// The answer may have been lost on its way: it is asked for again then.
    Installed { reply: Bytes },
}

/// One piece.
struct Chunk {
    position: u64,
    file: String,
    offset: u64,
    crc: u32,
    bytes: Bytes,
}

impl Inlet {
    pub(crate) fn new(replica: Arc<Replica>) -> Inlet {
        Inlet { replica, incoming: None, full: None }
    }

    /// How long to wait for a piece before [`Inlet::rest`]; `None`: for ever.
    pub(crate) fn patience(&self) -> Option<Duration> {
        match &self.incoming {
            Some(Incoming { state: State::Arriving { turn: Some(_), .. }, .. }) => Some(PAUSE_AFTER),
            Some(_) => Some(KEEP_FOR),
            None => self.full.is_some().then_some(KEEP_FOR),
        }
    }

    /// Nothing came for long: gives up the turn, and later what is there.
    pub(crate) async fn rest(&mut self) {
        if let Some(Incoming { state: State::Arriving { turn: turn @ Some(_), .. }, .. }) = &mut self.incoming {
            *turn = None;
        } else {
            let gone = self.incoming.take();
            self.full = None;
            self.note_arrived();
            self.replica.env.background(move || drop(gone)).await;
        }
    }

    /// For those who want to know how far it is.
    fn note_arrived(&self) {
        let arrived = match &self.incoming {
            Some(Incoming { state: State::Arriving { .. }, received, .. }) => *received,
            _ => 0,
        };
        self.replica.arrived.store(arrived, Ordering::Relaxed);
        let no_room =
            self.full.as_ref().map(|(_, detail)| format!("there is no room for a snapshot of the shard: {detail}"));
        self.replica.set_obstacle(no_room);
    }

    /// Whether there was no room for what came last.
    pub(crate) fn is_obstructed(&self) -> bool {
        self.full.is_some()
    }

    /// What a sender is told whose snapshot could not be written.
    fn failed(&mut self, error: &StorageError) -> String {
        if matches!(error, StorageError::Full { .. }) {
            self.full = Some((self.replica.env.now(), error.to_string()));
        }
        error.to_string()
    }

    /// Takes one piece. Returns the body of the answer.
    pub(crate) async fn take(&mut self, piece: SnapshotPiece, raft: &Raft) -> Result<Bytes, String> {
        let answer = match piece {
            SnapshotPiece::Begin { snapshot } => self.begin(snapshot).await.map(encode_position),
            SnapshotPiece::Chunk { snapshot, position, file, offset, crc, bytes } => {
                self.chunk(snapshot, Chunk { position, file, offset, crc, bytes }).await.map(|()| Bytes::new())
            }
            SnapshotPiece::End { snapshot, total, vote, meta } => self.end(snapshot, total, vote, meta, raft).await,
        };
        self.note_arrived();
        answer
    }

    /// How much of a snapshot is there. Of another one nothing is kept: pieces of two never mix (RAFT-11).
    async fn begin(&mut self, snapshot: u64) -> Result<u64, String> {
        let now = self.replica.env.now();
        if let Some((_, detail)) = self.full.as_ref().filter(|(since, _)| now.since(*since) < FULL_PAUSE) {
            return Err(detail.clone());
        }
        if let Ok(incoming) = self.current(snapshot) {
            return Ok(incoming.received);
        }
        let (former, turn) = match self.incoming.take() {
            Some(Incoming { state: State::Arriving { receiver, turn }, .. }) => (Some(receiver), turn),
            _ => (None, None),
        };
        let target = self.replica.clone();
        let receiver = background(&self.replica, move || {
            // Its files go before there are new ones.
            drop(former);
            target.receive()
        });
        let receiver = receiver.await?.map_err(|error| self.failed(&error))?;
        self.incoming = Some(Incoming { snapshot, received: 0, state: State::Arriving { receiver, turn } });
        Ok(0)
    }

    async fn chunk(&mut self, snapshot: u64, chunk: Chunk) -> Result<(), String> {
        let Chunk { position, file, offset, crc, bytes } = chunk;
        let incoming = self.current(snapshot)?;
        let received = incoming.received;
        let end = position.saturating_add(bytes.len() as u64);
        let is_whole = matches!(incoming.state, State::Installed { .. });
        // Sent again: what is there is the same.
        if end <= received && (position < received || is_whole) {
            return Ok(());
        }
        if position != received {
            return Err(format!("a piece is missing: position=`{position}` expected=`{received}`"));
        }
        self.take_turn().await?;
        self.replica.transfers.pace(bytes.len() as u64).await;
        let Some(Incoming { state: State::Arriving { mut receiver, turn }, .. }) = self.incoming.take() else {
            return Err("this snapshot has arrived already".into());
        };
        let length = bytes.len() as u64;
        let write = background(&self.replica, move || {
            let is_whole = checksum(&bytes) == crc;
            let written = is_whole.then(|| receiver.write(&file, offset, &bytes));
            (receiver, written.ok_or_else(|| format!("piece of `{file}` at {offset} was damaged on the way")))
        });
        let (receiver, written) = write.await?;
        match written {
            Ok(Ok(())) => {
                metrics::counter!("strata_raft_snapshot_received_bytes_total").increment(length);
                self.incoming = Some(Incoming { snapshot, received: end, state: State::Arriving { receiver, turn } });
                self.full = None;
                Ok(())
            }
            // Nothing was written. When there is room, it goes on from here; until then others may have their turn.
            Ok(Err(error @ StorageError::Full { .. })) => {
                let state = State::Arriving { receiver, turn: None };
                self.incoming = Some(Incoming { snapshot, received, state });
                Err(self.failed(&error))
            }
            Ok(Err(error)) => Err(error.to_string()),
            Err(damaged) => {
                self.incoming = Some(Incoming { snapshot, received, state: State::Arriving { receiver, turn } });
                Err(damaged)
            }
        }
    }

    async fn end(
        &mut self,
        snapshot: u64,
        total: u64,
        vote: Vote,
        meta: SnapshotMeta,
        raft: &Raft,
    ) -> Result<Bytes, String> {
        let incoming = self.current(snapshot)?;
        let received = incoming.received;
        if received != total {
            return Err(format!("the end came before all pieces: received=`{received}` total=`{total}`"));
        }
        let (receiver, _turn) = match self.incoming.take().map(|incoming| incoming.state) {
            Some(State::Arriving { receiver, turn }) => (receiver, turn),
            Some(State::Installed { reply }) => {
                let state = State::Installed { reply: reply.clone() };
                self.incoming = Some(Incoming { snapshot, received, state });
                return Ok(reply);
            }
            None => return Err(unknown()),
        };
        let finished = background(&self.replica, move || {
            let tablet = receiver.finish()?;
            let applied = Applied::decode(tablet.get(APPLIED_KEY)?)?;
            Ok::<_, StorageError>((tablet, applied))
        });
        // What there was no room to finish is gone, and comes again.
        let finished = finished.await?.map_err(|error| match error {
            StorageError::Invalid { detail } => format!("{DAMAGED}: {detail}"),
            error => self.failed(&error),
        })?;
        self.full = None;
        let (reply, is_installed) = install(finished, vote, meta, raft).await?;
        if is_installed {
            self.incoming = Some(Incoming { snapshot, received, state: State::Installed { reply: reply.clone() } });
        }
        Ok(reply)
    }

    fn current(&mut self, snapshot: u64) -> Result<&mut Incoming, String> {
        self.incoming.as_mut().filter(|incoming| incoming.snapshot == snapshot).ok_or_else(unknown)
    }

    /// Waits for the turn of the transfer under way, if it has none.
    async fn take_turn(&mut self) -> Result<(), String> {
        let Some(Incoming { state: State::Arriving { turn, .. }, .. }) = &mut self.incoming else { return Ok(()) };
        if turn.is_none() {
            let (env, transfers) = (&self.replica.env, &self.replica.transfers);
            let granted = env.timeout(TURN_PATIENCE, transfers.incoming()).await;
            *turn = Some(granted.map_err(|_| "too many snapshots arrive at this node".to_string())?);
        }
        Ok(())
    }
}

async fn background<T: Send + 'static>(
    replica: &Replica,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    replica.env.background(work).await.ok_or_else(|| "receiving a snapshot panicked".to_string())
}

/// Returns the answer, and whether the tablet is the replica's from now on.
async fn install(
    (tablet, applied): (Arc<dyn Engine>, Applied),
    vote: Vote,
    meta: SnapshotMeta,
    raft: &Raft,
) -> Result<(Bytes, bool), String> {
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
    Ok((encode_snapshot_reply(&reply), reply.vote == vote))
}

fn unknown() -> String {
    "this snapshot is not on its way here".into()
}
