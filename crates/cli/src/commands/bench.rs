//! `strata bench`.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::args::{BenchCommand, BenchKvArgs};
use crate::bench::{Load, Mix, Pace, Plan, Report, Target};
use crate::failure::{Failure, STATUS_INTERRUPTED};
use crate::output::Format;
use crate::signals::Signals;

/// How often the progress bar moves.
const REDRAW: Duration = Duration::from_millis(200);

/// Runs a benchmark and prints what came out.
pub async fn run(command: BenchCommand, format: Format) -> Result<(), Failure> {
    let BenchCommand::Kv(args) = command;
    let mut signals = Signals::take()?;
    tokio::select! {
        report = kv(&args) => {
            let report = report?;
            format.print(&report.answer())?;
            report.check()
        }
        () = signals.next() => Err(Failure::new("interrupted").status(STATUS_INTERRUPTED)),
    }
}

async fn kv(args: &BenchKvArgs) -> Result<Report, Failure> {
    let target = Target::open(args).await?;
    let plan = plan_of(args);
    if args.read_percent > 0 {
        let bar = bar(u64::from(args.keys), "writing keys {wide_bar} {pos}/{len}");
        Load::fill(&target, &plan, &|written| bar.set_position(written)).await?;
        bar.finish_and_clear();
    }
    let (pace, measured, name) = (plan.pace, plan.measured, target.name());
    let load = Load::new(target, plan.clone());
    let drawing = tokio::spawn(draw(load.clone(), plan.warmup, plan.measured));
    load.run().await;
    drawing.abort();
    Ok(Report { samples: load.recorder().samples(), elapsed: measured, pace, target: name })
}

fn plan_of(args: &BenchKvArgs) -> Plan {
    let pace = match args.rate {
        Some(rate) => Pace::Open { rate, under_way_max: args.under_way_max },
        None => Pace::Closed { clients: args.clients },
    };
    Plan {
        pace,
        mix: Mix { keys: args.keys, read_percent: args.read_percent, value_bytes: args.value_bytes as usize },
        warmup: Duration::from_secs(u64::from(args.warmup)),
        measured: Duration::from_secs(u64::from(args.seconds)),
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
