//! What every command has, whatever it does; `command.rs` has the format.

use strata_types::{
    ClientId, DatabaseId, Durability, KeySpaceId, LogIndex, RequestHeader, SchemaVersion, SessionRequest, Space,
    Timestamp,
};

use crate::fields::LENGTH_BYTES;
use crate::{DecodeError, Decoder, Encoder};

pub(crate) const COMMAND_VERSION: u8 = 1;
const PREFIX_BYTES: usize = 1 + 1 + LENGTH_BYTES;
const HEADER_BYTES: usize = 4 + 4 + 8 + 4 + 1 + 1;
const SESSION_BYTES: usize = 3 * 8;
const OPENED_BYTES: usize = 8;

const DURABILITY_MAJORITY: u8 = 0;

const SESSION_NONE: u8 = 0;
/// A session that was opened without knowing the shard.
const SESSION_AT_ZERO: u8 = 1;
const SESSION_OPENED: u8 = 2;

/// The part of a command that does not depend on what it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommandHeader {
    /// Database of the keys.
    pub database: DatabaseId,
    /// Key space within the database.
    pub key_space: KeySpaceId,
    /// Makes a retried write apply once.
    pub session: Option<SessionRequest>,
    /// The highest timestamp that the client's session has seen.
    pub seen: Timestamp,
    /// What "durable" means for this write.
    pub durability: Durability,
    /// Version of the descriptors that the request was planned with.
    pub schema: SchemaVersion,
}

impl CommandHeader {
    /// The name space of the keys.
    pub fn space(&self) -> Space {
        Space { database: self.database, key_space: self.key_space }
    }

    /// The header of a request's command.
    pub fn of(header: &RequestHeader) -> CommandHeader {
        CommandHeader {
            database: header.database,
            key_space: header.key_space,
            session: header.session,
            seen: header.seen,
            durability: header.durability,
            schema: header.schema,
        }
    }

    /// An encoder of exactly the command's size that already holds everything before the body. Exact, because bytes
    /// with spare capacity cost a second allocation when they are frozen.
    pub(crate) fn encoder(&self, tag: u8, body_bytes: usize) -> Encoder {
        let length = HEADER_BYTES + session_size(self.session) + body_bytes;
        let mut encoder = Encoder::with_capacity(PREFIX_BYTES + length);
        let length = u32::try_from(length).expect("commands are far below 4 GiB");
        let durability = match self.durability {
            Durability::Majority => DURABILITY_MAJORITY,
        };
        encoder.u8(COMMAND_VERSION).u8(tag).u32(length);
        encoder.u32(self.database.0).u32(self.key_space.0).u64(self.seen.0).u32(self.schema.0).u8(durability);
        encode_session(&mut encoder, self.session);
        encoder
    }

    pub(crate) fn decode(decoder: &mut Decoder) -> Result<CommandHeader, DecodeError> {
        let database = DatabaseId(decoder.u32("command database")?);
        let key_space = KeySpaceId(decoder.u32("command key space")?);
        let seen = Timestamp(decoder.u64("command seen")?);
        let schema = SchemaVersion(decoder.u32("command schema")?);
        let durability = match decoder.u8("command durability")? {
            DURABILITY_MAJORITY => Durability::Majority,
            value => return Err(DecodeError::BadValue { field: "command durability", value: value.into() }),
        };
        let session = decode_session(decoder)?;
        Ok(CommandHeader { database, key_space, session, seen, durability, schema })
    }
}

fn session_size(session: Option<SessionRequest>) -> usize {
    match session {
        None => 0,
        Some(SessionRequest { opened: LogIndex(0), .. }) => SESSION_BYTES,
        Some(_) => SESSION_BYTES + OPENED_BYTES,
    }
}

fn encode_session(encoder: &mut Encoder, session: Option<SessionRequest>) {
    let Some(SessionRequest { client, sequence, floor, opened }) = session else {
        encoder.u8(SESSION_NONE);
        return;
    };
    let is_at_zero = opened == LogIndex(0);
    encoder.u8(if is_at_zero { SESSION_AT_ZERO } else { SESSION_OPENED });
    encoder.u64(client.0).u64(sequence).u64(floor);
    if !is_at_zero {
        encoder.u64(opened.0);
    }
}

fn decode_session(decoder: &mut Decoder) -> Result<Option<SessionRequest>, DecodeError> {
    let form = decoder.u8("command session")?;
    if form == SESSION_NONE {
        return Ok(None);
    }
    if form > SESSION_OPENED {
        return Err(DecodeError::BadValue { field: "command session", value: form.into() });
    }
    let client = ClientId(decoder.u64("command client")?);
    let sequence = decoder.u64("command sequence")?;
    let floor = decoder.u64("command floor")?;
    let opened = match form {
        SESSION_AT_ZERO => 0,
        _ => match decoder.u64("command opened")? {
            // That is what the other form is for (CODEC-4).
            0 => return Err(DecodeError::BadValue { field: "command opened", value: 0 }),
            opened => opened,
        },
    };
    Ok(Some(SessionRequest { client, sequence, floor, opened: LogIndex(opened) }))
}
