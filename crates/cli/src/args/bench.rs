//! `strata bench`.

use std::time::Duration;

use clap::{Args, Subcommand};
use strata_server::settings::parse_duration;

use crate::args::Connect;

/// Longest measurement.
const HOURS_MAX: u64 = 24;

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
    /// How long to measure: a number of seconds, or a time such as 500ms or 2m
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_measured)]
    pub seconds: Duration,
    /// How long to run before that: a number of seconds, or a time such as 500ms or 2m
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_seconds)]
    pub warmup: Duration,
    /// Use plain gRPC calls of one operation each instead of the SDK
    #[arg(long)]
    pub unary: bool,
    /// Connections of plain gRPC calls, spread over the addresses
    #[arg(long, value_name = "N", default_value_t = 4, requires = "unary", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub connections: u32,
    /// Same seed, same keys and operations
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Leave the keys (bench-0000000000 and so on) where they are. Otherwise those of the numbers below
    /// --keys are removed at the end, which is not measured. Of several runs at once all but the last need this
    #[arg(long)]
    pub keep: bool,
}

/// The name of the option says what a number alone means.
fn parse_seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<u32>() {
        Ok(seconds) => Ok(Duration::from_secs(seconds.into())),
        Err(_) => parse_duration(text),
    }
}

fn parse_measured(text: &str) -> Result<Duration, String> {
    let time = parse_seconds(text)?;
    if time.is_zero() || time > Duration::from_secs(HOURS_MAX * 3_600) {
        return Err(format!("expected more than nothing and at most {HOURS_MAX}h, but found `{text}`"));
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_may_be_a_number_of_seconds() {
        for text in ["10", "10s", "10000ms"] {
            assert_eq!(parse_measured(text), Ok(Duration::from_secs(10)), "{text}");
        }
        assert_eq!(parse_measured("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_seconds("0"), Ok(Duration::ZERO), "a warm-up may be left out");
        for wrong in ["0", "0s", "25h", "86401", "-1", "soon"] {
            let sentence = parse_measured(wrong).expect_err("no time to measure");
            assert!(sentence.starts_with("expected ") && sentence.contains(wrong), "{sentence}");
        }
    }
}
