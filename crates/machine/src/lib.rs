//! The trait of a replicated state machine: what Raft replicates, without Raft.
//!
//! # Model
//! ```text
//!   committed entry = [command, command, ...]          view: the tablet plus the writes of this apply so far
//!        |                                                |
//!        +----------> Machine::apply(view, command) <-----+
//!                         |            |
//!                      writes       reply            (one atomic tablet write for many entries, then the replies)
//! ```
//! One entry carries many client commands; position in the entry and index of the entry make the revision. The caller
//! puts all writes of one or more whole entries, and the log position they reach, into **one** atomic write of the
//! tablet, and only then sends the replies.
//!
//! # Invariants
//! - MACHINE-1: applying is a pure function of the view and the command: no clock, randomness, environment or
//!   iteration over a hash map. Two replicas that applied the same entries hold the same bytes.
//! - MACHINE-2: a command that cannot be carried out is a *reply*, never a skipped entry and never a panic: malformed
//!   commands cannot get into the log, because the proposer validates them, so meeting one is a broken invariant.

use bytes::Bytes;
use strata_types::{LogIndex, Revision, Term, Timestamp};

/// Where a command stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandContext {
    /// Term of the entry.
    pub term: Term,
    /// Index of the entry.
    pub index: LogIndex,
    /// Position of the command within the entry.
    pub position: u32,
    /// Logical time of the entry; it never falls. Zero: from before there were transactions.
    pub stamp: Timestamp,
}

impl CommandContext {
    /// The revision that the command's writes get.
    pub fn revision(&self) -> Revision {
        Revision { index: self.index, position: self.position }
    }
}

/// Read access to a tablet, including the writes of the apply that is under way.
pub trait View {
    /// The value of a tablet key.
    fn get(&self, key: &[u8]) -> Option<Bytes>;

    /// Calls `visit` for each item with `start <= key < end` in key order until it returns `false`.
    fn scan(&self, start: &[u8], end: &[u8], visit: &mut dyn FnMut(&[u8], &Bytes) -> bool);
}

/// A [`View`] that also takes writes; they are visible to the reads that follow.
pub trait ViewMut: View {
    /// Sets a tablet key.
    fn put(&mut self, key: Bytes, value: Bytes);

    /// Removes a tablet key.
    fn delete(&mut self, key: Bytes);
}

/// A replicated state machine. See the crate's invariants.
pub trait Machine: Send + Sync + 'static {
    /// Applies one command and returns its encoded reply.
    ///
    /// # Panics
    /// When the command or the stored state cannot be decoded: a broken invariant, which stops the node.
    fn apply(&self, view: &mut dyn ViewMut, context: CommandContext, command: &Bytes) -> Bytes;

    /// Whether each command looks at all that there is. Then it is applied where it may wait for the disk: what a view
    /// without the disk does not have in memory would look as if it were not there, and only later be found out.
    fn reads_everything(&self) -> bool {
        false
    }

    /// What may be answered where there is no room for this reply; `None` if nothing else may be. Only of a command that
    /// changed nothing, so that it can be sent again.
    fn withheld(&self, _reply: &Bytes) -> Option<Bytes> {
        None
    }

    /// Rows that nearly every command reads. Whoever applies keeps what they hold from one apply to the next.
    fn common_rows(&self) -> &'static [&'static [u8]] {
        &[]
    }

    /// Called once after all commands of one or more entries were applied and their writes are in the tablet; for
    /// waking watchers. Must not fail and must not block.
    fn applied(&self, _up_to: LogIndex) {}
}
