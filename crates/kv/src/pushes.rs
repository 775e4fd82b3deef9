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
/// How often it is looked who is to be forgotten: not for each of those who ask every few milliseconds.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Since when and until when a transaction was waited for.
#[derive(Clone, Copy)]
struct Waited {
    since: Mono,
    last: Mono,
}

impl Waited {
    fn is_over(&self, now: Mono) -> bool {
        now.since(self.last) > FORGOTTEN_AFTER
    }
}

/// Those that others wait for.
#[derive(Default)]
pub(crate) struct Pushes(Mutex<Table>);

#[derive(Default)]
struct Table {
    waited: BTreeMap<TransactionId, Waited>,
    /// When it was last looked who is to be forgotten.
    swept: Mono,
}

impl Pushes {
    /// Somebody, of this age if it is a transaction, waits for a transaction that is not decided. Returns whether it has
    /// waited for long enough.
    pub(crate) fn is_due(&self, transaction: &Transaction, age: Option<Timestamp>, now: Mono) -> bool {
        let mut table = self.0.lock();
        if now.since(table.swept) >= SWEEP_INTERVAL {
            table.swept = now;
            table.waited.retain(|_, waited| !waited.is_over(now));
        }
        let anew = Waited { since: now, last: now };
        let entry = table.waited.entry(transaction.id).or_insert(anew);
        if entry.is_over(now) {
            *entry = anew;
        }
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
        self.0.lock().waited.remove(&transaction);
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

    #[test]
    fn not_all_are_looked_through_at_every_question_and_nobody_counts_who_waited_long_ago() {
        let (pushes, at) = (Pushes::default(), |millis| Mono(Duration::from_millis(millis)));
        let anchor = Slot::new(0).expect("a slot");
        let met = |id| Transaction { id: TransactionId(id), anchor, read_timestamp: Timestamp(5), age: Timestamp(5) };
        assert!(!pushes.is_due(&met(1), None, at(0)) && !pushes.is_due(&met(2), None, at(1)));
        assert!(!pushes.is_due(&met(3), None, at(9_500)));
        assert!(!pushes.is_due(&met(3), None, at(10_400)));
        assert_eq!(pushes.0.lock().waited.len(), 3, "it was looked 900 ms ago");
        assert!(!pushes.is_due(&met(1), None, at(10_400)), "but it begins anew");
        assert!(!pushes.is_due(&met(3), None, at(10_500)));
        assert_eq!(pushes.0.lock().waited.len(), 2);
        assert!(pushes.is_due(&met(1), None, at(12_400)));
    }
}
