//! What a shard has of a transaction that lies on several.

use bytes::Bytes;
use strata_types::{SpaceKey, Timestamp, Transaction, TransactionId};

use crate::transaction::{TRANSACTION_BYTES, id_key, keys_size};
use crate::{DecodeError, Decoder, Encoder, KeyKind};

const FORMAT: u8 = 1;

/// The row of a transaction that is prepared here: it holds locks, and waits to be decided.
///
/// ```text
///   format u8 | transaction | stamp u64 | has ranges u8 | count u32, keys
///
///   none --prepare--> Participant --resolve--> ResolvedParticipant --> none, below the horizon
///     \------------- resolve: aborted -------------/
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Participant {
    /// Whose.
    pub transaction: Transaction,
    /// When it was prepared: the answer to the first prepare, and to each one after it.
    pub stamp: Timestamp,
    /// Whether it holds locks on ranges.
    pub has_ranges: bool,
    /// The keys that it holds locks on.
    pub keys: Vec<SpaceKey>,
}

/// The row of a transaction that holds nothing here any more, or never did: a prepare that comes late is refused. It is of
/// a kind of its own, so that those that wait are found without looking at those that are done.
///
/// ```text
///   format u8 | transaction
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResolvedParticipant {
    /// Whose.
    pub transaction: Transaction,
}

impl Participant {
    /// The bytes of the row.
    pub fn encode(&self) -> Bytes {
        let mut encoder = Encoder::with_capacity(1 + TRANSACTION_BYTES + 8 + 1 + keys_size(&self.keys));
        encoder.u8(FORMAT).transaction(&self.transaction).u64(self.stamp.0).u8(u8::from(self.has_ranges));
        encoder.space_keys(&self.keys);
        encoder.finish()
    }

    /// Decodes the row; the keys share its memory.
    pub fn decode(row: Bytes) -> Result<Participant, DecodeError> {
        let mut decoder = Decoder::new(row);
        decoder.format(FORMAT, "participant format")?;
        let transaction = decoder.transaction()?;
        let stamp = decoder.timestamp("participant stamp")?;
        let has_ranges = decoder.flag("participant has ranges")?;
        let keys = decoder.space_keys("participant key count")?;
        decoder.finish()?;
        Ok(Participant { transaction, stamp, has_ranges, keys })
    }
}

impl ResolvedParticipant {
    /// The bytes of the row.
    pub fn encode(&self) -> Bytes {
        let mut encoder = Encoder::with_capacity(1 + TRANSACTION_BYTES);
        encoder.u8(FORMAT).transaction(&self.transaction);
        encoder.finish()
    }

    /// Decodes the row.
    pub fn decode(row: Bytes) -> Result<ResolvedParticipant, DecodeError> {
        let mut decoder = Decoder::new(row);
        decoder.format(FORMAT, "resolved participant format")?;
        let transaction = decoder.transaction()?;
        decoder.finish()?;
        Ok(ResolvedParticipant { transaction })
    }
}

/// The tablet key of a participant.
///
/// ```text
///   kind u8 | id u128
/// ```
pub fn participant_key(id: TransactionId) -> Bytes {
    id_key(KeyKind::Participant, id)
}

/// The tablet key of a participant that is resolved: as [`participant_key`], with another kind.
pub fn resolved_participant_key(id: TransactionId) -> Bytes {
    id_key(KeyKind::ResolvedParticipant, id)
}
