//! What can be wrong, by the names of Adya and of Elle.

use std::fmt;

use crate::transactions::TransactionIndex;

/// Anomalies that a verdict lists; the others it counts.
pub(crate) const LISTED_MAX: usize = 100;

/// A kind of anomaly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AnomalyKind {
    /// G1a: a write of an aborted transaction was seen.
    AbortedRead,
    /// G1b: a write was seen that its own transaction had replaced.
    IntermediateRead,
    /// A transaction contradicts itself: its own writes are missing, out of order or too early, or a read was not
    /// repeatable.
    Internal,
    /// A value is in a list twice.
    Duplicate,
    /// A value was read that nobody wrote.
    GarbageRead,
    /// Of two reads of one list neither is a prefix of the other.
    IncompatibleOrder,
    /// Two transactions read the same version of a key, and both replaced it.
    LostUpdate,
    /// Transactions that must each come before the next, and the last before the first.
    Cycle(CycleClass, CycleOrder),
}

/// A cycle by the dependencies in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CycleClass {
    /// Writes over writes only: dirty write.
    G0,
    /// Writes and reads of them: information flows in a circle.
    G1c,
    /// One read of what another transaction replaced: read skew, and with real time a stale read.
    GSingle,
    /// Two such reads or more: write skew.
    G2,
}

/// What a cycle needs besides what transactions saw of each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CycleOrder {
    /// Nothing: the history is not serializable.
    Plain,
    /// The order of a client's own transactions.
    Process,
    /// Real time: the history may be serializable, but not strictly.
    Realtime,
}

/// One anomaly. Prints as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    /// Its kind.
    pub kind: AnomalyKind,
    /// The transactions in it; those of a cycle in its order.
    pub transactions: Vec<TransactionIndex>,
    /// The keys in it, in order.
    pub keys: Vec<u64>,
    pub(crate) story: String,
}

/// What is wrong with a history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CycleVerdict {
    /// Anomalies, the direct ones first, then cycles, those of the weakest promise first.
    pub anomalies: Vec<Anomaly>,
    /// Anomalies that are not listed, because there are too many.
    pub left_out: usize,
    /// Transactions that counted as committed: with too few of them nothing is proved.
    pub judged: usize,
    /// Edges between them.
    pub edges: usize,
}

impl AnomalyKind {
    /// The name: that of Adya's classes, with `-process` or `-realtime` behind it where it needs them.
    pub fn name(self) -> &'static str {
        use CycleClass::{G0, G1c, G2, GSingle};
        use CycleOrder::{Plain, Process, Realtime};
        match self {
            AnomalyKind::AbortedRead => "G1a",
            AnomalyKind::IntermediateRead => "G1b",
            AnomalyKind::Internal => "internal",
            AnomalyKind::Duplicate => "duplicate",
            AnomalyKind::GarbageRead => "garbage-read",
            AnomalyKind::IncompatibleOrder => "incompatible-order",
            AnomalyKind::LostUpdate => "lost-update",
            AnomalyKind::Cycle(G0, Plain) => "G0",
            AnomalyKind::Cycle(G0, Process) => "G0-process",
            AnomalyKind::Cycle(G0, Realtime) => "G0-realtime",
            AnomalyKind::Cycle(G1c, Plain) => "G1c",
            AnomalyKind::Cycle(G1c, Process) => "G1c-process",
            AnomalyKind::Cycle(G1c, Realtime) => "G1c-realtime",
            AnomalyKind::Cycle(GSingle, Plain) => "G-single",
            AnomalyKind::Cycle(GSingle, Process) => "G-single-process",
            AnomalyKind::Cycle(GSingle, Realtime) => "G-single-realtime",
            AnomalyKind::Cycle(G2, Plain) => "G2",
            AnomalyKind::Cycle(G2, Process) => "G2-process",
            AnomalyKind::Cycle(G2, Realtime) => "G2-realtime",
        }
    }

    /// Whether only the order of clients or of time is broken: a serializable system may do it.
    pub fn needs_order(self) -> bool {
        matches!(self, AnomalyKind::Cycle(_, CycleOrder::Process | CycleOrder::Realtime))
    }
}

impl CycleVerdict {
    /// Whether nothing was found.
    pub fn is_clean(&self) -> bool {
        self.anomalies.is_empty()
    }

    /// The names of the listed anomalies, each once, in alphabetical order.
    pub fn names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.anomalies.iter().map(|anomaly| anomaly.kind.name()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    pub(crate) fn report(&mut self, kind: AnomalyKind, transactions: &[u32], keys: &[u64], story: String) {
        if self.anomalies.len() == LISTED_MAX {
            self.left_out += 1;
            return;
        }
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        keys.dedup();
        let transactions = transactions.iter().map(|transaction| TransactionIndex(*transaction)).collect();
        self.anomalies.push(Anomaly { kind, transactions, keys, story });
    }
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.name(), self.story)
    }
}

impl fmt::Display for CycleVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_clean() {
            return write!(f, "no anomaly in {} transactions", self.judged);
        }
        let found = self.anomalies.len() + self.left_out;
        write!(f, "{found} anomalies in {} transactions", self.judged)?;
        self.anomalies.iter().try_for_each(|anomaly| write!(f, "\n  {anomaly}"))?;
        if self.left_out > 0 {
            write!(f, "\n  and {} more", self.left_out)?;
        }
        Ok(())
    }
}
