//! What finds a transaction again.

use std::fmt;
use std::str::FromStr;

use strata_types::{Slot, Timestamp, Transaction, TransactionId};

/// Enough to ask what became of a transaction: see [`crate::Transactions::outcome`]. As text: `ID:SLOT:TIMESTAMP`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransactionHandle {
    /// Which one.
    pub id: TransactionId,
    /// Where its record is.
    pub anchor: Slot,
    /// What it has read was committed up to this timestamp.
    pub read_timestamp: Timestamp,
}

impl TransactionHandle {
    /// The transaction, as far as its record's shard must know it.
    pub(crate) fn transaction(self) -> Transaction {
        let TransactionHandle { id, anchor, read_timestamp } = self;
        Transaction { id, anchor, read_timestamp, age: read_timestamp }
    }
}

impl From<&Transaction> for TransactionHandle {
    fn from(transaction: &Transaction) -> TransactionHandle {
        let Transaction { id, anchor, read_timestamp, .. } = *transaction;
        TransactionHandle { id, anchor, read_timestamp }
    }
}

impl fmt::Display for TransactionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.id, self.anchor.number(), self.read_timestamp.0)
    }
}

impl FromStr for TransactionHandle {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (id, rest) = text.split_once(':')?;
            let (anchor, read_timestamp) = rest.split_once(':')?;
            Some(TransactionHandle {
                id: id.parse().ok()?,
                anchor: Slot::new(anchor.parse().ok()?)?,
                read_timestamp: Timestamp(read_timestamp.parse().ok()?),
            })
        };
        parse().ok_or_else(|| format!("not a handle of a transaction (expected ID:SLOT:TIMESTAMP): `{text}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_survives_as_text() {
        let anchor = Slot::of_key(b"a");
        let handle = TransactionHandle { id: TransactionId(0xabc), anchor, read_timestamp: Timestamp(17) };
        assert_eq!(handle.to_string().parse(), Ok(handle));
        for wrong in ["", "a:1:2", &format!("{}:16384:1", handle.id), &format!("{}:1", handle.id)] {
            assert!(wrong.parse::<TransactionHandle>().is_err(), "{wrong}");
        }
    }
}
