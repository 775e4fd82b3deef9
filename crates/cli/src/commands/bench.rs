//! `strata bench`.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};

use super::kv::Pages;
use crate::args::{BenchCommand, BenchKvArgs, KvCommand, ReadArgs};
use crate::bench::{Load, Mix, Pace, Plan, Report, Target};
use crate::encoding::Encoding;
use crate::failure::{Failure, STATUS_INTERRUPTED};
use crate::output::Format;
use crate::session::Session;
use crate::signals::Signals;

/// How often the progress bar moves.
const REDRAW: Duration = Duration::from_millis(200);

/// Runs a benchmark and prints what came out.
pub async fn run(command: BenchCommand, format: Format) -> Result<(), Failure> {
    let BenchCommand::Kv(args) = command;
    let mut signals = Signals::take()?;
    tokio::select! {
        result = kv(&args, format) => result,
        () = signals.next() => Err(left(&args, Failure::new("interrupted").status(STATUS_INTERRUPTED))),
    }
}

/// Measures, says what came out, and cleans up.
async fn kv(args: &BenchKvArgs, format: Format) -> Result<(), Failure> {
    let target = Target::open(args).await?;
    let report = measure(args, &target).await.map_err(|failure| left(args, failure))?;
    let printed = format.print(&report.answer());
    report.check().map_err(|failure| left(args, failure))?;
    if !args.keep {
        remove_keys(args, &target).await.map_err(|failure| left(args, failure))?;
    }
    printed
}

async fn measure(args: &BenchKvArgs, target: &Target) -> Result<Report, Failure> {
    let plan = plan_of(args);
    if args.read_percent > 0 {
        let bar = bar(u64::from(args.keys), "writing keys {wide_bar} {pos}/{len}");
        Load::fill(target, &plan, &|written| bar.set_position(written)).await?;
        bar.finish_and_clear();
    }
    let (pace, measured, name) = (plan.pace, plan.measured, target.name());
    let load = Load::new(target.clone(), plan.clone());
    let drawing = tokio::spawn(draw(load.clone(), plan.warmup, plan.measured));
    load.run().await;
    drawing.abort();
    Ok(Report { samples: load.recorder().samples(), elapsed: measured, pace, target: name, keeps: args.keep })
}

/// Removes the keys that this run may have written: only what is there need be gone through, however many there could
/// be.
async fn remove_keys(args: &BenchKvArgs, target: &Target) -> Result<(), Failure> {
    let session = Session::new(&args.connect)?;
    let (start, end) = (Some(name_of(0)), Some(name_of(args.keys)));
    let (prefix, limit, reads) = (None, None, ReadArgs::default());
    let scan = KvCommand::Scan { start, end, prefix, limit, keys_only: true, reads };
    let is_own = |key: &Bytes| Mix::number_of(key).is_some_and(|number| number < args.keys);
    let mut pages = Pages::of(&session, &scan, Encoding::default())?;
    let bar = bar(0, "removing keys {pos}");
    while let Some(page) = pages.next().await? {
        let keys: Vec<Bytes> = page.into_iter().map(|item| item.key).filter(is_own).collect();
        let removed = keys.len() as u64;
        Load::remove(target, keys).await?;
        bar.inc(removed);
    }
    bar.finish_and_clear();
    Ok(())
}

/// What was written is not removed, or not all of it.
fn left(args: &BenchKvArgs, failure: Failure) -> Failure {
    if args.keep {
        return failure;
    }
    let (first, last) = (name_of(0), name_of(args.keys - 1));
    let left = format!(
        "the keys {first} to {last} may still be there: the next run of as many --keys that ends well removes them"
    );
    let hint = match &failure.hint {
        Some(hint) => format!("{hint}; {left}"),
        None => left,
    };
    failure.hint(hint)
}

/// Key number `number` as it is typed.
fn name_of(number: u32) -> String {
    String::from_utf8_lossy(&Mix::key(number)).into_owned()
}

fn plan_of(args: &BenchKvArgs) -> Plan {
    let pace = match args.rate {
        Some(rate) => Pace::Open { rate, under_way_max: args.under_way_max },
        None => Pace::Closed { clients: args.clients },
    };
    Plan {
        pace,
        mix: Mix { keys: args.keys, read_percent: args.read_percent, value_bytes: args.value_bytes as usize },
        warmup: args.warmup,
        measured: args.seconds,
        seed: args.seed,
    }
}

/// Moves the progress bar until it is stopped.
async fn draw(load: Arc<Load>, warmup: Duration, measured: Duration) {
    let all = warmup + measured;
    let bar = bar(all.as_millis() as u64, "{msg} {wide_bar} {percent}%");
    let mut ticks = tokio::time::interval(REDRAW);
    let begin = tokio::time::Instant::now();
    loop {
        ticks.tick().await;
        let elapsed = begin.elapsed();
        bar.set_position(elapsed.min(all).as_millis() as u64);
        if elapsed < warmup {
            bar.set_message("warming up");
        } else {
            let seconds = (elapsed - warmup).as_secs_f64().max(REDRAW.as_secs_f64());
            bar.set_message(format!("{:.0} operations/s", load.recorder().succeeded() as f64 / seconds));
        }
    }
}

/// A bar on standard error; invisible when that is no terminal.
fn bar(length: u64, template: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style)
}
