//! `strata bench`.

use clap::{Args, Subcommand};

use crate::args::Connect;

/// `strata bench`.
#[derive(Clone, Debug, Subcommand)]
pub enum BenchCommand {
    /// Gets and puts on random keys
    Kv(BenchKvArgs),
}

/// `strata bench kv`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  strata bench kv --clients 256 --seconds 10\n  \
                        strata bench kv --rate 5000 --read-percent 90 --format json\n\n\
                        Closed loop: each client sends its next operation when the last one is answered. Open loop (--rate):\n\
                        operations start on time whether or not others are answered, and latency counts from that time.")]
pub struct BenchKvArgs {
    /// Where
    #[command(flatten)]
    pub connect: Connect,
    /// Callers at once (closed loop)
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub clients: u32,
    /// Operations started each second (open loop)
    #[arg(long, value_name = "N", conflicts_with = "clients", value_parser = clap::value_parser!(u32).range(1..))]
    pub rate: Option<u32>,
    /// Most operations under way in an open loop; beyond it they count as the error `not_sent`
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub under_way_max: u32,
    /// How many of a hundred operations are gets
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100))]
    pub read_percent: u32,
    /// Size of a value
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(0..=16_777_216))]
    pub value_bytes: u32,
    /// Number of different keys
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub keys: u32,
    /// How long to measure
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub seconds: u32,
    /// How long to run before that, in seconds
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub warmup: u32,
    /// Use plain gRPC calls of one operation each instead of the SDK
    #[arg(long)]
    pub unary: bool,
    /// Connections of plain gRPC calls, spread over the addresses
    #[arg(long, value_name = "N", default_value_t = 4, requires = "unary", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections: u32,
    /// Same seed, same keys and operations
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
}
