//! What several runs came to, and the file that keeps it.

use std::fmt;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use strata_sim::Report;

/// The sum of several runs.
#[derive(Default)]
pub(crate) struct Tally {
    seeds: Option<(u64, u64)>,
    pub(crate) simulated: Duration,
    faults: u64,
    acknowledged: u64,
    /// Transactions that committed.
    committed: u64,
    changes: u64,
    pub(crate) violations: usize,
    failed: Vec<u64>,
}

impl Tally {
    pub(crate) fn add(&mut self, report: &Report) {
        let first = self.seeds.map_or(report.seed, |(first, _)| first);
        self.seeds = Some((first, report.seed));
        self.simulated += report.simulated;
        self.faults += report.faults;
        self.acknowledged += report.acknowledged;
        self.committed += report.committed;
        self.changes += report.moves;
        self.violations += report.violations.len();
        if !report.violations.is_empty() {
            self.failed.push(report.seed);
        }
    }

    /// Adds a line to the table at the end of a file.
    pub(crate) fn append_to(&self, file: &Path, commit: &str) -> std::io::Result<()> {
        let mut ledger = std::fs::OpenOptions::new().append(true).open(file)?;
        writeln!(ledger, "| {commit} {self}")
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = self.seeds.unwrap_or_default();
        let hours = self.simulated.as_secs_f64() / 3_600.0;
        let Tally { faults, acknowledged, committed, changes, violations, failed, .. } = self;
        write!(f, "| {first} to {last} | {hours:.2} | {faults} | {acknowledged} | {committed} | {changes} | ")?;
        match violations {
            0 => write!(f, "clean |"),
            _ => write!(f, "{violations} violations, seeds {failed:?} |"),
        }
    }
}
