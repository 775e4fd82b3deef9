//! Timestamps that readers want to go on reading at.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use strata_cluster::{Node, TimestampGuard};
use strata_env::Mono;
use strata_router::HOLD_TIME;
use strata_types::Timestamp;

/// Timestamps held for readers outside, each until it was not asked for again for a while.
#[derive(Default)]
pub(crate) struct Holds(Mutex<BTreeMap<Timestamp, Hold>>);

struct Hold {
    until: Mono,
    _in_use: TimestampGuard,
}

impl Holds {
    /// Holds a timestamp for [`HOLD_TIME`] from now on.
    pub(crate) fn hold(&self, node: &Node, at: Timestamp) {
        // Twice as long: who renews in time is never without.
        let until = node.env().now() + HOLD_TIME * 2;
        let mut holds = self.0.lock();
        match holds.get_mut(&at) {
            Some(hold) => hold.until = until,
            None => drop(holds.insert(at, Hold { until, _in_use: node.timestamps().register(at) })),
        }
    }

    /// Lets go of those that nobody asks for any more.
    pub(crate) fn drop_late(&self, now: Mono) {
        self.0.lock().retain(|_, hold| hold.until > now);
    }
}
