//! Reads the log back.
//!
//! Valid frames must follow each other without a gap, over all segments. Where they stop, the log ends, unless a frame
//! found anywhere says that more was durable: then something that was acknowledged is gone, and the log refuses.
//!
//! What users store lies in the log as it is, and may look like frames. So a frame behind the end is believed only if it
//! has the epoch of a run that wrote here: nobody outside knows one.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::WalError;
use crate::frame::{self, Frame, HeaderError, SegmentHeader};
use crate::index::Index;
use crate::record;
use crate::segment::{Directory, Segment};

/// How far reading the log back has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecoveryProgress {
    /// Bytes read.
    pub bytes_done: u64,
    /// Bytes to read.
    pub bytes_total: u64,
}

/// What was found.
pub(crate) struct Recovered {
    pub(crate) index: Index,
    /// Number of the last frame; zero if there was none.
    pub(crate) last_batch: u64,
    /// Unused segments of full size, whose numbers follow those in use.
    pub(crate) spares: Vec<Segment>,
    /// Number of the next segment to be made.
    pub(crate) next_number: u64,
}

/// Reads the log back and makes sure that what was read stays.
pub(crate) async fn recover(
    directory: &Directory,
    segment_bytes: u64,
    progress: &(dyn Fn(RecoveryProgress) + Sync),
) -> Result<Recovered, WalError> {
    let io_error = |error: io::Error| WalError::io("open the directory", &directory.path, &error);
    directory.prepare().await.map_err(io_error)?;
    let segments = open_all(directory).await?;
    let mut state =
        RecoveryProgress { bytes_total: segments.iter().map(|segment| segment.length).sum(), bytes_done: 0 };
    progress(state);
    let mut reader = Reader::default();
    for segment in segments {
        let length = segment.length;
        reader.read(segment).await?;
        state.bytes_done += length;
        progress(state);
    }
    let (recovered, useless) = reader.finish(segment_bytes).await?;
    for path in useless.iter().rev() {
        directory.disk.remove_file(path).await.map_err(|error| WalError::io("remove", path, &error))?;
    }
    // Names that an earlier run created but did not sync must be durable before frames go into their files.
    directory.sync().await.map_err(io_error)?;
    Ok(recovered)
}

async fn open_all(directory: &Directory) -> Result<Vec<Segment>, WalError> {
    let numbers = directory.numbers().await;
    let numbers = numbers.map_err(|error| WalError::io("list", &directory.path, &error))?;
    let mut segments = Vec::with_capacity(numbers.len());
    for number in numbers {
        let segment = directory.open(number).await;
        let path = directory.segment_path(number);
        segments.push(segment.map_err(|error| WalError::io("open", &path, &error))?);
    }
    Ok(segments)
}

/// State of reading segment after segment.
#[derive(Default)]
struct Reader {
    index: Index,
    last_batch: u64,
    tail: Option<Tail>,
    /// Segments without a frame, behind the tail.
    empty: Vec<Segment>,
    /// The highest frame that any frame calls durable.
    claimed: u64,
    /// Runs that wrote the segments so far.
    epochs: BTreeSet<u64>,
}

/// The last segment with frames.
struct Tail {
    segment: Arc<Segment>,
    /// Where its frames end.
    end: usize,
    /// What the last write of a run put there: the last frame, with the segment's header if it is the first one.
    last_write: (u64, Bytes),
}

impl Tail {
    /// Makes sure that what was read is on the disk. A sync alone would not: where one has failed before, the system may take
    /// for written what is in its cache only, and lose it when the power goes. So the last frame is written once more; all
    /// before it was durable before it was written.
    async fn secure(&self) -> Result<(), WalError> {
        let failed = |action, error: io::Error| WalError::io(action, &self.segment.path, &error);
        let (offset, bytes) = &self.last_write;
        self.segment.file.write_at(*offset, bytes).await.map_err(|error| failed("write", error))?;
        self.segment.file.sync_data().await.map_err(|error| failed("sync", error))
    }
}

impl Reader {
    async fn read(&mut self, segment: Segment) -> Result<(), WalError> {
        let failed = |error: io::Error| WalError::io("read", &segment.path, &error);
        let length = usize::try_from(segment.length).map_err(|error| failed(io::Error::other(error)))?;
        let content = segment.file.read_at(0, length).await.map_err(failed)?;
        let scan = scan(&content, segment.number, &self.epochs).map_err(|format| WalError::Failed {
            detail: format!("{} has format {format}, written by a newer version", segment.path.display()),
        })?;
        self.claimed = self.claimed.max(scan.claimed);
        self.epochs.extend(scan.epoch);
        let Some(first) = scan.frames.first() else {
            self.empty.push(segment);
            return Ok(());
        };
        self.check_continues(&segment, first)?;
        let segment = Arc::new(segment);
        self.index.add_segment(segment.clone());
        self.index.note_written(segment.number, scan.end as u64);
        for frame in &scan.frames {
            let changes = record::decode(&frame.body, segment.number, frame.body_offset).map_err(|error| {
                WalError::corrupt(&segment.path, format!("frame at offset {}: {error}", frame.body_offset))
            })?;
            changes.into_iter().for_each(|change| self.index.apply(change));
            self.last_batch = frame.header.batch;
        }
        let start = match scan.frames.last() {
            Some(last) if scan.frames.len() > 1 => last.body_offset as usize - frame::FRAME_HEADER_BYTES,
            _ => 0,
        };
        // Not a slice, which would hold the whole segment.
        let last_write = (start as u64, Bytes::copy_from_slice(&content[start..scan.end.min(content.len())]));
        self.tail = Some(Tail { segment, end: scan.end, last_write });
        Ok(())
    }

    fn check_continues(&self, segment: &Segment, first: &Frame) -> Result<(), WalError> {
        if let Some(empty) = self.empty.first() {
            return Err(WalError::corrupt(&empty.path, "no valid frame at offset 64, but later segments have some"));
        }
        let Some(Tail { segment: tail, end, .. }) = &self.tail else { return Ok(()) };
        if segment.number != tail.number + 1 {
            return Err(WalError::corrupt(&tail.path, "the segment that follows this one is missing"));
        }
        if first.header.batch != self.last_batch + 1 {
            let detail = format!(
                "no valid frame at offset {end}, but the next segment begins with frame {} after frame {}",
                first.header.batch, self.last_batch
            );
            return Err(WalError::corrupt(&tail.path, detail));
        }
        Ok(())
    }

    /// Checks the whole (WAL-4), and sorts what is left over: spares, and paths of files that are of no use.
    async fn finish(self, segment_bytes: u64) -> Result<(Recovered, Vec<PathBuf>), WalError> {
        let Reader { index, last_batch, tail, empty, claimed, epochs: _ } = self;
        if claimed > last_batch {
            let (path, end) = match (&tail, empty.first()) {
                (Some(tail), _) => (&tail.segment.path, tail.end),
                (None, Some(segment)) => (&segment.path, frame::SEGMENT_HEADER_BYTES),
                (None, None) => unreachable!("a claim was found in some file"),
            };
            let detail = format!("no valid frame at offset {end}, but frame {claimed} was durable");
            return Err(WalError::corrupt(path, detail));
        }
        if let (Some((replica, index)), Some(tail)) = (index.hole(), &tail) {
            let detail = format!("entry {index} of replica {replica} is missing");
            return Err(WalError::corrupt(&tail.segment.path, detail));
        }
        if let Some(tail) = &tail {
            tail.secure().await?;
            tracing::info!(frames = last_batch, file = %tail.segment.path.display(), end = tail.end, "read the log back");
        }
        let mut next_number = tail.as_ref().map(|tail| tail.segment.number + 1);
        let (mut spares, mut useless) = (Vec::new(), Vec::new());
        for segment in empty {
            let fits = next_number.is_none_or(|next| next == segment.number) && useless.is_empty();
            if fits && segment.length == segment_bytes {
                next_number = Some(segment.number + 1);
                spares.push(segment);
            } else {
                useless.push(segment.path);
            }
        }
        let next_number = next_number.unwrap_or(1);
        Ok((Recovered { index, last_batch, spares, next_number }, useless))
    }
}

/// What one file holds.
pub(crate) struct Scan {
    /// The valid frames from the beginning on.
    pub(crate) frames: Vec<Frame>,
    /// Where they end.
    end: usize,
    /// The highest frame that a frame header in the file calls durable, also behind the end.
    claimed: u64,
    /// The run that wrote it, if the file tells.
    epoch: Option<u64>,
}

/// Looks through a file; fails with its format if that is a newer one. `epochs`: of the runs before.
pub(crate) fn scan(content: &Bytes, number: u64, epochs: &BTreeSet<u64>) -> Result<Scan, u16> {
    let mut scan = Scan { frames: Vec::new(), end: frame::SEGMENT_HEADER_BYTES, claimed: 0, epoch: None };
    let mut is_any_believed = false;
    match SegmentHeader::decode(content, number) {
        Ok(header) => {
            scan.epoch = Some(header.epoch);
            let mut batch = header.first_batch;
            while let Some(frame) = frame::decode_frame(content, scan.end, number) {
                // Frames of an earlier run may lie behind those of a later one that wrote over the first of them.
                if frame.header.epoch != header.epoch || frame.header.batch != batch {
                    break;
                }
                batch += 1;
                scan.end = frame.end;
                scan.claimed = scan.claimed.max(frame.header.durable_upto);
                scan.frames.push(frame);
            }
        }
        Err(HeaderError::Newer(format)) => return Err(format),
        Err(HeaderError::Foreign) => {}
        Err(HeaderError::Invalid) => {
            // Where the first frame's header is no better, nobody can say which run it was: then rather one too many.
            let first = frame::decode_header(content, frame::SEGMENT_HEADER_BYTES, number);
            scan.epoch = first.map(|first| first.epoch);
            is_any_believed = first.is_none();
        }
    }
    let is_believed = |epoch| is_any_believed || scan.epoch == Some(epoch) || epochs.contains(&epoch);
    let mut position = scan.end;
    while position + frame::FRAME_HEADER_BYTES <= content.len() {
        if let Some(header) = frame::decode_header(content, position, number).filter(|found| is_believed(found.epoch)) {
            scan.claimed = scan.claimed.max(header.durable_upto);
        }
        position += frame::FRAME_ALIGNMENT;
    }
    Ok(scan)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    /// A segment 1 of epoch 5, with frames of these epochs, numbers and durable marks.
    fn segment(frames: &[(u64, u64, u64)]) -> BytesMut {
        let mut buffer = BytesMut::new();
        SegmentHeader { epoch: 5, segment: 1, first_batch: 10 }.encode(&mut buffer);
        for (epoch, batch, durable_upto) in frames {
            let start = frame::open_frame(&mut buffer);
            buffer.extend_from_slice(b"body");
            frame::seal_frame(&mut buffer, start, 1, *epoch, *batch, *durable_upto);
        }
        buffer
    }

    fn found(content: BytesMut) -> (usize, u64) {
        let scan = scan(&content.freeze(), 1, &BTreeSet::from([3])).unwrap();
        (scan.frames.len(), scan.claimed)
    }

    #[test]
    fn frames_are_read_up_to_the_first_of_another_run_or_number() {
        assert_eq!(found(segment(&[(5, 10, 9), (5, 11, 10), (5, 12, 11)])), (3, 11));
        assert_eq!(found(segment(&[(5, 10, 9), (4, 11, 9), (4, 12, 9)])), (1, 9));
        assert_eq!(found(segment(&[(5, 10, 9), (5, 12, 9)])), (1, 9));
        assert_eq!(found(segment(&[(5, 11, 9)])), (0, 9));
    }

    #[test]
    fn a_frame_behind_a_damaged_one_still_says_what_was_durable() {
        let mut content = segment(&[(5, 10, 9), (5, 11, 10), (5, 12, 11)]);
        content[frame::SEGMENT_HEADER_BYTES + frame::FRAME_HEADER_BYTES] ^= 1;
        assert_eq!(found(content.clone()), (0, 11));
        content[0] ^= 1;
        assert_eq!(found(content.clone()), (0, 11), "the first frame says which run it was");
        content[frame::SEGMENT_HEADER_BYTES] ^= 1;
        assert_eq!(found(content), (0, 11), "nothing says which run it was");
    }

    /// WAL-5: what users store may look like anything.
    #[test]
    fn what_looks_like_a_frame_says_nothing_unless_a_run_wrote_it() {
        let behind = |epoch| found(segment(&[(5, 10, 9), (epoch, 99, 98)]));
        assert_eq!(behind(7), (1, 9));
        assert_eq!(behind(5), (1, 98));
        assert_eq!(behind(3), (1, 98), "an earlier segment tells of that run");
        let mut content = segment(&[(7, 99, 98)]);
        let mut foreign = BytesMut::new();
        SegmentHeader { epoch: 5, segment: 8, first_batch: 10 }.encode(&mut foreign);
        content[..foreign.len()].copy_from_slice(&foreign);
        assert_eq!(found(content), (0, 0), "a recycled file that nobody wrote to");
    }
}
