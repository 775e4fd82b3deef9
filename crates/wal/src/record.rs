//! What a frame's body is made of: records, each a change of one replica's log.
//!
//! ```text
//!   vote       1 | replica u64 | vote bytes
//!   committed  2 | replica u64 | committed bytes
//!   append     3 | replica u64 | first index u64 | count u32 | count x bytes
//!   rewrite    4 | as append; the entries exist already and only move here
//!   truncate   5 | replica u64 | 0 u8, or 1 u8 and the last index kept u64
//!   purge      6 | replica u64 | index u64 | id bytes
//!   remove     7 | replica u64
//!   checkpoint 8 | replica u64 | vote? | committed? | 0 u8, or 1 u8 and purge index u64 and id bytes
//! ```
//! Numbers are big-endian; `bytes` is a u32 length and the bytes; `?` is a presence byte before. Kinds are append-only.

use bytes::{BufMut, Bytes, BytesMut};
use strata_codec::{DecodeError, Decoder, checksum};
use strata_types::{LogIndex, ReplicaId};

const VOTE: u8 = 1;
const COMMITTED: u8 = 2;
const APPEND: u8 = 3;
const REWRITE: u8 = 4;
const TRUNCATE: u8 = 5;
const PURGE: u8 = 6;
const REMOVE: u8 = 7;
const CHECKPOINT: u8 = 8;

/// Bytes of an append or rewrite record before its entries.
pub(crate) const ENTRIES_HEADER_BYTES: usize = 1 + 8 + 8 + 4;
/// Bytes of an entry beside its content.
pub(crate) const ENTRY_HEADER_BYTES: usize = 4;

/// Where an entry lies on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    /// Of the entry's first byte.
    pub(crate) offset: u64,
    pub(crate) length: u32,
    /// Checks a later read of this entry alone.
    pub(crate) crc: u32,
}

/// A change of one replica's log, as the lane orders them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) replica: ReplicaId,
    pub(crate) kind: ChangeKind,
}

/// What changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    Vote(Bytes),
    Committed(Bytes),
    /// New entries from an index on.
    Append(LogIndex, Vec<Place>),
    /// Entries that lie somewhere else now.
    Rewrite(LogIndex, Vec<Place>),
    /// Entries after this index are gone; all, if there is none.
    Truncate(Option<LogIndex>),
    /// Entries up to this index are gone; the bytes are the id of the last one.
    Purge(LogIndex, Bytes),
    Remove,
    /// All that is known of the replica except its entries.
    Checkpoint {
        vote: Option<Bytes>,
        committed: Option<Bytes>,
        purged: Option<(LogIndex, Bytes)>,
    },
}

/// Appends the record of a change that carries no entries.
pub(crate) fn encode(buffer: &mut BytesMut, change: &Change) {
    let mut head = |kind: u8| {
        buffer.put_u8(kind);
        buffer.put_u64(change.replica.0);
    };
    match &change.kind {
        ChangeKind::Vote(vote) => {
            head(VOTE);
            put_bytes(buffer, vote);
        }
        ChangeKind::Committed(committed) => {
            head(COMMITTED);
            put_bytes(buffer, committed);
        }
        ChangeKind::Truncate(keep) => {
            head(TRUNCATE);
            match keep {
                Some(index) => {
                    buffer.put_u8(1);
                    buffer.put_u64(index.0);
                }
                None => buffer.put_u8(0),
            }
        }
        ChangeKind::Purge(index, id) => {
            head(PURGE);
            buffer.put_u64(index.0);
            put_bytes(buffer, id);
        }
        ChangeKind::Remove => head(REMOVE),
        ChangeKind::Checkpoint { vote, committed, purged } => {
            head(CHECKPOINT);
            put_optional_bytes(buffer, vote.as_ref());
            put_optional_bytes(buffer, committed.as_ref());
            match purged {
                Some((index, id)) => {
                    buffer.put_u8(1);
                    buffer.put_u64(index.0);
                    put_bytes(buffer, id);
                }
                None => buffer.put_u8(0),
            }
        }
        ChangeKind::Append(..) | ChangeKind::Rewrite(..) => {
            unreachable!("entries are encoded with their bytes, by encode_entries")
        }
    }
}

/// Bytes that [`encode`] appends.
pub(crate) fn encoded_bytes(kind: &ChangeKind) -> usize {
    let optional = |bytes: &Option<Bytes>| 1 + bytes.as_ref().map_or(0, |bytes| 4 + bytes.len());
    9 + match kind {
        ChangeKind::Vote(bytes) | ChangeKind::Committed(bytes) => 4 + bytes.len(),
        ChangeKind::Truncate(keep) => 1 + keep.map_or(0, |_| 8),
        ChangeKind::Purge(_, id) => 8 + 4 + id.len(),
        ChangeKind::Remove | ChangeKind::Append(..) | ChangeKind::Rewrite(..) => 0,
        ChangeKind::Checkpoint { vote, committed, purged } => {
            optional(vote) + optional(committed) + 1 + purged.as_ref().map_or(0, |(_, id)| 8 + 4 + id.len())
        }
    }
}

/// Whether entries are new or only move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntriesKind {
    Append,
    Rewrite,
}

/// Appends entries and tells what that changes; `buffer_offset` is where the buffer will lie in `segment`.
pub(crate) fn encode_entries(
    buffer: &mut BytesMut,
    buffer_offset: u64,
    segment: u64,
    kind: EntriesKind,
    replica: ReplicaId,
    first: LogIndex,
    entries: &[Bytes],
) -> Change {
    buffer.put_u8(match kind {
        EntriesKind::Append => APPEND,
        EntriesKind::Rewrite => REWRITE,
    });
    buffer.put_u64(replica.0);
    buffer.put_u64(first.0);
    buffer.put_u32(u32::try_from(entries.len()).expect("a frame holds fewer than 2^32 entries"));
    let mut places = Vec::with_capacity(entries.len());
    for entry in entries {
        put_bytes(buffer, entry);
        places.push(Place {
            segment,
            offset: buffer_offset + (buffer.len() - entry.len()) as u64,
            length: u32::try_from(entry.len()).expect("entries are far below 4 GiB"),
            crc: checksum(entry),
        });
    }
    Change { replica, kind: entries_change(kind, first, places) }
}

/// The changes in a frame's body, which begins at `body_offset` of `segment`.
pub(crate) fn decode(body: &Bytes, segment: u64, body_offset: u64) -> Result<Vec<Change>, DecodeError> {
    let mut decoder = Decoder::new(body.clone());
    let mut changes = Vec::new();
    while decoder.remaining() > 0 {
        let tag = decoder.u8("record")?;
        let replica = ReplicaId(decoder.u64("replica")?);
        let kind = match tag {
            VOTE => ChangeKind::Vote(own(decoder.bytes("vote")?)),
            COMMITTED => ChangeKind::Committed(own(decoder.bytes("committed")?)),
            APPEND | REWRITE => {
                let first = decoder.u64("index")?;
                let count = decoder.count(ENTRY_HEADER_BYTES, "entries")?;
                if first.checked_add(count as u64).is_none() {
                    return Err(DecodeError::BadValue { field: "index", value: first });
                }
                let first = LogIndex(first);
                let mut places = Vec::with_capacity(count);
                for _ in 0..count {
                    let entry = decoder.bytes("entry")?;
                    let end = body_offset + (body.len() - decoder.remaining()) as u64;
                    places.push(Place {
                        segment,
                        offset: end - entry.len() as u64,
                        length: entry.len() as u32,
                        crc: checksum(&entry),
                    });
                }
                entries_change(if tag == APPEND { EntriesKind::Append } else { EntriesKind::Rewrite }, first, places)
            }
            TRUNCATE => ChangeKind::Truncate(match decoder.u8("keep")? {
                0 => None,
                1 => Some(take_index(&mut decoder, "keep")?),
                value => return Err(DecodeError::BadValue { field: "keep", value: value.into() }),
            }),
            PURGE => ChangeKind::Purge(take_index(&mut decoder, "purged")?, own(decoder.bytes("purged")?)),
            REMOVE => ChangeKind::Remove,
            CHECKPOINT => ChangeKind::Checkpoint {
                vote: decoder.optional_bytes("vote")?.map(own),
                committed: decoder.optional_bytes("committed")?.map(own),
                purged: match decoder.u8("purged")? {
                    0 => None,
                    1 => Some((take_index(&mut decoder, "purged")?, own(decoder.bytes("purged")?))),
                    value => return Err(DecodeError::BadValue { field: "purged", value: value.into() }),
                },
            },
            value => return Err(DecodeError::BadValue { field: "record", value: value.into() }),
        };
        changes.push(Change { replica, kind });
    }
    Ok(changes)
}

/// An index that has a next one.
fn take_index(decoder: &mut Decoder, field: &'static str) -> Result<LogIndex, DecodeError> {
    match decoder.u64(field)? {
        u64::MAX => Err(DecodeError::BadValue { field, value: u64::MAX }),
        index => Ok(LogIndex(index)),
    }
}

fn entries_change(kind: EntriesKind, first: LogIndex, places: Vec<Place>) -> ChangeKind {
    match kind {
        EntriesKind::Append => ChangeKind::Append(first, places),
        EntriesKind::Rewrite => ChangeKind::Rewrite(first, places),
    }
}

/// A copy: what is kept for long must not keep a whole segment in memory.
fn own(bytes: Bytes) -> Bytes {
    Bytes::copy_from_slice(&bytes)
}

fn put_bytes(buffer: &mut BytesMut, bytes: &[u8]) {
    buffer.put_u32(u32::try_from(bytes.len()).expect("fields are far below 4 GiB"));
    buffer.put_slice(bytes);
}

fn put_optional_bytes(buffer: &mut BytesMut, bytes: Option<&Bytes>) {
    match bytes {
        Some(bytes) => {
            buffer.put_u8(1);
            put_bytes(buffer, bytes);
        }
        None => buffer.put_u8(0),
    }
}
