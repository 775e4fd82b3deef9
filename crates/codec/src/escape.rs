//! User keys inside of longer keys: escaped, so that what follows them cannot disturb their order.
//!
//! ```text
//!   user key   00 -> 00 ff, every other byte -> itself     then the end: 00 01
//! ```
//! The end is less than anything that a longer key has in its place, so a key comes before all that it is a beginning of.

use bytes::Bytes;

use crate::{DecodeError, Encoder};

const ESCAPE: u8 = 0x00;
const NUL: u8 = 0xff;
const END: u8 = 0x01;
/// In the place of the end: after everything that begins with the escaped key.
const AFTER: u8 = END + 1;

/// Bytes of an escaped key with its end.
pub(crate) fn escaped_size(user_key: &[u8]) -> usize {
    user_key.len() + user_key.iter().filter(|byte| **byte == ESCAPE).count() + 2
}

impl Encoder {
    /// A user key and its end.
    pub(crate) fn escaped(&mut self, user_key: &[u8]) -> &mut Self {
        self.escaped_body(user_key).u8(ESCAPE).u8(END)
    }

    /// What comes after everything that begins with [`Encoder::escaped`] of the key, and before the next user key.
    pub(crate) fn after_escaped(&mut self, user_key: &[u8]) -> &mut Self {
        self.escaped_body(user_key).u8(ESCAPE).u8(AFTER)
    }

    fn escaped_body(&mut self, user_key: &[u8]) -> &mut Self {
        let mut pieces = user_key.split(|byte| *byte == ESCAPE);
        self.raw(pieces.next().unwrap_or_default());
        for piece in pieces {
            self.u8(ESCAPE).u8(NUL).raw(piece);
        }
        self
    }
}

/// The user key at the front of `input`, and what follows its end.
pub(crate) fn unescape<'a>(input: &'a [u8], field: &'static str) -> Result<(Bytes, &'a [u8]), DecodeError> {
    let mut user_key = Vec::with_capacity(input.len());
    let mut rest = input;
    loop {
        let at = rest.iter().position(|byte| *byte == ESCAPE).ok_or(DecodeError::Truncated { field })?;
        user_key.extend_from_slice(&rest[..at]);
        let code = *rest.get(at + 1).ok_or(DecodeError::Truncated { field })?;
        rest = &rest[at + 2..];
        match code {
            NUL => user_key.push(ESCAPE),
            END => return Ok((Bytes::from(user_key), rest)),
            value => return Err(DecodeError::BadValue { field, value: value.into() }),
        }
    }
}
