//! What transactions did and found, recorded so that they can be judged in linear time.
//!
//! Keys and values are numbers; a test maps its own names to them. A key is either a *list*, to which transactions
//! append, or a *register*, which they write. No value is written twice to one key: this is what makes the reads tell
//! who wrote before whom.

mod history;
mod numbering;

use std::fmt;

pub use history::TransactionHistory;
pub(crate) use history::{Action, StoredStep};
pub(crate) use numbering::Numbering;

/// Position of a transaction in its [`TransactionHistory`]. Printed as `t7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionIndex(pub u32);

/// One step of a transaction, in the order of its program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A value was added at the end of a list.
    Append {
        /// The list.
        key: u64,
        /// The value; no other append to this list has it.
        value: u64,
    },
    /// A list was read.
    ReadList {
        /// The list.
        key: u64,
        /// What was found, the transaction's own appends included.
        values: Vec<u64>,
    },
    /// A register was overwritten.
    Write {
        /// The register.
        key: u64,
        /// The value; no other write to this register has it.
        value: u64,
    },
    /// A register was read.
    Read {
        /// The register.
        key: u64,
        /// What was found; nothing in a register that nobody wrote.
        value: Option<u64>,
    },
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionOutcome {
    /// It took effect before this time.
    Committed {
        /// When that was learned.
        at: u64,
    },
    /// It has no effect and never will: nobody may see its writes. What it read is not judged.
    Aborted,
    /// Nobody can tell. If somebody sees a write of it, it counts as committed, its reads included; if not, it is left
    /// out. Record only reads that were answered.
    Unknown,
}

impl fmt::Display for TransactionIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{}", self.0)
    }
}
