//! Rows that make a retried write apply once.

use bytes::Bytes;
use strata_types::Revision;

use crate::fields::{LENGTH_BYTES, REVISION_BYTES};
use crate::{DecodeError, Decoder, Encoder};

const ROW_FORMAT: u8 = 1;
const SUMMARY_FORMAT: u8 = 1;
const ROW_HEADER_BYTES: usize = 1 + 2 * REVISION_BYTES + 8 + 4;
const RESULT_OVERHEAD_BYTES: usize = 8 + LENGTH_BYTES;

/// The sequence of a session's first write on a shard. A request whose floor is above it belongs to a session that
/// the shard must already know.
pub const FIRST_SEQUENCE: u64 = 1;

/// What a shard remembers of one client.
///
/// ```text
///   format u8 | used revision | indexed revision | floor u64 | count u32 | (sequence u64, length u32, reply) ...
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionRow {
    /// The client's last applied write.
    pub used: Revision,
    /// Where the session stands in the order of last use: at `used` or earlier, because moving it costs two writes.
    pub indexed: Revision,
    /// Sequences below this one are never applied again, and their results are gone.
    pub floor: u64,
    /// Results by rising sequence, all at or above the floor.
    pub results: Vec<SessionResult>,
}

/// The result of one write of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionResult {
    /// The client's number of the write.
    pub sequence: u64,
    /// The encoded reply.
    pub reply: Bytes,
}

/// The row that counts a shard's sessions.
///
/// ```text
///   format u8 | count u32 | oldest revision
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SessionSummary {
    /// How many sessions there are.
    pub count: u32,
    /// The last use of the session that was forgotten last, zero when none was. Sessions are forgotten in the order of
    /// their last use, so no write of a forgotten one is behind it, and none of those that are left stands before it:
    /// the search for the oldest one starts here.
    pub oldest: Revision,
}

impl SessionRow {
    /// The bytes of the row.
    ///
    /// # Panics
    /// With 2^32 results or more: a row keeps 64.
    pub fn encode(&self) -> Bytes {
        let results: usize = self.results.iter().map(|result| RESULT_OVERHEAD_BYTES + result.reply.len()).sum();
        let mut encoder = Encoder::with_capacity(ROW_HEADER_BYTES + results);
        let count = u32::try_from(self.results.len()).expect("a row keeps few results");
        encoder.u8(ROW_FORMAT).revision(self.used).revision(self.indexed).u64(self.floor).u32(count);
        for result in &self.results {
            encoder.u64(result.sequence).bytes(&result.reply);
        }
        encoder.finish()
    }

    /// Decodes the row; the replies share its memory.
    pub fn decode(row: Bytes) -> Result<SessionRow, DecodeError> {
        let mut decoder = Decoder::new(row);
        decoder.format(ROW_FORMAT, "session format")?;
        let used = decoder.revision("session used")?;
        let indexed = decoder.revision("session indexed")?;
        let floor = decoder.u64("session floor")?;
        let count = decoder.count(RESULT_OVERHEAD_BYTES, "session result count")?;
        let mut results = Vec::with_capacity(count);
        for _ in 0..count {
            let sequence = decoder.u64("session result sequence")?;
            let reply = decoder.bytes("session result reply")?;
            results.push(SessionResult { sequence, reply });
        }
        decoder.finish()?;
        Ok(SessionRow { used, indexed, floor, results })
    }
}

impl SessionSummary {
    /// The bytes of the row.
    pub fn encode(&self) -> Bytes {
        let mut encoder = Encoder::with_capacity(1 + 4 + REVISION_BYTES);
        encoder.u8(SUMMARY_FORMAT).u32(self.count).revision(self.oldest);
        encoder.finish()
    }

    /// Decodes the row.
    pub fn decode(row: Bytes) -> Result<SessionSummary, DecodeError> {
        let mut decoder = Decoder::new(row);
        decoder.format(SUMMARY_FORMAT, "session summary format")?;
        let count = decoder.u32("session summary count")?;
        let oldest = decoder.revision("session summary oldest")?;
        decoder.finish()?;
        Ok(SessionSummary { count, oldest })
    }
}
