//! Histories of transactions as text, one a line: client, beginning, end (`abort`, or `?` for unknown) and steps.
//!
//! ```text
//!   c1 1-4     x+1 x=[1]      appends 1 to the list x and reads it
//!   c2 2-abort y:=3           writes the register y
//!   c3 3-?     y=3 z=nil      reads registers
//! ```

use strata_check::transactions::{Step, TransactionHistory, TransactionOutcome};
use strata_types::ClientId;

pub(crate) fn history(text: &str) -> TransactionHistory {
    let mut history = TransactionHistory::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut words = split(line).into_iter();
        let client = number(words.next().expect("a client").trim_start_matches('c'));
        let times = words.next().expect("times");
        let (began, ended) = times.split_once('-').expect("two times");
        let outcome = match ended {
            "abort" => TransactionOutcome::Aborted,
            "?" => TransactionOutcome::Unknown,
            at => TransactionOutcome::Committed { at: number(at) },
        };
        let steps: Vec<Step> = words.map(|word| step(&word)).collect();
        history.record(ClientId(client), number(began), &steps, outcome);
    }
    history
}

/// Words, of which a list in brackets is one.
fn split(line: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for part in line.split_whitespace() {
        match words.last_mut() {
            Some(last) if last.contains('[') && !last.ends_with(']') => {
                last.push(' ');
                last.push_str(part);
            }
            _ => words.push(part.to_owned()),
        }
    }
    words
}

fn step(word: &str) -> Step {
    let (name, rest) = word.split_at(1);
    let key = u64::from(name.as_bytes()[0]);
    if let Some(value) = rest.strip_prefix('+') {
        return Step::Append { key, value: number(value) };
    }
    if let Some(value) = rest.strip_prefix(":=") {
        return Step::Write { key, value: number(value) };
    }
    let found = rest.strip_prefix('=').expect("a read");
    match found.strip_prefix('[') {
        Some(list) => {
            let values = list.trim_end_matches(']').split_whitespace();
            Step::ReadList { key, values: values.map(number).collect() }
        }
        None => Step::Read { key, value: (found != "nil").then(|| number(found)) },
    }
}

fn number(text: &str) -> u64 {
    text.parse().expect("a number")
}
