//! `strata kv`, and how to reach a cluster.

use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};
use strata_server::settings::{Address, parse_duration};
use strata_types::Revision;

use super::reads::ReadArgs;
use crate::args::TlsArgs;
use crate::encoding::Encoding;

/// How to reach a cluster.
#[derive(Clone, Debug, Args)]
pub struct Connect {
    /// Client addresses of any nodes of the cluster
    #[arg(
        long,
        global = true,
        value_name = "HOST:PORT,...",
        value_delimiter = ',',
        default_value = "127.0.0.1:7400",
        env = "STRATA_ADDR",
        value_parser = parse_address
    )]
    pub addr: Vec<String>,
    /// How long one operation may take, or one page of a scan
    #[arg(long, global = true, value_name = "TIME", default_value = "5s", value_parser = parse_timeout)]
    pub timeout: Duration,
    /// Encrypted or not
    #[command(flatten)]
    pub tls: TlsArgs,
}

fn parse_address(text: &str) -> Result<String, String> {
    Address::parse(text).map(|address| address.to_string())
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    let timeout = parse_duration(text)?;
    let most = strata_types::limits::REQUEST_DEADLINE_MAX;
    if timeout.is_zero() || timeout > most {
        return Err(format!("expected more than nothing and at most {} s", most.as_secs()));
    }
    Ok(timeout)
}

/// `strata kv`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example:\n  strata kv put greeting hello && strata kv get greeting")]
pub struct KvArgs {
    /// What to do
    #[command(subcommand)]
    pub command: KvCommand,
    /// Where
    #[command(flatten)]
    pub connect: Connect,
    /// How keys and values are written
    #[command(flatten)]
    pub encoding: Encoding,
}

/// One operation on keys, of the command line and of the shell.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum KvCommand {
    /// Read a key; exits with 3 if there is none
    #[command(after_help = "Examples:\n  strata kv get greeting\n  strata kv get greeting --max-staleness 5s")]
    Get {
        /// The key
        key: String,
        /// How fresh
        #[command(flatten)]
        reads: ReadArgs,
    },
    /// Write a key
    #[command(after_help = "Examples:\n  strata kv put greeting hello\n  strata kv put photo --stdin < photo.jpg")]
    #[command(group = ArgGroup::new("content").required(true).args(["value", "stdin"]))]
    // Groups come first otherwise, and whoever followed that would write the key's name under the value.
    #[command(override_usage = "strata kv put [OPTIONS] <KEY> <VALUE|--stdin>")]
    Put {
        /// The key
        key: String,
        /// Its new value
        #[arg(allow_hyphen_values = true)]
        value: Option<String>,
        /// Read the value from standard input, as it is
        #[arg(long)]
        stdin: bool,
    },
    /// Remove a key
    #[command(after_help = "Example:\n  strata kv del greeting")]
    Del {
        /// The key
        key: String,
    },
    /// Write or remove a key if it holds what you believe; exits with 3 if it does not
    #[command(
        after_help = "Examples:\n  strata kv cas lock me --if-absent\n  strata kv cas lock you --if-value me\n  \
                            strata kv cas lock --delete --if-revision 17.0"
    )]
    #[command(group = ArgGroup::new("condition").required(true).args(["if_absent", "if_value", "if_revision"]))]
    #[command(group = ArgGroup::new("content").required(true).args(["value", "delete"]))]
    #[command(override_usage = "strata kv cas [OPTIONS] <KEY> <VALUE|--delete> \
                          <--if-absent|--if-value <VALUE>|--if-revision <INDEX.POSITION>>")]
    Cas {
        /// The key
        key: String,
        /// Its new value
        #[arg(allow_hyphen_values = true)]
        value: Option<String>,
        /// Remove the key instead
        #[arg(long)]
        delete: bool,
        /// If there is no such key
        #[arg(long)]
        if_absent: bool,
        /// If it holds this value
        #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
        if_value: Option<String>,
        /// If it was last written at this revision
        #[arg(long, value_name = "INDEX.POSITION")]
        if_revision: Option<Revision>,
    },
    /// List keys and values in key order
    #[command(
        after_help = "Examples:\n  strata kv scan --prefix user: --limit 10\n  strata kv scan a --end b --keys-only"
    )]
    Scan {
        /// First key
        start: Option<String>,
        /// One past the last key
        #[arg(long, value_name = "KEY")]
        end: Option<String>,
        /// Keys that begin so
        #[arg(long, value_name = "KEY", conflicts_with_all = ["start", "end"])]
        prefix: Option<String>,
        /// Most keys
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        limit: Option<u64>,
        /// Without values
        #[arg(long)]
        keys_only: bool,
        /// How fresh
        #[command(flatten)]
        reads: ReadArgs,
    },
}
