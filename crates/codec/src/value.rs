//! The value of a data key.

use bytes::Bytes;
use strata_types::{Revision, Timestamp};

use crate::fields::REVISION_BYTES;
use crate::{DecodeError, Decoder, Encoder};

/// Never 0: that is a removal among the versions of a key (`history.rs`).
const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 1 + 1 + 8 + REVISION_BYTES + 8;

/// What is stored under a data key.
///
/// ```text
///   format u8 | flags u8 | timestamp u64 | revision index u64, position u32 | expiry u64 | payload ...
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredValue {
    /// What the payload is; 0 is plain bytes. Given out here, in codec, as they are needed.
    pub flags: u8,
    /// When it was committed, in logical time.
    pub timestamp: Timestamp,
    /// Where it was written.
    pub revision: Revision,
    /// When it expires, in milliseconds since 1970; 0 for never.
    pub expiry_millis: u64,
    /// What the user stored.
    pub payload: Bytes,
}

impl StoredValue {
    /// The stored bytes.
    pub fn encode(&self) -> Bytes {
        StoredValue::encode_parts(self.flags, self.timestamp, self.revision, self.expiry_millis, &self.payload)
    }

    /// The stored bytes of a plain value that does not expire: what [`StoredValue::encode`] yields, without the struct.
    pub fn encode_plain(timestamp: Timestamp, revision: Revision, payload: &[u8]) -> Bytes {
        StoredValue::encode_parts(0, timestamp, revision, 0, payload)
    }

    fn encode_parts(flags: u8, timestamp: Timestamp, revision: Revision, expiry: u64, payload: &[u8]) -> Bytes {
        let mut encoder = Encoder::with_capacity(HEADER_BYTES + payload.len());
        encoder.u8(FORMAT).u8(flags).u64(timestamp.0).revision(revision).u64(expiry).raw(payload);
        encoder.finish()
    }

    /// Decodes stored bytes; the payload shares their memory.
    pub fn decode(stored: Bytes) -> Result<StoredValue, DecodeError> {
        let mut decoder = Decoder::new(stored);
        decoder.format(FORMAT, "value format")?;
        let flags = decoder.u8("value flags")?;
        let timestamp = Timestamp(decoder.u64("value timestamp")?);
        let revision = decoder.revision("value revision")?;
        let expiry_millis = decoder.u64("value expiry")?;
        Ok(StoredValue { flags, timestamp, revision, expiry_millis, payload: decoder.rest() })
    }
}
