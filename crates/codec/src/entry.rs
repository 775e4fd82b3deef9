//! The body of a normal log entry: many commands.

use bytes::Bytes;
use strata_types::{Term, Timestamp};

use crate::fields::LENGTH_BYTES;
use crate::{DecodeError, Decoder, Encoder};

const FORMAT: u8 = 1;
const HEADER_BYTES: usize = 1 + 8 + 8 + 4;

/// What one log entry carries.
///
/// ```text
///   format u8 | stamp u64 | stamped term u64 | count u32 | (length u32, command) ...
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntryPayload {
    /// Logical time of the entry; never falls within a log.
    pub stamp: Timestamp,
    /// The term that the entry was stamped in: an entry that was appended in another one must not be applied.
    pub stamped_term: Term,
    /// Encoded commands, in the order in which they are applied. The position is the revision's.
    pub commands: Vec<Bytes>,
}

impl EntryPayload {
    /// Bytes of the encoding.
    pub fn encoded_size(&self) -> usize {
        HEADER_BYTES + self.commands.iter().map(|command| LENGTH_BYTES + command.len()).sum::<usize>()
    }

    /// The bytes of the entry.
    ///
    /// # Panics
    /// With 2^32 commands or more: batches close long before.
    pub fn encode(&self) -> Bytes {
        let mut encoder = Encoder::with_capacity(self.encoded_size());
        let count = u32::try_from(self.commands.len()).expect("an entry has far fewer than 2^32 commands");
        encoder.u8(FORMAT).u64(self.stamp.0).u64(self.stamped_term.0).u32(count);
        for command in &self.commands {
            encoder.bytes(command);
        }
        encoder.finish()
    }

    /// Decodes an entry; the commands share its memory.
    pub fn decode(entry: Bytes) -> Result<EntryPayload, DecodeError> {
        let mut decoder = Decoder::new(entry);
        let (stamp, stamped_term, count) = decode_header(&mut decoder)?;
        let mut commands = Vec::with_capacity(count);
        for _ in 0..count {
            commands.push(decoder.bytes("entry command")?);
        }
        decoder.finish()?;
        Ok(EntryPayload { stamp, stamped_term, commands })
    }

    /// Whether [`EntryPayload::decode`] would take it, without making anything of it.
    pub fn check(entry: Bytes) -> Result<(), DecodeError> {
        let mut decoder = Decoder::new(entry);
        let (_, _, count) = decode_header(&mut decoder)?;
        for _ in 0..count {
            decoder.bytes("entry command")?;
        }
        decoder.finish()
    }
}

/// Stamp, stamped term and how many commands follow.
fn decode_header(decoder: &mut Decoder) -> Result<(Timestamp, Term, usize), DecodeError> {
    decoder.format(FORMAT, "entry format")?;
    let stamp = Timestamp(decoder.u64("entry stamp")?);
    let stamped_term = Term(decoder.u64("entry stamped term")?);
    Ok((stamp, stamped_term, decoder.count(LENGTH_BYTES, "entry command count")?))
}
