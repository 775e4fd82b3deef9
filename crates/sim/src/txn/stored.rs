//! What transactions of the simulation write: every value is written once, so that a read tells who wrote it.

use bytes::Bytes;

/// A value as it is stored: `u17:payload`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// No other write has it.
    pub(crate) unique: u64,
    pub(crate) payload: String,
}

impl Stored {
    pub(crate) fn encode(&self) -> Bytes {
        format!("u{}:{}", self.unique, self.payload).into()
    }

    /// `None` for what nobody here wrote.
    pub(crate) fn decode(value: &[u8]) -> Option<Stored> {
        let text = std::str::from_utf8(value).ok()?;
        let (unique, payload) = text.strip_prefix('u')?.split_once(':')?;
        Some(Stored { unique: unique.parse().ok()?, payload: payload.to_owned() })
    }

    /// The payload as a number.
    pub(crate) fn number(&self) -> i64 {
        self.payload.parse().unwrap_or_default()
    }

    /// The payload as a list.
    pub(crate) fn list(&self) -> Vec<u64> {
        self.payload.split(',').filter_map(|value| value.parse().ok()).collect()
    }
}

/// Whether others write the key too, their own values.
pub(crate) fn is_foreign(key: &str) -> bool {
    key.starts_with('k')
}

/// What tells values of others apart (FNV-1a).
pub(crate) fn digest(value: &[u8]) -> u64 {
    value.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A list as a payload.
pub(crate) fn payload_of(list: &[u64]) -> String {
    list.iter().map(u64::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive() {
        let stored = Stored { unique: 17, payload: payload_of(&[3, 5]) };
        assert_eq!(Stored::decode(&stored.encode()), Some(stored.clone()));
        assert_eq!(stored.list(), [3, 5]);
        assert_eq!(Stored { payload: String::new(), ..stored }.list(), [0; 0]);
        assert_eq!(Stored::decode(b"c1w5"), None);
    }
}
