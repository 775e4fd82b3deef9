//! Fields that several formats share.

use bytes::Bytes;
use strata_types::{Item, LogIndex, Revision, Timestamp};

use crate::{DecodeError, Decoder, Encoder};

/// Bytes of an encoded [`Revision`].
pub(crate) const REVISION_BYTES: usize = 12;
/// Bytes of the length before a byte string.
pub(crate) const LENGTH_BYTES: usize = 4;
/// Bytes of an encoded [`Item`] beside its key and value.
pub(crate) const ITEM_OVERHEAD_BYTES: usize = 2 * LENGTH_BYTES + REVISION_BYTES + 8;

impl Encoder {
    pub(crate) fn revision(&mut self, revision: Revision) -> &mut Self {
        self.u64(revision.index.0).u32(revision.position)
    }

    pub(crate) fn item(&mut self, item: &Item) -> &mut Self {
        self.revision(item.revision).u64(item.timestamp.0).bytes(&item.key).bytes(&item.value)
    }
}

impl Decoder {
    pub(crate) fn revision(&mut self, field: &'static str) -> Result<Revision, DecodeError> {
        Ok(Revision { index: LogIndex(self.u64(field)?), position: self.u32(field)? })
    }

    pub(crate) fn item(&mut self) -> Result<Item, DecodeError> {
        let revision = self.revision("item revision")?;
        let timestamp = Timestamp(self.u64("item timestamp")?);
        let key = self.bytes("item key")?;
        let value = self.bytes("item value")?;
        Ok(Item { key, value, revision, timestamp })
    }

    /// A byte that is 0 or 1.
    pub(crate) fn flag(&mut self, field: &'static str) -> Result<bool, DecodeError> {
        match self.u8(field)? {
            0 => Ok(false),
            1 => Ok(true),
            value => Err(DecodeError::BadValue { field, value: value.into() }),
        }
    }

    /// The byte that a format begins with.
    pub(crate) fn format(&mut self, expected: u8, field: &'static str) -> Result<(), DecodeError> {
        match self.u8(field)? {
            format if format == expected => Ok(()),
            format => Err(DecodeError::BadValue { field, value: format.into() }),
        }
    }
}

/// Bytes of an optional byte string.
pub(crate) fn optional_bytes_size(value: Option<&Bytes>) -> usize {
    1 + value.map_or(0, |value| LENGTH_BYTES + value.len())
}
