//! How long transactions have kept others waiting, as the shard of their record sees it.

use std::cmp;
use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use strata_env::Mono;
use strata_types::{Timestamp, Transaction, TransactionId};

/// An older transaction waits so long for a younger one: a commit under way takes less where nothing is wrong.
const OLDER_PATIENCE: Duration = Duration::from_millis(20);
/// Transactions that share a timestamp may wait for each other, and neither is the older one.
const EQUAL_PATIENCE: Duration = Duration::from_millis(200);
/// Everybody else waits so long: its coordinator is dead, or cannot be helped.
const PATIENCE: Duration = Duration::from_secs(2);
/// Who was not waited for for this long begins anew.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10);

/// Since when and until when a transaction was waited for.
#[derive(Clone, Copy)]
struct Waited {
    since: Mono,
    last: Mono,
}

/// Those that others wait for.
#[derive(Default)]
pub(crate) struct Pushes(Mutex<BTreeMap<TransactionId, Waited>>);

impl Pushes {
    /// Somebody, of this age if it is a transaction, waits for a transaction that is not decided. Returns whether it has
    /// waited for long enough.
    pub(crate) fn is_due(&self, transaction: &Transaction, age: Option<Timestamp>, now: Mono) -> bool {
        let mut waited = self.0.lock();
        waited.retain(|_, waited| now.since(waited.last) <= FORGOTTEN_AFTER);
        let entry = waited.entry(transaction.id).or_insert(Waited { since: now, last: now });
        entry.last = now;
        let patience = match age.map(|age| age.cmp(&transaction.age)) {
            Some(cmp::Ordering::Less) => OLDER_PATIENCE,
            Some(cmp::Ordering::Equal) => EQUAL_PATIENCE,
            Some(cmp::Ordering::Greater) | None => PATIENCE,
        };
        now.since(entry.since) >= patience
    }

    /// It is decided.
    pub(crate) fn forget(&self, transaction: TransactionId) {
        self.0.lock().remove(&transaction);
    }
}

#[cfg(test)]
mod tests {
    use strata_types::Slot;

    use super::*;

    #[test]
    fn the_older_waits_shortly_and_everybody_else_for_longer() {
        let (pushes, at) = (Pushes::default(), |millis| Mono(Duration::from_millis(millis)));
        let anchor = Slot::new(0).expect("a slot");
        let met = Transaction { id: TransactionId(1), anchor, read_timestamp: Timestamp(5), age: Timestamp(5) };
        let (older, younger) = (Some(Timestamp(4)), Some(Timestamp(6)));
        assert!(!pushes.is_due(&met, older, at(0)));
        assert!(!pushes.is_due(&met, younger, at(20)) && !pushes.is_due(&met, None, at(20)));
        assert!(pushes.is_due(&met, older, at(20)));
        let equal = Some(met.age);
        assert!(!pushes.is_due(&met, equal, at(199)) && pushes.is_due(&met, equal, at(200)));
        assert!(pushes.is_due(&met, younger, at(2_000)) && pushes.is_due(&met, None, at(2_000)));
        pushes.forget(met.id);
        assert!(!pushes.is_due(&met, older, at(2_001)));
        assert!(!pushes.is_due(&met, None, at(20_000)), "nobody waited in between");
    }
}
