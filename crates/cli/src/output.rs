//! Standard output, for people or for scripts.

use std::io::{self, Write};

use clap::ValueEnum;
use serde_json::Value;

use crate::failure::Failure;

/// How a command answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For scripts: one JSON value a line.
    Json,
}

/// An answer in both forms.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// For people; bytes, because values are. Ends without a line break.
    pub text: Vec<u8>,
    /// For scripts.
    pub json: Value,
}

impl Answer {
    /// From both forms.
    pub fn new(text: impl Into<Vec<u8>>, json: Value) -> Answer {
        Answer { text: text.into(), json }
    }
}

impl Format {
    /// Prints an answer to standard output.
    pub fn print(self, answer: &Answer) -> Result<(), Failure> {
        match self {
            Format::Text => print_line(&answer.text),
            Format::Json => print_line(answer.json.to_string().as_bytes()),
        }
    }

    /// Prints a failure to standard error.
    pub fn complain(self, failure: &Failure) {
        match self {
            Format::Text => print_error_line(&failure.to_string()),
            Format::Json => print_error_line(&failure.to_json().to_string()),
        }
    }
}

/// Prints one line to standard output.
pub fn print_line(line: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(line).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()).map_err(unprinted)
}

/// Prints to standard output, without a line break.
pub fn print_text(text: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text).and_then(|()| out.flush()).map_err(unprinted)
}

/// What was asked for was done: only its answer is missing.
fn unprinted(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => error.into(),
        _ => Failure::new(format!("the answer could not be written to standard output: {error}")),
    }
}

/// Prints one line to standard error, where everything goes that is no answer (CLI-2). Nothing can be done when that
/// fails.
pub fn print_error_line(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// "1 replica", "2 replicas".
pub fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// Columns, each as wide as its widest cell.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([head[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let cells = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(head.to_vec())];
    lines.extend(rows.iter().map(|row| line(row.iter().map(String::as_str).collect())));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_cannot_be_written_is_not_taken_for_a_trouble_of_the_cluster() {
        let failure = unprinted(io::ErrorKind::StorageFull.into());
        assert!(failure.message.contains("standard output"), "{failure}");
        assert!(unprinted(io::ErrorKind::BrokenPipe.into()).is_broken_pipe());
    }

    #[test]
    fn columns_are_aligned() {
        let rows = vec![vec!["n1".to_owned(), "up".to_owned()], vec!["n10".to_owned(), "down".to_owned()]];
        assert_eq!(table(&["node", "state"], &rows), "node  state\nn1    up\nn10   down");
    }
}
