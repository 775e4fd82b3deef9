//! `strata cluster`.

use std::time::Duration;

use clap::{Args, Subcommand};
use strata_server::settings::parse_duration;
use strata_types::{ClusterVersion, GroupId, NodeId, ShardId, TransactionId};

use crate::args::Connect;

/// `strata cluster`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  strata cluster status --addr 127.0.0.1:7400\n  strata cluster remove n3 --wait")]
pub struct ClusterArgs {
    /// What to do
    #[command(subcommand)]
    pub command: ClusterCommand,
    /// Where
    #[command(flatten)]
    pub connect: Connect,
}

/// One question or wish about the cluster, of the command line and of the shell.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum ClusterCommand {
    /// Is everything well, and if not, why
    #[command(after_help = "Example:\n  strata cluster status")]
    Status,
    /// All nodes
    #[command(after_help = "Example:\n  strata cluster nodes")]
    Nodes,
    /// All shards, their leaders and replicas
    #[command(after_help = "Example:\n  strata cluster shards")]
    Shards,
    /// Everything that is under way, and how long it takes: replicas that move, and old ones that are being deleted
    #[command(after_help = "Example:\n  strata cluster jobs")]
    Jobs,
    /// Let a node lead nothing and get no new replicas, as before work on it; it keeps what it has
    #[command(after_help = "Example:\n  strata cluster drain n3 --wait")]
    Drain {
        /// The node
        #[command(flatten)]
        node: NodeArg,
        /// For how long to wait
        #[command(flatten)]
        wait: Wait,
    },
    /// Take a drain or a removal back
    #[command(after_help = "Example:\n  strata cluster undrain n3")]
    Undrain {
        /// The node
        #[command(flatten)]
        node: NodeArg,
        /// For how long to wait
        #[command(flatten)]
        wait: Wait,
    },
    /// Move everything off a node and take it out of the cluster for good
    #[command(after_help = "Examples:\n  strata cluster remove n3 --wait\n  strata cluster undrain n3    (while it \
                            lasts: take it back)")]
    Remove {
        /// The node
        #[command(flatten)]
        node: NodeArg,
        /// Also if shards could lose their majority
        #[arg(long)]
        force: bool,
        /// For how long to wait
        #[command(flatten)]
        wait: Wait,
    },
    /// Give a dead node up now: build its replicas anew on other nodes. Happens by itself after a while
    #[command(
        after_help = "Example:\n  strata cluster replace n3\n\nA node that still answers is refused: use `strata cluster \
                            remove`, or stop its process first. One that was given up comes back, empty-handed or not, \
                            by starting it with its data directory."
    )]
    Replace {
        /// The node
        #[command(flatten)]
        node: NodeArg,
        /// Also if shards could lose their majority
        #[arg(long)]
        force: bool,
        /// For how long to wait
        #[command(flatten)]
        wait: Wait,
    },
    /// Move one replica of a shard to another node
    #[command(after_help = "Examples:\n  strata cluster move s2 --to n4\n  strata cluster move s2 --to n4 --from n1 \
                            --wait\n  strata cluster move meta --to n4")]
    Move {
        /// The shard, such as s2, or meta
        #[arg(value_name = "SHARD", value_parser = parse_group)]
        group: GroupId,
        /// The node that gets it
        #[arg(long, value_name = "NODE", value_parser = parse_node)]
        to: NodeId,
        /// The node that gives it up [default: the one with the most replicas for its weight]
        #[arg(long, value_name = "NODE", value_parser = parse_node)]
        from: Option<NodeId>,
        /// For how long to wait
        #[command(flatten)]
        wait: Wait,
    },
    /// Let another replica lead a shard, until nodes or replicas change, or one node has far more to do than others
    #[command(after_help = "Example:\n  strata cluster transfer s2 --to n1 --wait")]
    Transfer {
        /// The shard, such as s2
        #[arg(value_name = "SHARD", value_parser = parse_shard)]
        shard: ShardId,
        /// The node that is to lead
        #[arg(long, value_name = "NODE", value_parser = parse_node)]
        to: NodeId,
        /// For how long to wait
        #[command(flatten)]
        wait: Wait,
    },
    /// Let all nodes use what a newer version brings, after the last program was exchanged; there is no way back
    #[command(after_help = "Examples:\n  strata cluster upgrade --dry-run\n  strata cluster upgrade")]
    Upgrade {
        /// The version, such as v2 [default: the newest that the programs of all nodes know]
        #[arg(long, value_name = "VERSION", value_parser = parse_version)]
        to: Option<ClusterVersion>,
        /// Only say which version the cluster has, and how far it could go
        #[arg(long, conflicts_with = "to")]
        dry_run: bool,
    },
    /// Transactions that are open, or decided and not yet settled everywhere: who has locks, and who waits for whom
    #[command(after_help = "Examples:\n  strata cluster transactions\n  strata cluster transactions --abort \
                            00112233445566778899aabbccddeeff")]
    Transactions {
        /// End this one without its writes, unless it is committed already
        #[arg(long, value_name = "ID")]
        abort: Option<TransactionId>,
    },
    /// Even the nodes out now, or say what would be moved; the cluster also does it by itself
    #[command(after_help = "Examples:\n  strata cluster balance --dry-run\n  strata cluster balance --wait")]
    Balance {
        /// Only say what would be moved, why, and how many bytes that is
        #[arg(long, conflicts_with = "wait")]
        dry_run: bool,
        /// For how long to wait
        #[command(flatten)]
        wait: Wait,
    },
}

/// A node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Args)]
pub struct NodeArg {
    /// The node, such as n3
    #[arg(value_name = "NODE", value_parser = parse_node)]
    pub node: NodeId,
}

/// For how long to wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
pub struct Wait {
    /// Wait until it is done, at most this long [default: do not wait; without a TIME: 10m]
    #[arg(
        long,
        value_name = "TIME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "10m",
        value_parser = parse_duration
    )]
    pub wait: Option<Duration>,
}

fn parse_node(text: &str) -> Result<NodeId, String> {
    let number = text.strip_prefix('n').unwrap_or(text).parse().ok().filter(|number| *number > 0);
    number.map(NodeId).ok_or_else(|| "expected a node, such as n3: `strata cluster nodes` lists them".to_owned())
}

fn parse_shard(text: &str) -> Result<ShardId, String> {
    let number = text.strip_prefix('s').unwrap_or(text).parse().ok();
    number.map(ShardId).ok_or_else(|| "expected a shard, such as s2: `strata cluster shards` lists them".to_owned())
}

fn parse_version(text: &str) -> Result<ClusterVersion, String> {
    let number = text.strip_prefix('v').unwrap_or(text).parse().ok().filter(|number| *number > 0);
    number.map(ClusterVersion).ok_or_else(|| "expected a cluster version, such as v2".to_owned())
}

fn parse_group(text: &str) -> Result<GroupId, String> {
    match text {
        "meta" => Ok(GroupId::META),
        text => parse_shard(text).map(GroupId::of_shard),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn parse(line: &str) -> Result<ClusterCommand, clap::Error> {
        match Cli::try_parse_from(["strata", "cluster"].into_iter().chain(line.split(' ')))?.command {
            Command::Cluster(args) => Ok(args.command),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nodes_and_shards_have_short_names() {
        for line in ["drain n3", "drain 3"] {
            let drain = ClusterCommand::Drain { node: NodeArg { node: NodeId(3) }, wait: Wait::default() };
            assert_eq!(parse(line).expect("valid"), drain);
        }
        for (line, group) in [
            ("move s2 --to n4", GroupId::of_shard(ShardId(2))),
            ("move 2 --to 4", GroupId::of_shard(ShardId(2))),
            ("move meta --to n4", GroupId::META),
        ] {
            let expected = ClusterCommand::Move { group, to: NodeId(4), from: None, wait: Wait::default() };
            assert_eq!(parse(line).expect("valid"), expected, "{line}");
        }
        for wrong in ["drain", "drain n", "drain n0", "drain s3", "drain three", "move s2", "transfer meta --to n1"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn who_waits_may_say_how_long() {
        let wait_of = |line: &str| match parse(line).expect("valid") {
            ClusterCommand::Remove { wait, .. } | ClusterCommand::Balance { wait, .. } => wait.wait,
            other => panic!("{other:?}"),
        };
        assert_eq!(wait_of("remove n3"), None);
        assert_eq!(wait_of("remove n3 --wait"), Some(Duration::from_secs(600)));
        assert_eq!(wait_of("remove --wait n3"), Some(Duration::from_secs(600)), "the node is no time");
        assert_eq!(wait_of("remove n3 --wait=90s --force"), Some(Duration::from_secs(90)));
        assert_eq!(wait_of("balance"), None);
        assert!(parse("remove n3 --wait=soon").is_err());
        assert!(parse("balance --dry-run --wait").is_err(), "nothing happens that could be waited for");
    }
}
