//! How far a tablet has applied its log.

use bytes::Bytes;

use crate::fields::LENGTH_BYTES;
use crate::{DecodeError, Decoder, Encoder};

const FORMAT: u8 = 1;

/// The row under [`crate::APPLIED_KEY`], written in the same batch as the data it speaks of.
///
/// ```text
///   format u8 | chain u64 | length u32, log id | length u32, membership
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppliedState {
    /// The last applied log id; opaque here.
    pub log_id: Bytes,
    /// The last applied membership; opaque here.
    pub membership: Bytes,
    /// Hash chain over all applied write sets: equal on all replicas that applied the same entries.
    pub chain: u64,
}

impl AppliedState {
    /// The bytes of the row.
    pub fn encode(&self) -> Bytes {
        let size = 1 + 8 + 2 * LENGTH_BYTES + self.log_id.len() + self.membership.len();
        let mut encoder = Encoder::with_capacity(size);
        encoder.u8(FORMAT).u64(self.chain).bytes(&self.log_id).bytes(&self.membership);
        encoder.finish()
    }

    /// Decodes the row.
    pub fn decode(row: Bytes) -> Result<AppliedState, DecodeError> {
        let mut decoder = Decoder::new(row);
        decoder.format(FORMAT, "applied format")?;
        let chain = decoder.u64("applied chain")?;
        let log_id = decoder.bytes("applied log id")?;
        let membership = decoder.bytes("applied membership")?;
        decoder.finish()?;
        Ok(AppliedState { log_id, membership, chain })
    }
}
