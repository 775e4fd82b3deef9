//! The program `strata-bench`: measures the figures of `docs/performance.md`.
//!
//! # Problem
//! A figure is worth something only if anybody can measure it again, if the machine and its noise stand beside it, and
//! if a comparison uses one harness for both sides in one run. This program starts what it measures (release builds of
//! `strata`, and etcd), on loopback (or each node in a network namespace, where it is to be cut off), in a temporary
//! directory, and ends it again.
//!
//! # Model
//! ```text
//!   runs    peers      etcd and strata by turns: puts and gets, callers by shards, operations per log entry
//!           latency    one durable put beside the machine's own fdatasync and a gRPC round trip
//!           failover   kill -9 of a shard's leader, again and again, under an open loop
//!           blackout   kill -9 of all nodes, with a GiB of data
//!           idle       memory and CPU of nodes that do nothing
//!           membership nodes join, drain, stop, lose their disks and fail while others join, under an open loop
//!           reads      CPU of a read by level, and by leaders or any replica
//!           transactions  what they cost beside bare puts and etcd, hot keys, snapshots under load
//!   load    closed loop, open loop, latencies; one `Caller` for etcd, our unary Kv and our SDK
//!   procs   child processes, the two kinds of cluster, /proc, /metrics
//!   report  Markdown tables for people and JSON for scripts, goals beside what was measured
//! ```
//! Commands for the Makefile (`--strata` defaults to the binary beside this one):
//! ```text
//!   make bench ARGS=...         strata-bench all
//!   make bench-peers ARGS=...   strata-bench peers, with an etcd that is installed if need be
//! ```
//!
//! # Invariants
//! - BENCH-1: no process outlives the run: children are killed by their own handle when it is dropped, and die with
//!   this process where the system can do that (`setpriv --pdeathsig`).
//! - BENCH-2: both sides of a ratio are measured in the same round, with the same loop, keys, values and connections.
//! - BENCH-3: every write that was acknowledged in a run that kills nodes is read back and compared; a lost one makes
//!   the exit status 1. So does one of an open loop that was refused and is there.
#![allow(clippy::disallowed_methods, reason = "an edge: it is here that the world is let in")]

mod args;
mod load;
mod procs;
mod report;
mod runs;
mod wire;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::{Cli, Command, Common, Format};
use crate::report::{Machine, Report, print_error, print_line};

/// Exit status when acknowledged writes were lost.
const STATUS_LOST: u8 = 1;
/// Exit status when nothing could be measured.
const STATUS_FAILED: u8 = 2;

// The same allocator as the program that is measured: the load generator's own cost is part of every closed loop, the
// peer's included.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    // Everything runs inside this one future: when a signal drops it, it takes the child processes with it.
    let result = runtime.block_on(async {
        tokio::select! {
            result = measure(&cli) => result,
            () = stopped() => Err(anyhow::anyhow!("stopped by a signal; nothing was left running")),
        }
    });
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(STATUS_LOST),
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    print_error(&format!("strata-bench: {error:#}"));
    ExitCode::from(STATUS_FAILED)
}

async fn stopped() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Carries out the command; false when acknowledged writes were lost.
async fn measure(cli: &Cli) -> Result<bool> {
    let reports = match &cli.command {
        Command::Peers(args) => vec![finish(runs::peers::run(args).await?, &args.common).await?],
        Command::Latency(args) => vec![finish(runs::latency::run(args).await?, &args.common).await?],
        Command::Failover(args) => vec![finish(runs::failover::run(args).await?, &args.common).await?],
        Command::Blackout(args) => vec![finish(runs::blackout::run(args).await?, &args.common).await?],
        Command::Idle(args) => vec![finish(runs::idle::run(args).await?, &args.common).await?],
        Command::Membership(args) => vec![finish(runs::membership::run(args).await?, &args.common).await?],
        Command::Reads(args) => vec![finish(runs::reads::run(args).await?, &args.common).await?],
        Command::Transactions(args) => vec![finish(runs::transactions::run(args).await?, &args.common).await?],
        Command::All(args) => {
            let common = &args.common;
            vec![
                finish(runs::latency::run(&args.latency()).await?, common).await?,
                finish(runs::failover::run(&args.failover()).await?, common).await?,
                finish(runs::blackout::run(&args.blackout()).await?, common).await?,
                finish(runs::idle::run(&args.idle()).await?, common).await?,
                finish(runs::transactions::run(&args.transactions()).await?, common).await?,
            ]
        }
    };
    if reports.len() > 1 && cli.common().format == Format::Text {
        print_line(&report::summary(&reports))?;
    }
    if let Some(path) = &cli.common().out {
        std::fs::write(path, serde_json::to_vec_pretty(&reports)?)?;
    }
    Ok(reports.iter().all(|report| report.lost == 0))
}

/// Prints a report as soon as it is there: a later run may fail.
async fn finish(mut report: Report, common: &Common) -> Result<Report> {
    report.machine = Machine::describe(&common.directory()).await?;
    if common.format == Format::Text {
        print_line(&report.text())?;
    }
    print_line(&serde_json::to_string(&report)?)?;
    Ok(report)
}
