//! `make sim SEED=n`: replays one seed; without one, runs seeds until the time is up. The last line is the verdict.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a command-line tool: it prints, and times itself")]

use std::time::{Duration, Instant};

use strata_sim::{Plan, Report, run};

const USAGE: &str = "\
usage: strata-sim [--seed N] [--seconds S] [--runs R] [--wall W] [--nodes N] [--trace] [--mutant NAME]

  --seed N      first seed (default 1); alone it replays that seed and prints what happened
  --seconds S   simulated seconds under faults a run (default 60)
  --runs R      number of seeds (default 1)
  --wall W      go on with further seeds for W seconds of real time
  --nodes N     number of nodes (default: 3 to 5, from the seed)
  --trace       print every event of every run
  --mutant NAME switch on a seeded bug, which must be found: read-without-quorum, ack-before-sync (debug builds)

example: strata-sim --seed 7 --trace";

struct Arguments {
    seed: u64,
    seconds: u64,
    runs: u64,
    wall: Option<Duration>,
    nodes: Option<usize>,
    trace: bool,
    mutant: Option<String>,
}

fn parse() -> Result<Arguments, String> {
    let mut parsed = Arguments { seed: 1, seconds: 60, runs: 1, wall: None, nodes: None, trace: false, mutant: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        match name.as_str() {
            "--seed" => parsed.seed = number(&name, arguments.next())?,
            "--seconds" => parsed.seconds = number(&name, arguments.next())?,
            "--runs" => parsed.runs = number(&name, arguments.next())?,
            "--wall" => parsed.wall = Some(Duration::from_secs(number(&name, arguments.next())?)),
            "--nodes" => parsed.nodes = Some(number(&name, arguments.next())?.clamp(3, 5) as usize),
            "--trace" => parsed.trace = true,
            "--mutant" => parsed.mutant = arguments.next(),
            "--help" | "-h" => return Err(USAGE.to_owned()),
            _ => return Err(format!("unknown argument `{name}`\n\n{USAGE}")),
        }
    }
    Ok(parsed)
}

fn number(name: &str, value: Option<String>) -> Result<u64, String> {
    let value = value.ok_or_else(|| format!("{name} needs a number"))?;
    value.parse().map_err(|_| format!("{name} needs a number, not `{value}`"))
}

#[cfg(debug_assertions)]
fn choose_mutant(name: &str) -> Result<(), String> {
    use strata_raft::mutant::{Mutant, choose};
    choose(match name {
        "read-without-quorum" => Mutant::ReadWithoutQuorum,
        "ack-before-sync" => Mutant::AckBeforeSync,
        _ => return Err(format!("unknown mutant `{name}`")),
    });
    Ok(())
}

#[cfg(not(debug_assertions))]
fn choose_mutant(_name: &str) -> Result<(), String> {
    Err("seeded bugs are compiled into debug builds only".into())
}

fn main() -> std::process::ExitCode {
    let checked = parse().and_then(|arguments| {
        arguments.mutant.as_deref().map_or(Ok(()), choose_mutant)?;
        Ok(arguments)
    });
    let arguments = match checked {
        Ok(arguments) => arguments,
        Err(error) => {
            println!("{error}");
            return std::process::ExitCode::from(2);
        }
    };
    let start = Instant::now();
    let (mut violations, mut simulated, mut seed) = (0, Duration::ZERO, arguments.seed);
    loop {
        let report = run(Plan { seed, seconds: arguments.seconds, nodes: arguments.nodes });
        violations += report.violations.len();
        simulated += report.simulated;
        print(&report, arguments.trace);
        seed += 1;
        let more_runs = seed - arguments.seed < arguments.runs;
        if !more_runs && arguments.wall.is_none_or(|wall| start.elapsed() >= wall) {
            break;
        }
    }
    let speed = simulated.as_secs_f64() / start.elapsed().as_secs_f64();
    println!("{:.0} simulated seconds, {speed:.0} a second", simulated.as_secs_f64());
    println!("{violations} violations");
    if violations == 0 { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE }
}

fn print(report: &Report, trace: bool) {
    if trace || !report.violations.is_empty() {
        println!("{}", report.trace);
    }
    println!(
        "seed {}: {:.1} s, {} faults, {} operations acknowledged, {} messages, {} states checked",
        report.seed,
        report.simulated.as_secs_f64(),
        report.faults,
        report.acknowledged,
        report.messages,
        report.checks
    );
    for violation in &report.violations {
        println!("VIOLATION {violation}");
    }
}
