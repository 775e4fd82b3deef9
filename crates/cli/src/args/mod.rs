//! The command line, as data.

mod bench;
mod cert;
mod client;
mod cluster;
mod demo;
mod node;
mod reads;
mod tls;
mod txn;

use clap::{Parser, Subcommand};
use clap_complete::Shell;

pub use bench::{BenchCommand, BenchKvArgs};
pub use cert::{CertCommand, Leaf};
pub use client::{Connect, KvArgs, KvCommand};
pub use cluster::{ClusterArgs, ClusterCommand};
pub use demo::DemoArgs;
pub use node::{NodeArgs, StartArgs};
pub use reads::{ReadArgs, level_name};
pub use tls::TlsArgs;
pub use txn::{TxnArgs, TxnCommand};

use crate::output::Format;

/// The command line.
#[derive(Debug, Parser)]
#[command(name = "strata", version, about = ABOUT, arg_required_else_help = true, propagate_version = true, after_help = EXAMPLES)]
pub struct Cli {
    /// How to answer: for people or for scripts
    #[arg(long, global = true, value_enum, default_value_t = Format::Text, env = "STRATA_FORMAT")]
    pub format: Format,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

const ABOUT: &str = "A distributed database in one program";

const EXAMPLES: &str = "\
Examples:
  strata demo                          three nodes on this machine, and a shell
  strata start --data /var/lib/strata  one durable node
  strata kv put greeting hello         write a key
  strata cluster status                is everything well?";

/// What the program does.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run one node
    Start(Box<StartArgs>),
    /// Run a cluster of child processes on this machine, with a shell
    Demo(DemoArgs),
    /// Read and write keys
    Kv(KvArgs),
    /// Read and write many keys at once: all or nothing, as if alone
    Txn(TxnArgs),
    /// Ask how the cluster is, and change what it consists of
    Cluster(ClusterArgs),
    /// Put load on a cluster and measure it
    #[command(subcommand, after_help = "Example:\n  strata bench kv --clients 64 --seconds 10")]
    Bench(BenchCommand),
    /// Make certificates, with which nodes and clients encrypt
    #[command(
        subcommand,
        after_help = "Example:\n  strata cert ca certs && strata cert node certs && \
                                        strata start --certs certs"
    )]
    Cert(CertCommand),
    /// Show settings and where they come from
    #[command(subcommand, after_help = "Example:\n  strata config show --data /var/lib/strata")]
    Config(ConfigCommand),
    /// Print a completion script for a shell
    #[command(after_help = "Example:\n  strata completion bash > /etc/bash_completion.d/strata")]
    Completion {
        /// The shell
        shell: Shell,
    },
}

/// `strata config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// List every setting, its value and the place that set it
    #[command(after_help = "Example:\n  STRATA_EXPECT=3 strata config show --join a:7401,b:7401,c:7401")]
    Show(Box<NodeArgs>),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use strata_server::settings::DEFINITIONS;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    /// Calls `check` with each command that has no subcommands.
    fn for_each_leaf(command: &clap::Command, check: &mut dyn FnMut(&clap::Command)) {
        let mut subcommands = command.get_subcommands().filter(|c| c.get_name() != "help").peekable();
        if subcommands.peek().is_none() {
            check(command);
        }
        subcommands.for_each(|subcommand| for_each_leaf(subcommand, check));
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example() {
        for_each_leaf(&Cli::command(), &mut |command| {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example"), "strata {} has no example", command.get_name());
        });
    }

    #[test]
    fn every_setting_has_its_flag() {
        let mut cli = Cli::command();
        cli.build();
        let start = cli.find_subcommand("start").expect("strata start");
        let flags: Vec<String> =
            start.get_arguments().filter_map(|arg| arg.get_long().map(|long| format!("--{long}"))).collect();
        for definition in DEFINITIONS {
            assert!(flags.contains(&definition.flag()), "{} has no flag", definition.key);
        }
    }

    #[test]
    fn flags_become_settings() {
        let cli =
            parse("strata start --data d --expect 3 --join a:1,b:1 --insecure --log-segment 1MiB").expect("valid");
        let Command::Start(start) = cli.command else { panic!("strata start") };
        let flags = start.node.flags();
        let pairs: Vec<_> = flags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(
            pairs,
            [("data", "d"), ("expect", "3"), ("insecure", "true"), ("join", "a:1,b:1"), ("log_segment", "1MiB")]
        );
    }

    #[test]
    fn the_format_may_stand_anywhere() {
        for line in ["strata --format json kv get k", "strata kv get k --format json", "strata kv --format json get k"]
        {
            assert_eq!(parse(line).expect("valid").format, Format::Json, "{line}");
        }
    }

    #[test]
    fn a_condition_must_be_one() {
        for wrong in [
            "strata kv cas k v",
            "strata kv cas k --if-absent",
            "strata kv cas k v --if-absent --if-value x",
            "strata kv cas k v --delete --if-value x",
            "strata kv put k",
            "strata kv put k v --stdin",
            "strata kv get k --hex --base64",
            "strata kv scan --limit 0",
            "strata bench kv --read-percent 101",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        for right in [
            "strata kv cas k v --if-absent",
            "strata kv cas k -5 --if-value -4",
            "strata kv cas k --delete --if-revision 1.0",
            "strata kv put k --stdin",
            "strata kv put k -5",
            "strata kv scan --limit 1",
        ] {
            assert!(parse(right).is_ok(), "{right}");
        }
    }
}
