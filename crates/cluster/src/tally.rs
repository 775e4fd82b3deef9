//! What became of changes between two maps, for metrics and for pacing.

use std::time::Duration;

use strata_env::{Env, Mono};
use strata_types::{GroupChanges, ShardMap};

/// How long nothing is planned after changes were abandoned; twice as long each time.
const REST: Duration = Duration::from_secs(2);
const REST_MAX: Duration = Duration::from_secs(60);

/// Changes that were started and that ended between two maps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) started: u64,
    pub(crate) finished: u64,
    pub(crate) abandoned: u64,
}

impl Tally {
    /// Between an older map and a newer one. Changes that began and were abandoned in between are not seen.
    pub(crate) fn between(old: &ShardMap, new: &ShardMap) -> Tally {
        let mut tally = Tally::default();
        for group in new.groups() {
            if let Some(before) = old.group(group.group) {
                tally.add(before.changes, group.changes);
            }
        }
        tally
    }

    fn add(&mut self, before: &GroupChanges, after: &GroupChanges) {
        let finished = after.generation.saturating_sub(before.generation);
        let (old, new) = (before.change.map(|change| change.id), after.change.map(|change| change.id));
        let is_over = old.is_some() && old != new;
        let is_new = new.is_some() && old != new;
        // The first one that was finished is the one that was seen.
        self.started += u64::from(is_new) + finished.saturating_sub(u64::from(is_over));
        self.finished += finished;
        self.abandoned += u64::from(is_over && finished == 0);
    }
}

/// How soon it may be planned again.
#[derive(Default)]
pub(crate) struct Pace {
    failures: u32,
    until: Mono,
}

impl Pace {
    /// Changes have ended.
    pub(crate) fn note(&mut self, env: &Env, tally: Tally) {
        if tally.abandoned > 0 {
            let pause = REST.saturating_mul(1 << self.failures.min(8)).min(REST_MAX);
            self.failures += 1;
            self.until = env.now() + env.jittered(pause);
        } else if tally.finished > 0 {
            self.failures = 0;
        }
    }

    pub(crate) fn may_plan(&self, now: Mono) -> bool {
        now >= self.until
    }
}

#[cfg(test)]
mod tests {
    use strata_env::sim::SimWorld;
    use strata_types::{ChangeId, ChangeReason, ReplicaChange, Term};

    use super::*;

    fn map(generation: u64, change: u64) -> ShardMap {
        let change = ReplicaChange {
            id: ChangeId(change),
            add: None,
            remove: None,
            reason: ChangeReason::Balance,
            cancelled: false,
            decided: Term(0),
        };
        let changes = GroupChanges { generation, change: Some(change).filter(|it| it.id.0 > 0), leaving: vec![] };
        ShardMap { meta_changes: changes, ..ShardMap::default() }
    }

    #[test]
    fn changes_are_counted_once() {
        let between = |old, new| {
            let Tally { started, finished, abandoned } = Tally::between(&old, &new);
            (started, finished, abandoned)
        };
        assert_eq!(between(map(0, 0), map(0, 0)), (0, 0, 0));
        assert_eq!(between(map(0, 0), map(0, 3)), (1, 0, 0));
        assert_eq!(between(map(0, 3), map(0, 3)), (0, 0, 0));
        assert_eq!(between(map(0, 3), map(1, 0)), (0, 1, 0));
        assert_eq!(between(map(0, 3), map(0, 0)), (0, 0, 1));
        assert_eq!(between(map(0, 3), map(1, 4)), (1, 1, 0), "the next one has begun");
        assert_eq!(between(map(0, 0), map(1, 0)), (1, 1, 0), "it began and ended in between");
        assert_eq!(between(map(0, 3), map(2, 0)), (1, 2, 0));
    }

    #[test]
    fn after_a_change_was_abandoned_planning_waits_longer_each_time() {
        let env = SimWorld::new(1).node(1).env();
        let mut pace = Pace::default();
        assert!(pace.may_plan(Mono::default()));
        let mut rest = |tally| {
            pace.note(&env, tally);
            pace.until.since(env.now())
        };
        let abandoned = Tally { abandoned: 1, ..Tally::default() };
        let first = rest(abandoned);
        assert!(first >= REST.mul_f64(0.75), "{first:?}");
        assert!(rest(abandoned) > first);
        rest(Tally { finished: 1, ..Tally::default() });
        assert!(rest(abandoned) <= REST.mul_f64(1.25));
        assert!(!pace.may_plan(env.now()));
    }
}
