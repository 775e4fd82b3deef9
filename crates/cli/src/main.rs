//! The program `strata`: the command line over everything else.
//!
//! # Problem
//! One program is the server, the demo, the client for scripts and the benchmark, and a newcomer should be at a
//! prompt within a minute.
//!
//! # Model
//! ```text
//!   args      what the user typed, as data            every command ends in an Answer (text and JSON)
//!   commands  one file a command                      or a Failure (one sentence, the next step, a status)
//!   usage     what cannot be read, as a Failure
//!   session   plain gRPC to any node (kv, txn, cluster, shell)
//!   bench     load through the SDK or plain calls
//!   demo      child processes of this very program, and a shell
//! ```
//! This is also where RocksDB is chosen: the server below takes any engine.
//!
//! # Invariants
//! - CLI-1: exit status 0 means that what was asked for was done.
//! - CLI-2: standard output carries answers only; errors and logs go to standard error.
#![allow(clippy::disallowed_methods, reason = "an edge: it is here that the world is let in")]
#![allow(unreachable_pub, reason = "a program has no outside: `pub` here means that other modules use it")]

mod args;
mod bench;
mod commands;
mod demo;
mod encoding;
mod failure;
mod logging;
mod output;
mod program;
mod session;
mod shell;
mod signals;
mod usage;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::args::{Cli, Command, ConfigCommand};
use crate::failure::Failure;
use crate::output::Format;

// The system's allocator returns memory late and contends when many threads free what others allocated, which is
// what every request does here.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let (format, result) = match Cli::try_parse() {
        Ok(cli) => (cli.format, logging::start().and_then(|()| run(cli))),
        Err(error) => refuse(&error),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is_broken_pipe() => ExitCode::SUCCESS,
        Err(failure) => {
            format.complain(&failure);
            ExitCode::from(failure.status)
        }
    }
}

/// Where the parser's own words will do, which is for people, it says them itself. Help and version are always that.
fn refuse(error: &clap::Error) -> (Format, Result<(), Failure>) {
    let words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    match usage::format_of(&words, std::env::var("STRATA_FORMAT").ok().as_deref()) {
        Format::Json if error.use_stderr() => (Format::Json, Err(usage::failure_of(error))),
        Format::Json | Format::Text => error.exit(),
    }
}

/// Threads that run tasks: one core is left to those that write the log and apply entries. With a thread for every core
/// they all wait for each other, which costs a durable put a fifth of its latency on two cores.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() - 1).max(1)
}

/// How long the tasks of a node that ended may take to let go of what they hold. A thread that waits for standard input
/// cannot be joined: where there is one, this time passes in vain.
const RELEASE_DEADLINE: Duration = Duration::from_secs(1);

fn run(cli: Cli) -> Result<(), Failure> {
    let is_node = matches!(cli.command, Command::Start(_));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers()).enable_all().build()?;
    let result = runtime.block_on(dispatch(cli));
    if is_node {
        // Some task may be the last that holds a tablet, and closes it. If the process ended meanwhile, RocksDB would
        // find its own parts gone and abort.
        runtime.shutdown_timeout(RELEASE_DEADLINE);
    } else {
        runtime.shutdown_background();
    }
    result
}

async fn dispatch(cli: Cli) -> Result<(), Failure> {
    let format = cli.format;
    match cli.command {
        Command::Start(args) => commands::start::run(*args, format).await,
        Command::Demo(args) => commands::demo::run(args, format).await,
        Command::Kv(args) => commands::kv::run(args, format).await,
        Command::Txn(args) => commands::txn::run(args, format).await,
        Command::Cluster(args) => commands::cluster::run(args, format).await,
        Command::Bench(command) => commands::bench::run(command, format).await,
        Command::Cert(command) => commands::cert::run(&command, format),
        Command::Config(ConfigCommand::Show(args)) => commands::config::show(&args, format),
        Command::Completion { shell } => commands::completion::run(shell),
    }
}
