//! How busy the replicas of this node are, and how fast they come on: figures for people and for spreading leaders.
//!
//! ```text
//!   requests of the groups led here --note--> counts --+
//!   applied entries, bytes of snapshots ---------------+--look, each second or so--> rates that forget what is long ago
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use strata_env::Mono;
use strata_types::{GroupId, LogIndex};

/// What is longer ago than this counts for little.
const MEMORY: Duration = Duration::from_secs(8);
/// Rates are kept in thousandths, so that slow things are seen to move.
const FINE: u64 = 1_000;

/// What happened to the replicas of a node.
#[derive(Default)]
pub struct Paces {
    operations: RwLock<BTreeMap<GroupId, Arc<AtomicU64>>>,
    seen: Mutex<BTreeMap<GroupId, Seen>>,
}

/// How fast a replica is, in whole numbers a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pace {
    pub(crate) operations: u64,
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
}

/// Where a replica was at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) applied: LogIndex,
    /// Bytes of a snapshot on its way here.
    pub(crate) arrived: u64,
}

struct Seen {
    at: Mono,
    operations: u64,
    position: Position,
    /// In thousandths.
    fine: Pace,
}

impl Paces {
    /// Requests of a group were carried out by its leader, which is here.
    pub fn note(&self, group: GroupId, operations: u64) {
        if let Some(count) = self.operations.read().get(&group) {
            count.fetch_add(operations, Ordering::Relaxed);
            return;
        }
        self.operations.write().entry(group).or_default().fetch_add(operations, Ordering::Relaxed);
    }

    /// Takes note of where the replicas are now; the others are forgotten.
    pub(crate) fn look(&self, now: Mono, positions: &BTreeMap<GroupId, Position>) {
        self.operations.write().retain(|group, _| positions.contains_key(group));
        let mut seen = self.seen.lock();
        seen.retain(|group, _| positions.contains_key(group));
        for (&group, &position) in positions {
            let operations = self.operations.read().get(&group).map_or(0, |count| count.load(Ordering::Relaxed));
            let new = || Seen { at: now, operations, position, fine: Pace::default() };
            seen.entry(group).or_insert_with(new).look(now, operations, position);
        }
    }

    /// How fast a replica is; nothing is known of it at first.
    pub(crate) fn of(&self, group: GroupId) -> Pace {
        let fine = self.seen.lock().get(&group).map(|seen| seen.fine).unwrap_or_default();
        let whole = |fine: u64| (fine + FINE / 2) / FINE;
        Pace { operations: whole(fine.operations), entries: whole(fine.entries), bytes: whole(fine.bytes) }
    }
}

impl Seen {
    fn look(&mut self, now: Mono, operations: u64, position: Position) {
        let millis = u64::try_from(now.since(self.at).as_millis()).unwrap_or(u64::MAX);
        if millis == 0 {
            return;
        }
        // A replica that was built anew begins again, and so does another snapshot.
        let moved = |before: u64, after: u64| after.saturating_sub(before);
        let fine = &mut self.fine;
        approach(&mut fine.operations, moved(self.operations, operations), millis);
        approach(&mut fine.entries, moved(self.position.applied.0, position.applied.0), millis);
        approach(&mut fine.bytes, moved(self.position.arrived, position.arrived), millis);
        (self.at, self.operations, self.position) = (now, operations, position);
    }
}

/// Brings a rate closer to what it was lately, the more so the longer that was.
fn approach(rate: &mut u64, moved: u64, millis: u64) {
    let memory = MEMORY.as_millis() as u64;
    let lately = moved.saturating_mul(FINE * 1_000) / millis;
    let weight = millis.min(memory);
    let mix = (u128::from(*rate) * u128::from(memory - weight) + u128::from(lately) * u128::from(weight))
        / u128::from(memory);
    *rate = u64::try_from(mix).unwrap_or(u64::MAX);
}

#[cfg(test)]
mod tests {
    use super::*;

    const GROUP: GroupId = GroupId(1);

    fn at(millis: u64) -> Mono {
        Mono(Duration::from_millis(millis))
    }

    fn look(paces: &Paces, second: u64, applied: u64, arrived: u64) {
        let position = Position { applied: LogIndex(applied), arrived };
        paces.look(at(second * 1_000), &BTreeMap::from([(GROUP, position)]));
    }

    #[test]
    fn rates_come_close_to_what_is_and_forget_what_was() {
        let paces = Paces::default();
        look(&paces, 0, 1_000, 0);
        assert_eq!(paces.of(GROUP), Pace::default(), "nobody knows how long that took");
        for second in 1..=60 {
            paces.note(GROUP, 300);
            look(&paces, second, 1_000 + 50 * second, 4_096 * second);
        }
        let pace = paces.of(GROUP);
        assert!(pace.operations.abs_diff(300) < 3 && pace.entries.abs_diff(50) < 2, "{pace:?}");
        assert!(pace.bytes.abs_diff(4_096) < 10, "{pace:?}");
        for second in 61..=160 {
            look(&paces, second, 4_000, 0);
        }
        assert_eq!(paces.of(GROUP), Pace::default(), "idle again, and another snapshot is no step back");
    }

    #[test]
    fn a_long_pause_counts_as_one_look() {
        let paces = Paces::default();
        look(&paces, 0, 0, 0);
        paces.note(GROUP, 6_000);
        look(&paces, 60, 0, 0);
        assert_eq!(paces.of(GROUP).operations, 100);
    }

    #[test]
    fn groups_that_left_are_forgotten() {
        let paces = Paces::default();
        paces.note(GROUP, 1);
        look(&paces, 1, 0, 0);
        paces.look(at(2_000), &BTreeMap::new());
        assert!(paces.operations.read().is_empty() && paces.seen.lock().is_empty());
    }
}
