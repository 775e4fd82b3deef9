//! Timestamps that readers want to go on reading at.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use strata_cluster::{Node, TimestampGuard};
use strata_env::Mono;
use strata_router::HOLD_TIME;
use strata_types::{Error, ErrorCode, Result, Timestamp};

/// Most timestamps that a node holds for readers outside: some 100 bytes each.
const HOLDS_MAX: usize = 100_000;

/// Timestamps held for readers outside, each until it was not asked for again for a while.
#[derive(Default)]
pub(crate) struct Holds(Mutex<BTreeMap<Timestamp, Hold>>);

struct Hold {
    until: Mono,
    _in_use: TimestampGuard,
}

impl Holds {
    /// Holds a timestamp for [`HOLD_TIME`] from now on. Refused when too many others are held.
    pub(crate) fn hold(&self, node: &Node, at: Timestamp) -> Result<()> {
        // Twice as long: who renews in time is never without.
        let until = node.env().now() + HOLD_TIME * 2;
        let mut holds = self.0.lock();
        if let Some(hold) = holds.get_mut(&at) {
            hold.until = until;
            return Ok(());
        }
        if holds.len() >= HOLDS_MAX {
            let sentence =
                format!("{HOLDS_MAX} snapshots are read through this node already: end some, or ask another node");
            return Err(Error::not_applied(ErrorCode::Overloaded, sentence));
        }
        holds.insert(at, Hold { until, _in_use: node.timestamps().register(at) });
        Ok(())
    }

    /// Lets go of those that nobody asks for any more.
    pub(crate) fn drop_late(&self, now: Mono) {
        self.0.lock().retain(|_, hold| hold.until > now);
    }
}
