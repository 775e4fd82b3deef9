//! The timestamps that this node reads at.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use strata_env::{Env, Mono};
use strata_types::Timestamp;

/// All timestamps in use on this node.
pub(crate) struct InUse {
    env: Env,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    next: u64,
    uses: BTreeMap<(Timestamp, u64), Use>,
}

struct Use {
    since: Mono,
    /// Whether it was said that it is too old.
    is_named: bool,
}

impl InUse {
    pub(crate) fn new(env: Env) -> Arc<InUse> {
        Arc::new(InUse { env, table: Mutex::default() })
    }

    pub(crate) fn register(self: &Arc<Self>, at: Timestamp) -> TimestampGuard {
        let mut table = self.table.lock();
        table.next += 1;
        let number = table.next;
        table.uses.insert((at, number), Use { since: self.env.now(), is_named: false });
        TimestampGuard { in_use: self.clone(), at, number }
    }

    /// The lowest one that is not too old. Those that are too old are named, once each.
    pub(crate) fn oldest(&self, age_max: Duration) -> Option<Timestamp> {
        let now = self.env.now();
        let mut table = self.table.lock();
        metrics::gauge!("strata_time_in_use").set(table.uses.len() as f64);
        for ((at, _), one) in &mut table.uses {
            let age = now.since(one.since);
            if age < age_max {
                return Some(*at);
            }
            if !std::mem::replace(&mut one.is_named, true) {
                tracing::warn!(%at, ?age, "a timestamp has been in use for too long: its history is not kept any more");
                metrics::counter!("strata_time_in_use_too_long_total").increment(1);
            }
        }
        None
    }
}

/// Keeps a timestamp in use until it is dropped.
pub struct TimestampGuard {
    in_use: Arc<InUse>,
    at: Timestamp,
    number: u64,
}

impl TimestampGuard {
    /// The timestamp.
    pub fn at(&self) -> Timestamp {
        self.at
    }
}

impl Drop for TimestampGuard {
    fn drop(&mut self) {
        self.in_use.table.lock().uses.remove(&(self.at, self.number));
    }
}

impl std::fmt::Debug for TimestampGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TimestampGuard").field("at", &self.at).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use strata_env::sim::SimWorld;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_oldest_counts_until_it_is_dropped_or_too_old() {
        let env = SimWorld::new(1).node(1).env();
        let in_use = InUse::new(env.clone());
        let age_max = Duration::from_secs(100);
        let oldest = || in_use.oldest(age_max).map(|at| at.0);
        assert_eq!(oldest(), None);
        let first = in_use.register(Timestamp(7));
        let again = in_use.register(Timestamp(7));
        env.sleep(Duration::from_secs(60)).await;
        let second = in_use.register(Timestamp(9));
        assert_eq!(oldest(), Some(7));
        drop(first);
        assert_eq!(oldest(), Some(7), "somebody else reads there, too");
        env.sleep(Duration::from_secs(40)).await;
        assert_eq!(oldest(), Some(9), "too old");
        drop((again, second));
        assert_eq!(oldest(), None);
        assert!(in_use.table.lock().uses.is_empty());
    }
}
