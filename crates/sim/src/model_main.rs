//! `make model`: plays schedules of transactions against the real apply code, and judges each. The last line is the
//! verdict. A schedule is its seed: what violates something is shown step by step, and can be played again.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a command-line tool: it prints, and times itself")]

use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::Instant;

use strata_sim::model::{Outcome, Rule, play};

const USAGE: &str = "\
usage: strata-model [--seed N] [--schedules N] [--without RULE] [--trace]

  --seed N        first seed (default 1)
  --schedules N   how many (default 100000); the last one has seed N + schedules - 1
  --without RULE  take out a rule of docs/transactions.md; --without list names them
  --trace         print every step of every schedule

example: strata-model --seed 1 --schedules 100000 --without read-raises-clock";

struct Arguments {
    seed: u64,
    schedules: u64,
    without: Option<Rule>,
    trace: bool,
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut parsed = Arguments { seed: 1, schedules: 100_000, without: None, trace: false };
    while let Some(name) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{name} needs a value"));
        match name.as_str() {
            "--seed" => parsed.seed = number(&name, &value()?)?,
            "--schedules" => parsed.schedules = number(&name, &value()?)?,
            "--without" => parsed.without = Some(rule(&value()?)?),
            "--trace" => parsed.trace = true,
            "--help" | "-h" => return Err(USAGE.to_owned()),
            _ => return Err(format!("unknown argument `{name}`\n\n{USAGE}")),
        }
    }
    Ok(parsed)
}

fn number(name: &str, value: &str) -> Result<u64, String> {
    value.parse().map_err(|_| format!("{name} needs a number, not `{value}`"))
}

fn rule(name: &str) -> Result<Rule, String> {
    let found = Rule::named(name).ok_or_else(|| {
        let names: Vec<String> = Rule::ALL.iter().map(|(_, id, name)| format!("  {id:<7} {name}")).collect();
        format!("no rule `{name}`; there are\n{}", names.join("\n"))
    });
    found.and_then(|rule| switch_off(rule).map(|()| rule))
}

/// Rules that the shard's code keeps are taken out there.
#[cfg(debug_assertions)]
fn switch_off(rule: Rule) -> Result<(), String> {
    if let Some(mutant) = rule.mutant() {
        strata_shard::mutant::choose(mutant);
    }
    Ok(())
}

#[cfg(not(debug_assertions))]
fn switch_off(rule: Rule) -> Result<(), String> {
    if rule.is_of_the_shard() {
        return Err("the shard's seeded bugs are compiled into debug builds only".into());
    }
    Ok(())
}

/// Plays a schedule; a panic is a violation as well.
fn try_play(seed: u64, without: Option<Rule>, trace: bool) -> Outcome {
    catch_unwind(|| play(seed, without, trace)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        Outcome { steps: 0, effects: 0, violation: Some(format!("a panic: {text}")), trace: Vec::new() }
    })
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            println!("{error}");
            return ExitCode::from(2);
        }
    };
    std::panic::set_hook(Box::new(|_| {}));
    let start = Instant::now();
    let (mut played, mut steps, mut effects, mut violation) = (0, 0, 0, None);
    for seed in arguments.seed..arguments.seed + arguments.schedules {
        let outcome = try_play(seed, arguments.without, arguments.trace);
        (played, steps, effects) = (played + 1, steps + u64::from(outcome.steps), effects + outcome.effects);
        outcome.trace.iter().for_each(|line| println!("{line}"));
        if let Some(what) = outcome.violation {
            violation = Some((seed, what));
            break;
        }
    }
    if let Some((seed, what)) = &violation {
        if !arguments.trace {
            try_play(*seed, arguments.without, true).trace.iter().for_each(|line| println!("{line}"));
        }
        println!("seed {seed}: VIOLATION {what}");
    }
    let (seconds, per) = (start.elapsed().as_secs_f64(), |count: u64| count as f64 / played as f64);
    println!(
        "{played} schedules, {:.0} a second, {:.0} steps and {:.1} effects each",
        played as f64 / seconds,
        per(steps),
        per(effects as u64)
    );
    println!("{} violations", usize::from(violation.is_some()));
    if violation.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
