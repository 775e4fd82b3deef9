//! What is measured with whom, and what it should reach.

use crate::args::{Operation, PeersArgs};

/// Whom the load is put on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Who {
    /// etcd through its unary calls.
    Etcd,
    /// Strata through its unary calls.
    Unary,
    /// Strata through its SDK.
    Sdk,
}

impl Who {
    /// Its name in tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Who::Etcd => "etcd",
            Who::Unary => "strata unary",
            Who::Sdk => "strata SDK",
        }
    }
}

/// An operation with a number of callers, on a number of shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Point {
    pub(super) shards: u32,
    pub(super) operation: Operation,
    pub(super) callers: usize,
}

/// What a throughput should be beside etcd's, and how much longer p99 may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Wanted {
    pub(super) throughput: f64,
    pub(super) p99: Option<f64>,
}

/// Unary puts, SDK puts (the last one with several shards only), and gets.
const UNARY_PUTS: [usize; 3] = [1, 50, 256];
const SDK_PUTS: [usize; 3] = [64, 256, 1_024];
const GETS: [usize; 3] = [1, 50, 256];

/// All points for a number of shards, as the arguments choose them.
pub(super) fn points(args: &PeersArgs, shards: u32) -> Vec<Point> {
    let mut callers: Vec<usize> = UNARY_PUTS.into_iter().chain(SDK_PUTS).collect();
    callers.sort_unstable();
    callers.dedup();
    let puts = callers.into_iter().map(|callers| (Operation::Put, callers));
    let gets = GETS.into_iter().map(|callers| (Operation::Get, callers));
    let is_chosen = |&(operation, callers): &(Operation, usize)| {
        args.only.is_none_or(|only| only == operation) && (args.callers.is_empty() || args.callers.contains(&callers))
    };
    let chosen = puts.chain(gets).filter(is_chosen);
    let points = chosen.map(|(operation, callers)| Point { shards, operation, callers });
    points.filter(|point| !point.contestants().is_empty()).collect()
}

impl Point {
    /// Its operation in tables.
    pub(super) fn operation_name(self) -> &'static str {
        match self.operation {
            Operation::Put => "put",
            Operation::Get => "get",
        }
    }

    /// Which of ours are measured beside etcd here.
    fn contestants(self) -> Vec<Who> {
        let (unary, sdk) = match self.operation {
            Operation::Put if self.shards == 1 => {
                (UNARY_PUTS.contains(&self.callers), SDK_PUTS[..2].contains(&self.callers))
            }
            Operation::Put => (UNARY_PUTS.contains(&self.callers), SDK_PUTS.contains(&self.callers)),
            Operation::Get => (true, true),
        };
        [(unary, Who::Unary), (sdk, Who::Sdk)].into_iter().filter_map(|(is_in, who)| is_in.then_some(who)).collect()
    }

    /// Everybody who is measured here, in the order of a round.
    pub(super) fn turns(self, round: u32) -> Vec<Who> {
        let mut all = vec![Who::Etcd];
        all.extend(self.contestants());
        let first = round as usize % all.len();
        all.rotate_left(first);
        all
    }

    /// The goal of one of ours.
    pub(super) fn wanted(self, who: Who) -> Option<Wanted> {
        let wanted = |throughput| Some(Wanted { throughput, p99: None });
        let with_p99 = |throughput, p99| Some(Wanted { throughput, p99: Some(p99) });
        match (self.operation, who, self.shards, self.callers) {
            (Operation::Put, Who::Sdk, 1, 64) => wanted(3.0),
            (Operation::Put, Who::Sdk, 1, 256) => wanted(4.0),
            (Operation::Put, Who::Sdk, 16, 64) => wanted(1.5),
            (Operation::Put, Who::Sdk, 16, 256) => wanted(3.0),
            (Operation::Put, Who::Sdk, 16, 1_024) => wanted(4.0),
            (Operation::Put, Who::Unary, 1, 1) => with_p99(1.0, 1.0),
            (Operation::Put, Who::Unary, 1, 50) => with_p99(1.5, 1.0),
            (Operation::Put, Who::Unary, 1, 256) => with_p99(1.75, 1.0),
            (Operation::Put, Who::Unary, 16, 50) => with_p99(0.8, 2.0),
            (Operation::Put, Who::Unary, 16, 256) => with_p99(1.0, 2.0),
            (Operation::Get, Who::Unary, 1, 1) => wanted(1.0),
            (Operation::Get, Who::Unary, 1, 50 | 256) => wanted(2.5),
            (Operation::Get, Who::Sdk, 1, 256) => wanted(5.0),
            (Operation::Get, Who::Unary | Who::Sdk, 16, 50 | 256) => wanted(1.5),
            (Operation::Put | Operation::Get, Who::Etcd | Who::Unary | Who::Sdk, _, _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Command};

    fn args(line: &str) -> PeersArgs {
        match Cli::try_parse_from(line.split(' ')).expect("a valid line").command {
            Command::Peers(args) => args,
            _ => panic!("not `peers`"),
        }
    }

    #[test]
    fn every_goal_is_measured() {
        let all = args("strata-bench peers");
        let with_goals = |shards| {
            let points = points(&all, shards);
            let goals = points.iter().flat_map(|point| point.turns(0).into_iter().filter_map(|who| point.wanted(who)));
            goals.count()
        };
        assert_eq!((with_goals(1), with_goals(16)), (9, 9));
    }

    #[test]
    fn points_can_be_chosen() {
        let chosen = points(&args("strata-bench peers --only put --callers 64,1024"), 1);
        assert_eq!(chosen, [Point { shards: 1, operation: Operation::Put, callers: 64 }]);
        assert_eq!(points(&args("strata-bench peers --only get"), 16).len(), 3);
    }

    #[test]
    fn everybody_is_first_once() {
        let point = Point { shards: 1, operation: Operation::Get, callers: 256 };
        assert_eq!(point.turns(0), [Who::Etcd, Who::Unary, Who::Sdk]);
        assert_eq!(point.turns(1), [Who::Unary, Who::Sdk, Who::Etcd]);
        assert_eq!(point.turns(3), point.turns(0));
    }
}
