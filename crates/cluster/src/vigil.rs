//! Who was heard of, and what was refused lately: the memory of a leader of the meta group. All of it may be lost.

use std::collections::BTreeMap;
use std::time::Duration;

use strata_env::Mono;
use strata_types::NodeId;

/// A node is silent only after this many questions in a row: one can be lost, and after a pause of this process the
/// first answers are on their way.
const MISSES_MIN: u32 = 3;

/// Remembers when each node was heard of last.
#[derive(Default)]
pub(crate) struct Vigil {
    heard: BTreeMap<NodeId, Heard>,
}

struct Heard {
    at: Mono,
    misses: u32,
}

impl Vigil {
    /// All nodes were asked, and some have answered. Returns those that have not for so long. Who is asked for the
    /// first time counts as heard of.
    pub(crate) fn asked(&mut self, now: Mono, nodes: &[(NodeId, bool)], patience: Duration) -> Vec<NodeId> {
        self.heard.retain(|known, _| nodes.iter().any(|(node, _)| node == known));
        let mut silent = Vec::new();
        for (node, has_answered) in nodes {
            let heard = self.heard.entry(*node).or_insert(Heard { at: now, misses: 0 });
            if *has_answered {
                *heard = Heard { at: now, misses: 0 };
                continue;
            }
            heard.misses += 1;
            if heard.misses >= MISSES_MIN && now.since(heard.at) >= patience {
                silent.push(*node);
            }
        }
        silent
    }
}

/// What is left alone for a while because it was refused.
pub(crate) struct Rests<K> {
    until: BTreeMap<K, Mono>,
}

impl<K> Default for Rests<K> {
    fn default() -> Rests<K> {
        Rests { until: BTreeMap::new() }
    }
}

impl<K: Ord> Rests<K> {
    pub(crate) fn rest(&mut self, what: K, until: Mono) {
        self.until.insert(what, until);
    }

    pub(crate) fn is_resting(&mut self, what: &K, now: Mono) -> bool {
        self.until.retain(|_, until| now < *until);
        self.until.contains_key(what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(300);

    fn at(seconds: u64) -> Mono {
        Mono(Duration::from_secs(seconds))
    }

    #[test]
    fn only_who_was_asked_often_and_answered_nothing_for_long_is_silent() {
        let mut vigil = Vigil::default();
        let (here, gone) = ((NodeId(1), true), (NodeId(2), false));
        assert_eq!(vigil.asked(at(1_000), &[here, gone], PATIENCE), [], "asked for the first time");
        assert_eq!(vigil.asked(at(1_100), &[here, gone], PATIENCE), []);
        assert_eq!(vigil.asked(at(1_299), &[here, gone], PATIENCE), [], "not long enough");
        assert_eq!(vigil.asked(at(1_300), &[here, gone], PATIENCE), [NodeId(2)]);
        assert_eq!(vigil.asked(at(1_301), &[here, (NodeId(2), true)], PATIENCE), [], "it is back");
        assert_eq!(vigil.asked(at(1_700), &[here, gone], PATIENCE), [], "one question was lost after a pause");
        assert_eq!(vigil.asked(at(1_701), &[here, gone], PATIENCE), []);
        assert_eq!(vigil.asked(at(1_702), &[here, gone], PATIENCE), [NodeId(2)]);
        assert_eq!(vigil.asked(at(1_703), &[here], PATIENCE), [], "removed");
        assert_eq!(vigil.asked(at(9_000), &[here, gone], PATIENCE), [], "and new");
    }

    #[test]
    fn what_rests_is_left_alone_for_its_time() {
        let mut rests = Rests::default();
        assert!(!rests.is_resting(&7, at(0)));
        rests.rest(7, at(10));
        assert!(rests.is_resting(&7, at(9)) && !rests.is_resting(&8, at(9)));
        assert!(!rests.is_resting(&7, at(10)));
    }
}
