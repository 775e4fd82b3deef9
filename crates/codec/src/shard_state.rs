//! What every command and every read of a shard must know.

use bytes::Bytes;
use strata_types::Timestamp;

use crate::{DecodeError, Decoder, Encoder, KeyKind};

const FORMAT: u8 = 1;

/// Key of the row that says what every command must know.
pub const SHARD_STATE_KEY: &[u8] = &[KeyKind::ShardState as u8];

/// The row that says what every command must know; a shard that never met a transaction has none.
///
/// ```text
///   format u8 | horizon u64 | prepared u64 | ranged u64
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardState {
    /// Below it, versions may be gone: what would read there is refused.
    pub horizon: Timestamp,
    /// How many transactions are prepared here: without one, no key is locked.
    pub prepared: u64,
    /// How many of them hold locks on ranges.
    pub ranged: u64,
}

impl ShardState {
    /// The bytes of the row.
    pub fn encode(&self) -> Bytes {
        let mut encoder = Encoder::with_capacity(1 + 3 * 8);
        encoder.u8(FORMAT).u64(self.horizon.0).u64(self.prepared).u64(self.ranged);
        encoder.finish()
    }

    /// Decodes the row.
    pub fn decode(row: Bytes) -> Result<ShardState, DecodeError> {
        let mut decoder = Decoder::new(row);
        decoder.format(FORMAT, "shard state format")?;
        let horizon = decoder.timestamp("shard state horizon")?;
        let prepared = decoder.u64("shard state prepared")?;
        let ranged = decoder.u64("shard state ranged")?;
        decoder.finish()?;
        Ok(ShardState { horizon, prepared, ranged })
    }
}
