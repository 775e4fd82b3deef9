//! Snapshots on their way: a checkpoint is sent file by file in checked pieces, and becomes a tablet at the other end
//! only when all of it arrived and agrees with what was announced.
//!
//! ```text
//!   Begin { snapshot }                     -> the position up to which the receiver has it: 0, or where it broke off
//!   Chunk { snapshot, position, bytes }    -> written; a few are on their way at once
//!   End { snapshot, total, vote, meta }    -> durable, checked, installed; the receiver's vote
//! ```
//! A position counts the bytes of all files of the checkpoint, one after the other. The receiver takes the piece at its
//! position and no other one, so what it has is always a beginning of one checkpoint. It forgets it when it restarts,
//! when another checkpoint begins, and when nothing came for long.
//!
//! A receiver that finds the files damaged cannot know where that happened. Then the sender takes them itself, as the receiver
//! did, and refuses to serve if they are no tablet here either: otherwise it would send them for ever.

use std::sync::Arc;

use strata_net::NetError;
use strata_storage::{Engine, StorageError};

use crate::kept::Kept;

mod parts;
mod receive;
mod send;

pub(crate) use receive::Inlet;
pub(crate) use send::send;

/// What a receiver's refusal begins with where all came and is no whole tablet: the sender's files are damaged, or its own.
const DAMAGED: &str = "these files are no whole tablet";

/// What stands behind a snapshot.
pub(crate) enum SnapshotSource {
    /// The tablet itself, made durable: frees the log, cannot be sent.
    Flushed,
    /// A copy that can be sent.
    Checkpoint(Arc<Kept>),
    /// A tablet received from another replica.
    Received(Arc<dyn Engine>),
}

/// Why a snapshot was not sent.
pub(crate) enum SendError {
    Net(NetError),
    Storage(StorageError),
    Protocol(String),
}
