//! `strata-bench membership`.

use std::fmt;

use clap::{Args, ValueEnum};

use super::Common;

/// What operators do to a running cluster, and what happens to it meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// The leader of a shard moves.
    Transfer,
    /// A node is drained, and takes part again.
    Drain,
    /// Each node is stopped in good order and started again.
    Rolling,
    /// A fourth node joins.
    Join,
    /// A node loses its disk, and its replicas are built anew.
    Disk,
    /// Nodes are killed, stand still or are cut off while another one joins.
    Faults,
}

/// What happens to a node in `faults`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// kill -9, and a new start.
    Kill,
    /// SIGSTOP, and SIGCONT three seconds later.
    Standstill,
    /// Nothing reaches it or comes from it for three seconds; needs the right to make network namespaces.
    Isolation,
}

/// `strata-bench membership`.
#[derive(Clone, Debug, Args)]
pub(crate) struct MembershipArgs {
    /// Common ones
    #[command(flatten)]
    pub(crate) common: Common,
    /// Only these parts
    #[arg(long, value_enum, value_name = "NAME,...", value_delimiter = ',')]
    pub(crate) only: Vec<Part>,
    /// Shards of the cluster; `join` has its own number
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(2..=256))]
    pub(crate) shards: u32,
    /// Shards of `join`
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(2..=256))]
    pub(crate) join_shards: u32,
    /// Leaders that `transfer` moves
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) transfers: u32,
    /// How often `rolling` stops each node
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) times_round: u32,
    /// Rounds of each kind of `faults`
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// Only these kinds of `faults`
    #[arg(long, value_enum, value_name = "NAME,...", value_delimiter = ',')]
    pub(crate) fault: Vec<Fault>,
    /// Data that `disk` writes first: keys and values
    #[arg(long, value_name = "N", default_value_t = 1_024, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    pub(crate) mebibytes: u64,
    /// Load as a share of the measured peak, in percent
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) percent: u32,
    /// Writes a second instead of a share of the peak
    #[arg(long, value_name = "N", conflicts_with = "percent", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: Option<u32>,
}

impl MembershipArgs {
    /// The parts to measure.
    pub(crate) fn parts(&self) -> Vec<Part> {
        let is_wished = |part: &&Part| self.only.is_empty() || self.only.contains(part);
        Part::value_variants().iter().filter(is_wished).copied().collect()
    }

    /// The kinds of faults to measure.
    pub(crate) fn faults(&self) -> Vec<Fault> {
        let is_wished = |fault: &&Fault| self.fault.is_empty() || self.fault.contains(fault);
        Fault::value_variants().iter().filter(is_wished).copied().collect()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Kill => "kill",
            Fault::Standstill => "standstill",
            Fault::Isolation => "isolation",
        })
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Transfer => "transfer",
            Part::Drain => "drain",
            Part::Rolling => "rolling",
            Part::Join => "join",
            Part::Disk => "disk",
            Part::Faults => "faults",
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Cli, Command};
    use super::*;

    fn parse(line: &str) -> MembershipArgs {
        let cli = Cli::try_parse_from(line.split(' ')).expect("a valid line");
        match cli.command {
            Command::Membership(args) => args,
            _ => panic!("not `membership`"),
        }
    }

    fn parts(line: &str) -> Vec<Part> {
        parse(line).parts()
    }

    #[test]
    fn every_fault_is_measured_unless_some_are_named() {
        assert_eq!(parse("strata-bench membership").faults(), Fault::value_variants());
        assert_eq!(parse("strata-bench membership --fault isolation,kill").faults(), [Fault::Kill, Fault::Isolation]);
    }

    #[test]
    fn every_part_is_measured_unless_some_are_named() {
        assert_eq!(parts("strata-bench membership"), Part::value_variants());
        assert_eq!(parts("strata-bench membership --only disk,join"), [Part::Join, Part::Disk]);
    }

    #[test]
    fn parts_are_called_as_they_are_named() {
        for part in Part::value_variants() {
            assert_eq!(part.to_possible_value().expect("named").get_name(), part.to_string());
        }
        for fault in Fault::value_variants() {
            assert_eq!(fault.to_possible_value().expect("named").get_name(), fault.to_string());
        }
    }
}
