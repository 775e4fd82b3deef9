//! The command line, as data.

mod membership;
mod transactions;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use membership::{Fault, MembershipArgs, Part};
pub(crate) use transactions::{TransactionsArgs, TransactionsPart};

/// Measures Strata on this machine: starts clusters on loopback, puts load on them, kills nodes.
#[derive(Debug, Parser)]
#[command(name = "strata-bench", version, arg_required_else_help = true, after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// What to measure
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  strata-bench all                     everything that needs no other database
  strata-bench peers --out peers.json  beside etcd, in the same run
  strata-bench failover --kills 5 --quick";

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Puts and gets beside a three-node etcd, by turns
    #[command(after_help = "Example:\n  strata-bench peers --shards 1 --only put --rounds 5")]
    Peers(PeersArgs),
    /// One durable put beside the machine's own fdatasync and a gRPC round trip
    #[command(after_help = "Example:\n  strata-bench latency --samples 5000")]
    Latency(LatencyArgs),
    /// Kill -9 of a shard's leader under load, again and again
    #[command(after_help = "Example:\n  strata-bench failover --kills 30 --shards 16")]
    Failover(FailoverArgs),
    /// Kill -9 of all nodes at once, with much data
    #[command(after_help = "Example:\n  strata-bench blackout --mebibytes 1024")]
    Blackout(BlackoutArgs),
    /// Memory and CPU of nodes that do nothing
    #[command(after_help = "Example:\n  strata-bench idle --shards 64 --seconds 20")]
    Idle(IdleArgs),
    /// Nodes come and go under load: transfer, drain, rolling, join, disk, faults
    #[command(after_help = "Example:\n  strata-bench membership --only join,disk")]
    Membership(MembershipArgs),
    /// CPU time of a read by level, by leaders and by any replica
    #[command(after_help = "Example:\n  strata-bench reads --callers 256 --rounds 5")]
    Reads(ReadsArgs),
    /// What transactions cost: single, transfer, etcd, hot, scan, overwrites, check
    #[command(after_help = "Example:\n  strata-bench transactions --only single,hot --seconds 10")]
    Transactions(TransactionsArgs),
    /// Latency, failover, blackout, idle and transactions with their defaults
    #[command(after_help = "Example:\n  strata-bench all --quick")]
    All(AllArgs),
}

/// How to answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Tables, then one line of JSON.
    #[default]
    Text,
    /// One line of JSON a report.
    Json,
}

/// What every run needs to know.
#[derive(Clone, Debug, Args)]
pub(crate) struct Common {
    /// The program to measure, a release build [default: `strata` beside this program]
    #[arg(long, value_name = "FILE")]
    pub(crate) strata: Option<PathBuf>,
    /// Another flag for each `strata start`, such as --node-flag=--heartbeat=50ms; may be repeated
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    pub(crate) node_flag: Vec<String>,
    /// Where data directories are made: the disk that is measured [default: the system's temporary directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Half the time, half the rounds and an eighth of the data: to try things out, not to report
    #[arg(long)]
    pub(crate) quick: bool,
    /// How to answer
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(crate) format: Format,
    /// Also write the JSON to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

/// `strata-bench peers`.
#[derive(Clone, Debug, Args)]
pub(crate) struct PeersArgs {
    /// Common ones
    #[command(flatten)]
    pub(crate) common: Common,
    /// The etcd to measure beside
    #[arg(long, value_name = "FILE", default_value = "etcd")]
    pub(crate) etcd: PathBuf,
    /// Numbers of shards to measure with
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1,16")]
    pub(crate) shards: Vec<u32>,
    /// Only this operation
    #[arg(long, value_enum)]
    pub(crate) only: Option<Operation>,
    /// Only points with this many callers
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    pub(crate) callers: Vec<usize>,
    /// Rounds; medians are over them
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// Measured seconds of each point
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,
    /// Seconds of load before that
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) warmup: u64,
    /// Number of different keys
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) keys: u64,
    /// Size of a value
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) value_bytes: usize,
}

/// An operation that is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Operation {
    /// A durable put.
    Put,
    /// A linearizable get.
    Get,
}

/// `strata-bench latency`.
#[derive(Clone, Debug, Args)]
pub(crate) struct LatencyArgs {
    /// Common ones
    #[command(flatten)]
    pub(crate) common: Common,
    /// Samples of each kind in each round
    #[arg(long, value_name = "N", default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(10..))]
    pub(crate) samples: u32,
    /// Rounds
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
}

/// `strata-bench failover`.
#[derive(Clone, Debug, Args)]
pub(crate) struct FailoverArgs {
    /// Common ones
    #[command(flatten)]
    pub(crate) common: Common,
    /// How often a leader is killed
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) kills: u32,
    /// Shards of the cluster; other shards need at least two
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(2..=256))]
    pub(crate) shards: u32,
    /// Load as a share of the measured peak, in percent
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) percent: u32,
    /// Writes a second instead of a share of the peak
    #[arg(long, value_name = "N", conflicts_with = "percent", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,
}

/// `strata-bench blackout`.
#[derive(Clone, Debug, Args)]
pub(crate) struct BlackoutArgs {
    /// Common ones
    #[command(flatten)]
    pub(crate) common: Common,
    /// Data to write first: keys and values
    #[arg(long, value_name = "N", default_value_t = 1_024, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) mebibytes: u64,
    /// Size of a value
    #[arg(long, value_name = "N", default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub(crate) value_bytes: u32,
    /// Shards of the cluster
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) shards: u32,
}

/// `strata-bench idle`.
#[derive(Clone, Debug, Args)]
pub(crate) struct IdleArgs {
    /// Common ones
    #[command(flatten)]
    pub(crate) common: Common,
    /// Shards of the cluster: with three nodes, each node has a replica of each
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) shards: u32,
    /// Seconds to measure
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,
    /// Seconds to wait before that
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) settle: u64,
}

/// `strata-bench reads`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ReadsArgs {
    /// Common ones
    #[command(flatten)]
    pub(crate) common: Common,
    /// Shards of the cluster: with three nodes, each node has a replica of each
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) shards: u32,
    /// Callers, each with one read under way
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub(crate) callers: usize,
    /// Rounds; medians are over them
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// Measured seconds of each point
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,
    /// Seconds of load before that
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) warmup: u64,
    /// Number of different keys
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) keys: u64,
    /// Size of a value
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) value_bytes: usize,
}

/// `strata-bench all`.
#[derive(Clone, Debug, Args)]
pub(crate) struct AllArgs {
    /// Common ones
    #[command(flatten)]
    pub(crate) common: Common,
}

impl AllArgs {
    pub(crate) fn latency(&self) -> LatencyArgs {
        LatencyArgs { common: self.common.clone(), samples: 2_000, rounds: 5 }
    }

    pub(crate) fn failover(&self) -> FailoverArgs {
        FailoverArgs { common: self.common.clone(), kills: 30, shards: 16, percent: 30, rate: None }
    }

    pub(crate) fn blackout(&self) -> BlackoutArgs {
        BlackoutArgs { common: self.common.clone(), mebibytes: 1_024, value_bytes: 1_024, shards: 16 }
    }

    pub(crate) fn idle(&self) -> IdleArgs {
        IdleArgs { common: self.common.clone(), shards: 64, seconds: 20, settle: 10 }
    }

    pub(crate) fn transactions(&self) -> TransactionsArgs {
        TransactionsArgs::all(self.common.clone())
    }
}

impl Cli {
    /// What every command has.
    pub(crate) fn common(&self) -> &Common {
        match &self.command {
            Command::Peers(args) => &args.common,
            Command::Latency(args) => &args.common,
            Command::Failover(args) => &args.common,
            Command::Blackout(args) => &args.common,
            Command::Idle(args) => &args.common,
            Command::Membership(args) => &args.common,
            Command::Reads(args) => &args.common,
            Command::Transactions(args) => &args.common,
            Command::All(args) => &args.common,
        }
    }
}

impl Common {
    /// Where data directories are made.
    pub(crate) fn directory(&self) -> PathBuf {
        self.dir.clone().unwrap_or_else(std::env::temp_dir)
    }

    /// The program to measure.
    pub(crate) fn strata(&self) -> Result<PathBuf> {
        if let Some(program) = &self.strata {
            return Ok(program.clone());
        }
        let beside = std::env::current_exe()?.with_file_name("strata");
        let found = beside.is_file();
        let hint = "build it with `cargo build --release -p strata-cli`, or name it with --strata";
        found.then_some(beside.clone()).with_context(|| format!("{} does not exist: {hint}", beside.display()))
    }

    /// A duration of this run.
    pub(crate) fn span(&self, seconds: u64) -> Duration {
        let whole = Duration::from_secs(seconds);
        if self.quick { whole / 2 } else { whole }
    }

    /// A number of repetitions of this run.
    pub(crate) fn times(&self, count: u32) -> u32 {
        if self.quick { count.div_ceil(2) } else { count }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent_and_has_examples() {
        let command = Cli::command();
        command.clone().debug_assert();
        for subcommand in command.get_subcommands() {
            let help = subcommand.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example"), "strata-bench {} has no example", subcommand.get_name());
        }
    }

    #[test]
    fn all_uses_the_defaults_of_its_parts() {
        let all = AllArgs { common: common("all") };
        let Command::Latency(latency) = parse("latency") else { panic!("latency") };
        let Command::Failover(failover) = parse("failover") else { panic!("failover") };
        let Command::Blackout(blackout) = parse("blackout") else { panic!("blackout") };
        let Command::Idle(idle) = parse("idle") else { panic!("idle") };
        let Command::Transactions(transactions) = parse("transactions") else { panic!("transactions") };
        assert_eq!(format!("{:?}", all.transactions()), format!("{transactions:?}"));
        assert_eq!(format!("{:?}", all.latency()), format!("{latency:?}"));
        assert_eq!(format!("{:?}", all.failover()), format!("{failover:?}"));
        assert_eq!(format!("{:?}", all.blackout()), format!("{blackout:?}"));
        assert_eq!(format!("{:?}", all.idle()), format!("{idle:?}"));
    }

    #[test]
    fn quick_is_half_and_never_nothing() {
        let common = common("all --quick");
        assert_eq!((common.span(5), common.times(3), common.times(1)), (Duration::from_millis(2_500), 2, 1));
    }

    fn parse(line: &str) -> Command {
        let words = std::iter::once("strata-bench").chain(line.split(' '));
        Cli::try_parse_from(words).expect("a valid line").command
    }

    fn common(line: &str) -> Common {
        match parse(line) {
            Command::All(args) => args.common,
            _ => panic!("not `all`"),
        }
    }
}
