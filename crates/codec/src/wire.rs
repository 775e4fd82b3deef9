//! The primitives that every format is made of: fixed-width big-endian numbers and length-prefixed bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes that are not what they should be. Names the field, so that a damaged file can be reported precisely.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The input ends inside a field.
    #[error("input ends early: field=`{field}`")]
    Truncated {
        /// The field that was being read.
        field: &'static str,
    },
    /// A field holds a value that no version of the format allows.
    #[error("bad value: field=`{field}` value=`{value}`")]
    BadValue {
        /// The field.
        field: &'static str,
        /// What it held.
        value: u64,
    },
    /// Bytes follow the last field.
    #[error("bytes after the end: count=`{count}`")]
    Trailing {
        /// How many.
        count: usize,
    },
}

/// Appends fields to a buffer.
#[derive(Debug, Default)]
pub struct Encoder {
    buffer: BytesMut,
}

impl Encoder {
    /// An encoder with room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Encoder {
        Encoder { buffer: BytesMut::with_capacity(capacity) }
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.buffer.put_u8(value);
        self
    }

    /// Two bytes.
    pub fn u16(&mut self, value: u16) -> &mut Self {
        self.buffer.put_u16(value);
        self
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.buffer.put_u32(value);
        self
    }

    /// Eight bytes.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.buffer.put_u64(value);
        self
    }

    /// Sixteen bytes.
    pub fn u128(&mut self, value: u128) -> &mut Self {
        self.buffer.put_u128(value);
        self
    }

    /// A four-byte length and the bytes.
    ///
    /// # Panics
    /// When they are 4 GiB or more: every caller's limit is far below.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        let length = u32::try_from(value.len()).expect("fields are far below 4 GiB");
        self.buffer.put_u32(length);
        self.buffer.put_slice(value);
        self
    }

    /// A presence byte, and the bytes if there are any.
    pub fn optional_bytes(&mut self, value: Option<&[u8]>) -> &mut Self {
        match value {
            Some(value) => self.u8(1).bytes(value),
            None => self.u8(0),
        }
    }

    /// Bytes without a length: the last field of a format.
    pub fn raw(&mut self, value: &[u8]) -> &mut Self {
        self.buffer.put_slice(value);
        self
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The encoded bytes.
    pub fn finish(self) -> Bytes {
        self.buffer.freeze()
    }
}

/// Takes fields off the front of a buffer without copying. Never panics and never allocates more than the input.
#[derive(Clone, Debug)]
pub struct Decoder {
    rest: Bytes,
}

impl Decoder {
    /// Decodes `input`.
    pub fn new(input: Bytes) -> Decoder {
        Decoder { rest: input }
    }

    fn take(&mut self, count: usize, field: &'static str) -> Result<Bytes, DecodeError> {
        if self.rest.len() < count {
            return Err(DecodeError::Truncated { field });
        }
        Ok(self.rest.split_to(count))
    }

    // Copies and advances instead of splitting: splitting counts a reference, which costs more than the number.
    fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let array = *self.rest.first_chunk::<N>().ok_or(DecodeError::Truncated { field })?;
        self.rest.advance(N);
        Ok(array)
    }

    /// One byte.
    pub fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.array::<1>(field).map(|[byte]| byte)
    }

    /// Two bytes.
    pub fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.array(field).map(u16::from_be_bytes)
    }

    /// Four bytes.
    pub fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.array(field).map(u32::from_be_bytes)
    }

    /// Eight bytes.
    pub fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.array(field).map(u64::from_be_bytes)
    }

    /// Sixteen bytes.
    pub fn u128(&mut self, field: &'static str) -> Result<u128, DecodeError> {
        self.array(field).map(u128::from_be_bytes)
    }

    /// Length-prefixed bytes, sharing the input.
    pub fn bytes(&mut self, field: &'static str) -> Result<Bytes, DecodeError> {
        let length = self.u32(field)? as usize;
        self.take(length, field)
    }

    /// Length-prefixed UTF-8.
    pub fn string(&mut self, field: &'static str) -> Result<String, DecodeError> {
        let bytes = self.bytes(field)?;
        String::from_utf8(bytes.to_vec())
            .map_err(|error| DecodeError::BadValue { field, value: error.utf8_error().valid_up_to() as u64 })
    }

    /// What [`Encoder::optional_bytes`] wrote.
    pub fn optional_bytes(&mut self, field: &'static str) -> Result<Option<Bytes>, DecodeError> {
        match self.u8(field)? {
            0 => Ok(None),
            1 => self.bytes(field).map(Some),
            value => Err(DecodeError::BadValue { field, value: value.into() }),
        }
    }

    /// A count of items that follow, each of at least `item_bytes_min` bytes: rejected when the input cannot hold that
    /// many, so that a damaged count never becomes a huge allocation.
    pub fn count(&mut self, item_bytes_min: usize, field: &'static str) -> Result<usize, DecodeError> {
        let count = self.u32(field)? as usize;
        if count.saturating_mul(item_bytes_min.max(1)) > self.rest.len() {
            return Err(DecodeError::Truncated { field });
        }
        Ok(count)
    }

    /// Bytes not yet taken.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// All that is left.
    pub fn rest(self) -> Bytes {
        self.rest
    }

    /// Checks that nothing is left.
    pub fn finish(self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            count => Err(DecodeError::Trailing { count }),
        }
    }
}

/// CRC-32C (Castagnoli), the checksum of every file and frame of ours.
pub fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
}

/// CRC-32C continued over another piece.
pub fn checksum_append(checksum: u32, bytes: &[u8]) -> u32 {
    crc32c::crc32c_append(checksum, bytes)
}
