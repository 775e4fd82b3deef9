//! What a run says: tables for people, JSON for scripts, goals beside what was measured.

mod machine;
mod statistics;
mod table;

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;

pub(crate) use machine::{Machine, fdatasync_latency};
pub(crate) use statistics::{median, spread};
pub(crate) use table::{Table, number};

/// One run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// The command.
    pub(crate) command: &'static str,
    /// Where it ran.
    pub(crate) machine: Machine,
    /// What was reached.
    pub(crate) figures: Vec<Figure>,
    /// Acknowledged writes that were not found again, and refused ones that were.
    pub(crate) lost: u64,
    /// Everything that was measured.
    pub(crate) data: Value,
    #[serde(skip)]
    pub(crate) tables: Vec<Table>,
    #[serde(skip)]
    pub(crate) notes: Vec<String>,
}

/// One number with its goal.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    /// What it is.
    pub(crate) what: String,
    /// Its value.
    pub(crate) measured: f64,
    /// Its unit.
    pub(crate) unit: &'static str,
    /// What it should be.
    pub(crate) goal: Goal,
    /// Operations that failed while it was measured.
    pub(crate) failed: u64,
    /// Whether it is.
    pub(crate) is_met: bool,
}

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Goal {
    /// This or more.
    AtLeast(f64),
    /// This or less.
    AtMost(f64),
}

impl Goal {
    fn is_met(self, measured: f64) -> bool {
        match self {
            Goal::AtLeast(bound) => measured >= bound,
            Goal::AtMost(bound) => measured <= bound,
        }
    }

    fn text(self, unit: &str) -> String {
        match self {
            Goal::AtLeast(bound) => format!(">= {}", with_unit(bound, unit)),
            Goal::AtMost(bound) => format!("<= {}", with_unit(bound, unit)),
        }
    }
}

impl Figure {
    /// A number beside its goal.
    pub(crate) fn new(what: impl Into<String>, measured: f64, unit: &'static str, goal: Goal) -> Figure {
        Figure { what: what.into(), measured, unit, goal, failed: 0, is_met: goal.is_met(measured) }
    }

    /// A latency or a throughput beside which so many operations failed: they were neither fast nor done, so no goal is
    /// met.
    pub(crate) fn with_failed(self, failed: u64) -> Figure {
        Figure { failed, is_met: self.is_met && failed == 0, ..self }
    }
}

impl Report {
    /// An empty one.
    pub(crate) fn new(command: &'static str) -> Report {
        Report {
            command,
            machine: Machine::default(),
            figures: Vec::new(),
            lost: 0,
            data: Value::Null,
            tables: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// As Markdown, to be read or pasted.
    pub(crate) fn text(&self) -> String {
        let mut parts = vec![format!("## {}\n\n{}", self.command, self.machine.text())];
        parts.extend(self.tables.iter().map(Table::markdown));
        if !self.figures.is_empty() {
            parts.push(figures(&self.figures).markdown());
        }
        parts.extend(self.notes.iter().cloned());
        parts.join("\n\n") + "\n"
    }
}

/// The figures of several reports in one table.
pub(crate) fn summary(reports: &[Report]) -> String {
    let all: Vec<Figure> = reports.iter().flat_map(|report| report.figures.iter().cloned()).collect();
    format!("## summary\n\n{}\n", figures(&all).markdown())
}

fn figures(figures: &[Figure]) -> Table {
    let mut table = Table::new(&["figure", "measured", "goal", "met"]);
    for figure in figures {
        let met = match (figure.is_met, figure.failed) {
            (true, _) => "yes".to_owned(),
            (false, 0) => "**no**".to_owned(),
            (false, failed) => format!("**no** ({failed} failed)"),
        };
        let measured = with_unit(figure.measured, figure.unit);
        table.row([figure.what.clone(), measured, figure.goal.text(figure.unit), met]);
    }
    table
}

/// A ratio reads `1.5x`, everything else `1.5 s`.
fn with_unit(value: f64, unit: &str) -> String {
    match unit {
        "x" => format!("{value:.2}x"),
        "" => number(value),
        _ => format!("{} {unit}", number(value)),
    }
}

/// Prints to standard output.
pub(crate) fn print_line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Tells what is going on, on standard error. Nothing can be done when that fails.
pub(crate) fn print_error(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_beside_their_goals() {
        let mut report = Report::new("failover");
        report.figures.push(Figure::new("write gap, longest", 1.2, "s", Goal::AtMost(1.0)));
        report.figures.push(Figure::new("against etcd", 4.05, "x", Goal::AtLeast(4.0)));
        report.figures.push(Figure::new("acked writes lost", 0.0, "", Goal::AtMost(0.0)));
        let text = report.text();
        assert!(text.contains("| write gap, longest |   1.20 s | <= 1.00 s | **no** |"), "{text}");
        assert!(text.contains("| against etcd       |    4.05x |  >= 4.00x |    yes |"), "{text}");
        assert!(text.contains("| acked writes lost  |        0 |      <= 0 |    yes |"), "{text}");
        let json = serde_json::to_value(&report).expect("JSON");
        assert_eq!(json["figures"][0]["goal"]["at_most"], 1.0);
        assert_eq!(json["figures"][0]["is_met"], false);
    }

    #[test]
    fn nothing_is_fast_where_something_failed() {
        let mut report = Report::new("peers");
        let figure = || Figure::new("p99 beside etcd's", 0.5, "x", Goal::AtMost(1.0));
        report.figures.extend([figure().with_failed(0), figure().with_failed(3)]);
        assert_eq!([report.figures[0].is_met, report.figures[1].is_met], [true, false]);
        let text = report.text();
        assert!(text.contains("**no** (3 failed) |") && text.contains(" yes |"), "{text}");
    }
}
