//! `make sim SEED=n`: replays one seed; without one, runs seeds until the time is up. The last line is the verdict.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a command-line tool: it prints, and times itself")]

mod arguments;
mod ledger;
mod mutants;

use std::process::ExitCode;
use std::sync::OnceLock;
use std::time::Instant;

use strata_sim::{Plan, Report, run};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::arguments::Arguments;
use crate::ledger::Tally;

/// A seventh of the time of a run goes to the system's allocator otherwise.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A machine that is shown nothing for what it would have to wait for may panic over it, and that is caught, so nothing is
/// said of panics of nodes: those that are not caught stop the node, which is a violation. The simulator's own are shown.
fn quiet_panics() {
    let shown = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.location().is_some_and(|location| location.file().contains("crates/sim/")) {
            shown(panic);
        }
    }));
}

/// Simulated seconds since the first line.
#[derive(Default)]
struct Simulated(OnceLock<tokio::time::Instant>);

impl FormatTime for Simulated {
    fn format_time(&self, line: &mut Writer<'_>) -> std::fmt::Result {
        let start = self.0.get_or_init(tokio::time::Instant::now);
        write!(line, "{:>10.6}", start.elapsed().as_secs_f64())
    }
}

fn main() -> ExitCode {
    let checked = Arguments::parse(std::env::args().skip(1)).and_then(|arguments| {
        arguments.mutant.as_deref().map_or(Ok(()), mutants::choose)?;
        Ok(arguments)
    });
    let arguments = match checked {
        Ok(arguments) => arguments,
        Err(error) => {
            println!("{error}");
            return ExitCode::from(2);
        }
    };
    quiet_panics();
    if let Some(filter) = &arguments.log {
        let format = tracing_subscriber::fmt().with_env_filter(filter).with_timer(Simulated::default());
        format.with_ansi(false).with_writer(std::io::stderr).init();
    }
    let tally = run_all(&arguments);
    if let Some(file) = &arguments.ledger
        && let Err(error) = tally.append_to(file, &arguments.commit)
    {
        println!("the ledger {} cannot be written: {error}", file.display());
        return ExitCode::from(2);
    }
    println!("{} violations", tally.violations);
    if tally.violations == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_all(arguments: &Arguments) -> Tally {
    let (start, mut tally, mut seed) = (Instant::now(), Tally::default(), arguments.seed);
    loop {
        let Arguments { seconds, nodes, stories, version, full_disks, .. } = *arguments;
        let report = run(Plan { seed, seconds, nodes, stories, version, full_disks });
        tally.add(&report);
        print(&report, arguments.trace);
        seed += 1;
        let is_enough = seed - arguments.seed >= arguments.runs
            && arguments.wall.is_none_or(|wall| start.elapsed() >= wall)
            && arguments.simulated.is_none_or(|wanted| tally.simulated >= wanted);
        if is_enough {
            break;
        }
    }
    let simulated = tally.simulated.as_secs_f64();
    println!("{simulated:.0} simulated seconds, {:.0} a second", simulated / start.elapsed().as_secs_f64());
    tally
}

fn print(report: &Report, trace: bool) {
    if trace || !report.violations.is_empty() {
        println!("{}", report.trace);
    }
    println!(
        "seed {}: {:.1} s, {} faults, {} operations acknowledged, {} messages, {} states checked, {} joins, {} moves, \
         {} removals, {} programs exchanged, {} disks filled, {} transactions committed, {} aborted",
        report.seed,
        report.simulated.as_secs_f64(),
        report.faults,
        report.acknowledged,
        report.messages,
        report.checks,
        report.joins,
        report.moves,
        report.removals,
        report.exchanges,
        report.full_disks,
        report.committed,
        report.aborted
    );
    for violation in &report.violations {
        println!("VIOLATION {violation}");
    }
}
