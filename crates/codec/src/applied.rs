//! How far a tablet has applied its log.

use bytes::Bytes;

use strata_types::Timestamp;

use crate::fields::LENGTH_BYTES;
use crate::{DecodeError, Decoder, Encoder};

/// Of a tablet that has applied no stamp. A program from before there were stamps reads it too.
const PLAIN: u8 = 1;
const STAMPED: u8 = 2;
const STAMP_BYTES: usize = 8;

/// The row under [`crate::APPLIED_KEY`], written in the same batch as the data it speaks of.
///
/// ```text
///   format u8 = 1 | chain u64 | length u32, log id | length u32, membership
///   format u8 = 2 | the same | stamp u64, not zero
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppliedState {
    /// The last applied log id; opaque here.
    pub log_id: Bytes,
    /// The last applied membership; opaque here.
    pub membership: Bytes,
    /// Hash chain over all applied write sets: equal on all replicas that applied the same entries.
    pub chain: u64,
    /// The highest stamp of an applied entry; zero when none had one.
    pub stamp: Timestamp,
}

impl AppliedState {
    /// The bytes of the row.
    pub fn encode(&self) -> Bytes {
        let is_stamped = self.stamp != Timestamp(0);
        let size = 1 + 8 + 2 * LENGTH_BYTES + self.log_id.len() + self.membership.len() + STAMP_BYTES;
        let mut encoder = Encoder::with_capacity(size);
        encoder.u8(if is_stamped { STAMPED } else { PLAIN }).u64(self.chain);
        encoder.bytes(&self.log_id).bytes(&self.membership);
        if is_stamped {
            encoder.u64(self.stamp.0);
        }
        encoder.finish()
    }

    /// Decodes the row.
    pub fn decode(row: Bytes) -> Result<AppliedState, DecodeError> {
        let mut decoder = Decoder::new(row);
        let is_stamped = match decoder.u8("applied format")? {
            PLAIN => false,
            STAMPED => true,
            format => return Err(DecodeError::BadValue { field: "applied format", value: format.into() }),
        };
        let chain = decoder.u64("applied chain")?;
        let log_id = decoder.bytes("applied log id")?;
        let membership = decoder.bytes("applied membership")?;
        let stamp = match is_stamped {
            false => Timestamp(0),
            true => match decoder.u64("applied stamp")? {
                0 => return Err(DecodeError::BadValue { field: "applied stamp", value: 0 }),
                stamp => Timestamp(stamp),
            },
        };
        decoder.finish()?;
        Ok(AppliedState { log_id, membership, chain, stamp })
    }
}
