//! Checkers of one workload each, for promises that need no search: each looks once at everything that was recorded.
//!
//! They catch less than [`check_strictly_serializable`](crate::check_strictly_serializable) and say it more plainly,
//! and they work where its histories cannot be had: with sums, counters and reads of whole sets. None of them uses
//! another one's logic; each finding names the read and what it contradicts.

mod bank;
mod causal_reverse;
mod counter;
mod long_fork;
mod set;

use std::fmt;

pub use bank::Bank;
pub use causal_reverse::CausalReverse;
pub use counter::Counter;
pub use long_fork::LongFork;
pub use set::{SetHistory, SetReport};

/// Findings that a report lists; the others it counts.
const LISTED_MAX: usize = 20;

/// How a write ended, as its client knows. Times are logical, as in the other histories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteOutcome {
    /// It took effect before this time.
    Acknowledged {
        /// When that was learned.
        at: u64,
    },
    /// It did not take effect and never will.
    Refused,
    /// It takes effect at any time after it began, or never.
    Unknown,
}

/// What a workload's checker found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkloadReport {
    /// Reads that were judged: with too few of them nothing is proved.
    pub reads: usize,
    /// One sentence for each finding, in the order of the reads.
    pub findings: Vec<String>,
    /// Findings that are not listed, because there are too many.
    pub left_out: usize,
}

impl WriteOutcome {
    /// When it was known to have taken effect.
    fn ended(self) -> Option<u64> {
        match self {
            WriteOutcome::Acknowledged { at } => Some(at),
            WriteOutcome::Refused | WriteOutcome::Unknown => None,
        }
    }
}

impl WorkloadReport {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    fn find(&mut self, finding: impl FnOnce() -> String) {
        match self.findings.len() < LISTED_MAX {
            true => self.findings.push(finding()),
            false => self.left_out += 1,
        }
    }
}

impl fmt::Display for WorkloadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} findings in {} reads", self.findings.len() + self.left_out, self.reads)?;
        self.findings.iter().try_for_each(|finding| write!(f, "\n  {finding}"))?;
        if self.left_out > 0 {
            write!(f, "\n  and {} more", self.left_out)?;
        }
        Ok(())
    }
}
