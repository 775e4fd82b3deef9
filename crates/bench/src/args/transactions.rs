//! `strata-bench transactions`.

use std::fmt;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Common;

/// What transactions cost, and what they hold out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TransactionsPart {
    /// A transaction of one shard beside a bare put.
    Single,
    /// A transfer over two shards beside a bare put.
    Transfer,
    /// The same transfer beside etcd's way.
    Etcd,
    /// Many clients on few accounts.
    Hot,
    /// A scan of everything at one point in time, under load.
    Scan,
    /// One key that is overwritten again and again.
    Overwrites,
    /// The checker of histories.
    Check,
}

/// `strata-bench transactions`.
#[derive(Clone, Debug, Args)]
pub(crate) struct TransactionsArgs {
    /// Common ones
    #[command(flatten)]
    pub(crate) common: Common,
    /// Only these parts
    #[arg(long, value_enum, value_name = "NAME,...", value_delimiter = ',')]
    pub(crate) only: Vec<TransactionsPart>,
    /// The etcd that `etcd` measures beside
    #[arg(long, value_name = "FILE", default_value = "etcd")]
    pub(crate) etcd: PathBuf,
    /// Shards of the cluster
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(2..=256))]
    pub(crate) shards: u32,
    /// Rounds; medians are over them
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// Measured seconds of each point
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,
    /// Seconds of load before that
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) warmup: u64,
    /// Rows that `scan` loads and reads
    #[arg(long, value_name = "N", default_value_t = 10_000_000, value_parser = clap::value_parser!(u32).range(1_000..))]
    pub(crate) rows: u32,
    /// Transfers a second during `scan`; each of them writes two rows
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: u32,
    /// How often `overwrites` writes its key
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) overwrites: u32,
    /// Transactions of the history that `check` judges
    #[arg(long, value_name = "N", default_value_t = 5_000_000, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) history: u32,
}

impl TransactionsArgs {
    /// All parts, as without any argument.
    pub(super) fn all(common: Common) -> TransactionsArgs {
        TransactionsArgs {
            common,
            only: Vec::new(),
            etcd: PathBuf::from("etcd"),
            shards: 16,
            rounds: 3,
            seconds: 5,
            warmup: 2,
            rows: 10_000_000,
            rate: 500,
            overwrites: 1_000_000,
            history: 5_000_000,
        }
    }

    /// The parts to measure.
    pub(crate) fn parts(&self) -> Vec<TransactionsPart> {
        let is_wished = |part: &&TransactionsPart| self.only.is_empty() || self.only.contains(part);
        TransactionsPart::value_variants().iter().filter(is_wished).copied().collect()
    }

    /// An amount of data of this run.
    pub(crate) fn amount(&self, count: u32) -> u32 {
        if self.common.quick { count.div_ceil(8) } else { count }
    }
}

impl fmt::Display for TransactionsPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TransactionsPart::Single => "single",
            TransactionsPart::Transfer => "transfer",
            TransactionsPart::Etcd => "etcd",
            TransactionsPart::Hot => "hot",
            TransactionsPart::Scan => "scan",
            TransactionsPart::Overwrites => "overwrites",
            TransactionsPart::Check => "check",
        })
    }
}
