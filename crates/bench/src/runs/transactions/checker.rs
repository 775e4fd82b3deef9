//! The checker of histories: a program of its own, so that its memory is its own.

use std::process::Stdio;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::args::TransactionsArgs;
use crate::report::{Figure, Goal, Report};

/// Where cargo puts it, and what builds it.
const PROGRAM: &str = "examples/cycles_bench";
const HINT: &str = "build it with `cargo build --release -p strata-check --example cycles_bench`";
/// Goals for 5 million transactions.
const RATE_MIN: f64 = 200_000.0;
const MEBIBYTES_MAX: f64 = 4_096.0;

/// Measures it.
pub(super) async fn run(args: &TransactionsArgs, report: &mut Report) -> Result<Value> {
    let program = std::env::current_exe()?.with_file_name(PROGRAM);
    if !program.is_file() {
        let problem = format!("{} does not exist: {HINT}", program.display());
        if !args.only.is_empty() {
            bail!(problem);
        }
        report.notes.push(format!("**The checker was not measured:** {problem}"));
        return Ok(Value::Null);
    }
    let count = args.amount(args.history);
    let mut command = Command::new(&program);
    command.arg(count.to_string()).stdin(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
    let output = command.output().await.with_context(|| format!("{} cannot be started", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() {
        bail!("{} ended ({}): {text}", program.display(), output.status);
    }
    let rate = number_before(&text, " transactions/s").with_context(|| format!("no rate in: {text}"))?;
    let mebibytes = number_before(&text, " MiB").with_context(|| format!("no memory in: {text}"))?;
    let what = format!("checker, {count} transactions");
    report.figures.push(Figure::new(format!("{what}: a second"), rate, "/s", Goal::AtLeast(RATE_MIN)));
    report.figures.push(Figure::new(format!("{what}: memory"), mebibytes, "MiB", Goal::AtMost(MEBIBYTES_MAX)));
    report.notes.push(format!("checker: {text}"));
    Ok(json!({ "transactions": count, "rate": rate, "mebibytes": mebibytes }))
}

/// The number that stands before the last of these words.
fn number_before(text: &str, words: &str) -> Option<f64> {
    let (before, _) = text.rsplit_once(words)?;
    before.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_in_what_the_checker_prints() {
        let text = "both: fine\n  made and recorded in 2.00 s, peak 300 MiB\n  judged in 4.00 s: 250000 \
                    transactions/s, 9 edges, peak 900 MiB";
        assert_eq!(number_before(text, " transactions/s"), Some(250_000.0));
        assert_eq!(number_before(text, " MiB"), Some(900.0));
        assert_eq!(number_before("nothing", " MiB"), None);
    }
}
