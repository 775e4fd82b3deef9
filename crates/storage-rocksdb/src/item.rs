//! One row, as it was written once.

use std::sync::Arc;

use bytes::Bytes;

/// What an item takes beside its key and its value: its counters, its header, a pointer to it, and what is lost to rounding.
const ITEM_BYTES: usize = 56;

/// A longer value is not copied for who reads it.
const COPIED_BYTES_MAX: usize = 4 << 10;

/// The length of the key, and whether there is a value.
const HEADER_BYTES: usize = 5;

/// A row, or that there is none any more. Key, value and the number of its holders lie side by side: whoever looks for a row
/// waits for its memory once, and most of the time that a row takes is this waiting.
#[derive(Clone)]
pub(crate) struct Item(Arc<[u8]>);

impl Item {
    /// `None`: there is no such row any more. The buffer is only used meanwhile.
    pub(crate) fn new(key: &[u8], value: Option<&[u8]>, buffer: &mut Vec<u8>) -> Item {
        let length = u32::try_from(key.len()).expect("a key is far shorter");
        buffer.clear();
        buffer.extend_from_slice(&length.to_le_bytes());
        buffer.push(u8::from(value.is_some()));
        buffer.extend_from_slice(key);
        buffer.extend_from_slice(value.unwrap_or_default());
        Item(Arc::from(buffer.as_slice()))
    }

    fn key_end(&self) -> usize {
        let (length, _) = self.0.split_first_chunk().expect("each item has a header");
        HEADER_BYTES + u32::from_le_bytes(*length) as usize
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.0[HEADER_BYTES..self.key_end()]
    }

    pub(crate) fn value(&self) -> Option<&[u8]> {
        (self.0[HEADER_BYTES - 1] != 0).then(|| &self.0[self.key_end()..])
    }

    /// The value, for who keeps it.
    pub(crate) fn to_value(&self) -> Option<Bytes> {
        let value = self.value()?;
        match value.len() {
            ..=COPIED_BYTES_MAX => Some(Bytes::copy_from_slice(value)),
            _ => Some(Bytes::from_owner(self.clone()).slice(self.key_end()..)),
        }
    }

    /// What it takes.
    pub(crate) fn bytes(&self) -> usize {
        ITEM_BYTES + self.0.len()
    }

    /// What an item would take.
    pub(crate) fn bytes_of(length: usize) -> usize {
        ITEM_BYTES + HEADER_BYTES + length
    }
}

impl AsRef<[u8]> for Item {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_what_it_was_made_of() {
        let mut buffer = vec![7; 100];
        let long = vec![9; COPIED_BYTES_MAX + 1];
        for (key, value) in [(&b""[..], None), (b"", Some(&b""[..])), (b"key", Some(b"value")), (b"key", Some(&long))] {
            let item = Item::new(key, value, &mut buffer);
            assert_eq!((item.key(), item.value()), (key, value));
            assert_eq!(item.to_value().as_deref(), value);
            assert_eq!(item.bytes(), Item::bytes_of(key.len() + value.map_or(0, <[u8]>::len)));
        }
    }
}
