//! At the leader of the meta group: what nobody will read any more.
//!
//! All of it is memory of a leader: who leads anew begins anew, and waits out the retention before the horizon rises.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use strata_env::Mono;
use strata_types::{NodeId, Term, Timestamp};

/// How long what a node said counts, and what this leader knows of itself: both are said again every second.
const REPORT_AGE_MAX: Duration = Duration::from_secs(10);

/// Remembers what was handed out when, and what is in use where.
#[derive(Default)]
pub(crate) struct HorizonKeeper {
    term: Term,
    samples: VecDeque<(Mono, Timestamp)>,
    in_use: BTreeMap<NodeId, (Mono, Timestamp)>,
    horizon: Timestamp,
}

impl HorizonKeeper {
    /// This was the last timestamp handed out just now, in a term that this node leads.
    pub(crate) fn sample(&mut self, now: Mono, term: Term, last: Timestamp) {
        if term != self.term {
            // Others may have led meanwhile, and heard of what is in use.
            *self = HorizonKeeper { term, horizon: self.horizon, ..HorizonKeeper::default() };
        }
        self.samples.push_back((now, last));
    }

    /// A node said what is in use there.
    pub(crate) fn report(&mut self, now: Mono, node: NodeId, oldest: Option<Timestamp>) {
        match oldest {
            Some(oldest) => self.in_use.insert(node, (now, oldest)),
            None => self.in_use.remove(&node),
        };
    }

    /// What was handed out so long ago, if nothing older is in use (TIME-6: it only rises).
    pub(crate) fn horizon(&mut self, now: Mono, retention: Duration) -> Timestamp {
        let is_aged = |sample: &(Mono, Timestamp)| now.since(sample.0) >= retention;
        // Of those that are old enough only the last one is needed.
        while self.samples.get(1).is_some_and(is_aged) {
            self.samples.pop_front();
        }
        self.in_use.retain(|_, (at, _)| now.since(*at) < REPORT_AGE_MAX);
        // Who was not confirmed for a while may not lead any more, and hears of nothing that is in use.
        let is_confirmed = self.samples.back().is_some_and(|(at, _)| now.since(*at) < REPORT_AGE_MAX);
        if let Some((_, aged)) = self.samples.front().filter(|sample| is_confirmed && is_aged(sample)) {
            let oldest = self.in_use.values().map(|(_, oldest)| *oldest).min();
            self.horizon = self.horizon.max(oldest.map_or(*aged, |oldest| oldest.min(*aged)));
        }
        self.horizon
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETENTION: Duration = Duration::from_secs(600);

    fn at(seconds: u64) -> Mono {
        Mono(Duration::from_secs(seconds))
    }

    /// One timestamp a second is handed out from second 0 on, in one term, up to and including a second.
    fn sampled(term: u64, from: u64, to: u64) -> HorizonKeeper {
        let mut keeper = HorizonKeeper::default();
        (from..=to).for_each(|second| keeper.sample(at(second), Term(term), Timestamp(second)));
        keeper
    }

    fn horizon(keeper: &mut HorizonKeeper, second: u64) -> u64 {
        keeper.horizon(at(second), RETENTION).0
    }

    #[test]
    fn the_horizon_is_what_was_handed_out_a_retention_ago() {
        let mut keeper = sampled(1, 1, 700);
        assert_eq!(horizon(&mut keeper, 600), 0, "not for long enough");
        assert_eq!(horizon(&mut keeper, 650), 50);
        assert_eq!(horizon(&mut keeper, 700), 100);
        assert_eq!(keeper.samples.len(), 601, "what is older is forgotten");
        assert_eq!(horizon(&mut keeper, 709), 109);
        assert_eq!(horizon(&mut keeper, 710), 109, "it was not confirmed for 10 s that this node leads");
        keeper.sample(at(711), Term(1), Timestamp(711));
        assert_eq!(horizon(&mut keeper, 711), 111, "now it was");
    }

    /// TIME-6
    #[test]
    fn what_is_in_use_holds_the_horizon_while_its_node_says_so() {
        let mut keeper = sampled(1, 1, 900);
        assert_eq!(horizon(&mut keeper, 650), 50);
        keeper.report(at(700), NodeId(1), Some(Timestamp(80)));
        keeper.report(at(700), NodeId(2), Some(Timestamp(75)));
        assert_eq!(horizon(&mut keeper, 700), 75);
        keeper.report(at(701), NodeId(2), None);
        assert_eq!(horizon(&mut keeper, 701), 80);
        keeper.report(at(702), NodeId(3), Some(Timestamp(5)));
        assert_eq!(horizon(&mut keeper, 709), 80, "it only rises");
        keeper.report(at(709), NodeId(3), None);
        assert_eq!(horizon(&mut keeper, 710), 110, "nothing was heard of node 1 for 10 s");
    }

    #[test]
    fn a_new_term_begins_anew() {
        let mut keeper = sampled(1, 1, 700);
        assert_eq!(horizon(&mut keeper, 700), 100);
        (701..=1_301).for_each(|second| keeper.sample(at(second), Term(2), Timestamp(second + 70_000)));
        assert_eq!(horizon(&mut keeper, 1_300), 100, "it did not lead for long enough");
        assert_eq!(horizon(&mut keeper, 1_301), 70_701);
    }
}
