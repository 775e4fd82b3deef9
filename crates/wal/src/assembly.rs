//! The buffer of one write: frames on their way to the disk, and what they change there.

use bytes::{Bytes, BytesMut};
use strata_types::{LogIndex, ReplicaId};

use crate::frame::{self, FRAME_ALIGNMENT, FRAME_HEADER_BYTES, SegmentHeader};
use crate::record::{self, Change, EntriesKind};

/// One frame, with a segment's header before it if it is the first, and the changes it stands for.
#[derive(Default)]
pub(crate) struct Assembly {
    buffer: BytesMut,
    frame: Option<usize>,
    changes: Vec<Change>,
}

impl Assembly {
    pub(crate) fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Bytes so far, with the frame header and padding that any more need.
    pub(crate) fn bytes_with_open_frame(&self) -> usize {
        let header = if self.frame.is_some() { 0 } else { FRAME_HEADER_BYTES };
        self.buffer.len() + header + FRAME_ALIGNMENT
    }

    pub(crate) fn begin_segment(&mut self, epoch: u64, segment: u64, first_batch: u64) {
        SegmentHeader { epoch, segment, first_batch }.encode(&mut self.buffer);
    }

    /// Opens the frame if it is not open.
    pub(crate) fn open_frame(&mut self) {
        if self.frame.is_none() {
            self.frame = Some(frame::open_frame(&mut self.buffer));
        }
    }

    pub(crate) fn put(&mut self, change: Change) {
        debug_assert!(self.frame.is_some(), "records go into frames");
        record::encode(&mut self.buffer, &change);
        self.changes.push(change);
    }

    /// Appends entries; the buffer will be written at `buffer_offset` of `segment`.
    pub(crate) fn put_entries(
        &mut self,
        buffer_offset: u64,
        segment: u64,
        kind: EntriesKind,
        replica: ReplicaId,
        first: LogIndex,
        entries: &[Bytes],
    ) {
        debug_assert!(self.frame.is_some(), "records go into frames");
        let change = record::encode_entries(&mut self.buffer, buffer_offset, segment, kind, replica, first, entries);
        self.changes.push(change);
    }

    /// Completes the frame: the bytes to write, and what they change once they are durable.
    pub(crate) fn seal(&mut self, segment: u64, epoch: u64, batch: u64, durable_upto: u64) -> (&[u8], Vec<Change>) {
        let start = self.frame.take().expect("a buffer that is not empty has a frame");
        frame::seal_frame(&mut self.buffer, start, segment, epoch, batch, durable_upto);
        (&self.buffer, std::mem::take(&mut self.changes))
    }

    /// Forgets what was written. Keeps the buffer for the next write unless it has grown far beyond `keep_bytes`.
    pub(crate) fn clear(&mut self, keep_bytes: usize) {
        if self.buffer.capacity() > keep_bytes.saturating_mul(2) {
            self.buffer = BytesMut::new();
        } else {
            self.buffer.clear();
        }
    }
}
