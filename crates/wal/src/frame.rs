//! The bytes of a segment file: a header, then frames.
//!
//! ```text
//!   0      64                                                        length of the file
//!   | header | frame | frame | ... | frame | zeros, or what the file held in its former life |
//!
//!   header: magic 8 | format u16 | 0 u16 | 0 u32 | epoch u64 | segment u64 | first batch u64 | crc u32 | zeros
//!   frame:  magic u32 | body length u32 | epoch u64 | batch u64 | durable up to u64 | body crc u32 | header crc u32
//!           | body | zeros up to a multiple of 8
//! ```
//! The header checksum of a frame also covers the segment number, which is not stored, and the body's checksum: so a
//! frame of a recycled file, or of an earlier run that was cut off, never validates as part of this segment.

use bytes::{BufMut, Bytes, BytesMut};
use strata_codec::{checksum, checksum_append};

/// Bytes of a segment's header.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 64;
/// Bytes of a frame's header.
pub(crate) const FRAME_HEADER_BYTES: usize = 40;
/// Frames begin at multiples of this, so that a search for them need not look at every byte.
pub(crate) const FRAME_ALIGNMENT: usize = 8;

const SEGMENT_MAGIC: &[u8; 8] = b"STRATWAL";
const FRAME_MAGIC: u32 = u32::from_be_bytes(*b"STWF");
const FORMAT: u16 = 1;
/// Bytes of the segment header under its checksum.
const SEGMENT_CHECKED_BYTES: usize = 40;

/// How a segment begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    /// The run of the lane that wrote this segment: random, so that no two runs share one.
    pub(crate) epoch: u64,
    pub(crate) segment: u64,
    /// Number of the first frame.
    pub(crate) first_batch: u64,
}

/// Why a file does not begin like a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// Not a valid header: never used, torn, or damaged.
    Invalid,
    /// The header of another segment: the file was recycled, and not written to since.
    Foreign,
    /// Written by a newer version of this program.
    Newer(u16),
}

impl SegmentHeader {
    pub(crate) fn encode(&self, buffer: &mut BytesMut) {
        let start = buffer.len();
        buffer.put_slice(SEGMENT_MAGIC);
        buffer.put_u16(FORMAT);
        buffer.put_bytes(0, 6);
        buffer.put_u64(self.epoch);
        buffer.put_u64(self.segment);
        buffer.put_u64(self.first_batch);
        let crc = checksum(&buffer[start..]);
        buffer.put_u32(crc);
        buffer.put_bytes(0, SEGMENT_HEADER_BYTES - (buffer.len() - start));
    }

    pub(crate) fn decode(content: &[u8], segment: u64) -> Result<SegmentHeader, HeaderError> {
        let bytes = content.get(..SEGMENT_HEADER_BYTES).ok_or(HeaderError::Invalid)?;
        if &bytes[..8] != SEGMENT_MAGIC
            || u32_at(bytes, SEGMENT_CHECKED_BYTES) != checksum(&bytes[..SEGMENT_CHECKED_BYTES])
        {
            return Err(HeaderError::Invalid);
        }
        let format = u16::from_be_bytes([bytes[8], bytes[9]]);
        if format > FORMAT {
            return Err(HeaderError::Newer(format));
        }
        let header =
            SegmentHeader { epoch: u64_at(bytes, 16), segment: u64_at(bytes, 24), first_batch: u64_at(bytes, 32) };
        if header.segment == segment { Ok(header) } else { Err(HeaderError::Foreign) }
    }
}

/// What a frame says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) epoch: u64,
    /// Position of the frame in the lane: rises by one from frame to frame, over all segments and runs.
    pub(crate) batch: u64,
    /// Every frame up to this one was durable before this one was written.
    pub(crate) durable_upto: u64,
    length: u32,
    body_crc: u32,
}

/// A whole frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) header: FrameHeader,
    /// Where the body begins in its segment.
    pub(crate) body_offset: u64,
    pub(crate) body: Bytes,
    /// Where the next frame begins.
    pub(crate) end: usize,
}

/// Reserves the header of a frame whose body is appended next; [`seal_frame`] fills it in.
pub(crate) fn open_frame(buffer: &mut BytesMut) -> usize {
    let start = buffer.len();
    buffer.put_bytes(0, FRAME_HEADER_BYTES);
    start
}

/// Completes the frame that was opened at `start` and ends at the end of the buffer.
pub(crate) fn seal_frame(buffer: &mut BytesMut, start: usize, segment: u64, epoch: u64, batch: u64, durable_upto: u64) {
    let (header, body) = buffer[start..].split_at_mut(FRAME_HEADER_BYTES);
    let length = u32::try_from(body.len()).expect("a frame is far below 4 GiB");
    let mut out = &mut header[..];
    out.put_u32(FRAME_MAGIC);
    out.put_u32(length);
    out.put_u64(epoch);
    out.put_u64(batch);
    out.put_u64(durable_upto);
    out.put_u32(checksum(body));
    let crc = header_checksum(segment, header);
    header[FRAME_HEADER_BYTES - 4..].copy_from_slice(&crc.to_be_bytes());
    buffer.put_bytes(0, aligned(length as usize) - length as usize);
}

/// The frame that begins at `start`, if its header is that of a frame of `segment`. The body is not checked.
pub(crate) fn decode_header(content: &[u8], start: usize, segment: u64) -> Option<FrameHeader> {
    let header = content.get(start..start + FRAME_HEADER_BYTES)?;
    let valid =
        u32_at(header, 0) == FRAME_MAGIC && u32_at(header, FRAME_HEADER_BYTES - 4) == header_checksum(segment, header);
    valid.then(|| FrameHeader {
        length: u32_at(header, 4),
        epoch: u64_at(header, 8),
        batch: u64_at(header, 16),
        durable_upto: u64_at(header, 24),
        body_crc: u32_at(header, 32),
    })
}

/// The frame that begins at `start`, if it is whole, undamaged and of `segment` (WAL-5).
pub(crate) fn decode_frame(content: &Bytes, start: usize, segment: u64) -> Option<Frame> {
    let header = decode_header(content, start, segment)?;
    let body_start = start + FRAME_HEADER_BYTES;
    let body_end = body_start.checked_add(header.length as usize).filter(|end| *end <= content.len())?;
    let body = content.slice(body_start..body_end);
    let valid = checksum(&body) == header.body_crc;
    valid.then(|| Frame {
        header,
        body_offset: body_start as u64,
        body,
        end: body_start + aligned(body_end - body_start),
    })
}

/// The next multiple of [`FRAME_ALIGNMENT`].
pub(crate) fn aligned(length: usize) -> usize {
    length.next_multiple_of(FRAME_ALIGNMENT)
}

pub(crate) fn header_checksum(segment: u64, header: &[u8]) -> u32 {
    checksum_append(checksum(&segment.to_be_bytes()), &header[..FRAME_HEADER_BYTES - 4])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("the slice has four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().expect("the slice has eight bytes"))
}

#[cfg(test)]
mod tests;
