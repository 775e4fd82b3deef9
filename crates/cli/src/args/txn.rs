//! `strata txn`.

use std::time::Duration;

use clap::{Args, Subcommand};
use strata_server::settings::parse_duration;

use crate::args::Connect;
use crate::encoding::Encoding;

const EXAMPLES: &str = "\
Examples:
  strata txn                                                   a prompt: begin, get, put, commit, ...
  strata txn begin 'get acct/1' 'put acct/1 90' commit         each argument is a line
  strata txn --format json < transfer.txt                      lines from a file

Except at a prompt it stops at the first line that fails. Exits with 4 when the transaction cannot commit because of
another one: begin again, read again, and decide again. A line may also be one of `strata kv`.";

/// `strata txn`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TxnArgs {
    /// What to do, line by line [default: what standard input says]
    #[arg(value_name = "LINE")]
    pub lines: Vec<String>,
    /// Where
    #[command(flatten)]
    pub connect: Connect,
    /// How keys and values are written
    #[command(flatten)]
    pub encoding: Encoding,
}

/// A step of a transaction, of `strata txn` and of the shell.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum TxnCommand {
    /// Begin a transaction: until commit or rollback get, put, del and scan are part of it
    #[command(after_help = "Examples:\n  begin\n  begin --read-only --at 1200")]
    Begin {
        /// It will only read
        #[arg(long)]
        read_only: bool,
        /// Read what was committed up to this timestamp
        #[arg(long, value_name = "TIMESTAMP", requires = "read_only")]
        at: Option<u64>,
    },
    /// Read a key and keep other transactions from locking it
    #[command(after_help = "Examples:\n  getforupdate acct/1\n  getforupdate job/7 --skip-locked")]
    Getforupdate {
        /// The key
        key: String,
        /// Give up at once if another transaction has the lock
        #[arg(long, conflicts_with = "skip_locked")]
        no_wait: bool,
        /// Act as if there were no such key if another transaction has the lock
        #[arg(long)]
        skip_locked: bool,
        /// Wait for the lock at most this long
        #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with_all = ["no_wait", "skip_locked"])]
        wait: Option<Duration>,
    },
    /// Mark the writes made so far
    #[command(after_help = "Example:\n  savepoint")]
    Savepoint,
    /// Give the transaction up, or take back the writes made after a savepoint
    #[command(after_help = "Examples:\n  rollback\n  rollback to 1")]
    Rollback {
        /// `to` and the number of a savepoint
        #[arg(value_name = "to SAVEPOINT", num_args = 0..=2)]
        to: Vec<String>,
    },
    /// Make all writes seen at once
    #[command(after_help = "Example:\n  commit")]
    Commit,
    /// Ask what became of a transaction whose commit got no clear answer
    #[command(after_help = "Examples:\n  outcome 00112233445566778899aabbccddeeff:77:1200\n  outcome --settle \
                            00112233445566778899aabbccddeeff:77:1200")]
    Outcome {
        /// Its handle, as the failed commit showed it
        handle: String,
        /// Decide it: if it is not committed by now, it never will be
        #[arg(long)]
        settle: bool,
    },
}
