//! Requests that come late: behind what their sender sent after them, or when nobody expects them any more.
//!
//! A sender that hears nothing asks again, perhaps another node; then it goes on with what the answer allows. A copy that
//! comes only then is what steps of transactions must bear (SHARD-8, TXN-20, TXN-22). So most stragglers wait for the
//! next few requests of their sender to the same group, of which one is the second attempt, and come soon after; the
//! others come whenever they like.

use std::time::Duration;

use strata_types::GroupId;
use tokio::time::Instant;

use crate::dice::Dice;
use crate::fabric::Host;

/// When a message arrives, and its running number.
pub(crate) type Number = (Instant, u64);

/// The longest way.
const LATE_MILLIS_MAX: u64 = 6_000;

/// One message that is held back.
struct Straggler {
    from: Host,
    group: GroupId,
    /// So many later ones overtake it.
    left: u64,
    number: Number,
}

/// Messages that are held back.
#[derive(Default)]
pub(crate) struct Stragglers {
    held: Vec<Straggler>,
    expected: Vec<(Host, GroupId)>,
}

impl Stragglers {
    /// The next request of a host to a group is one.
    pub(crate) fn expect(&mut self, from: Host, group: GroupId) {
        self.expected.push((from, group));
    }

    /// Whether this is the one; it is expected no more.
    pub(crate) fn is_expected(&mut self, from: Host, group: GroupId) -> bool {
        let found = self.expected.iter().position(|expected| *expected == (from, group));
        found.map(|at| self.expected.swap_remove(at)).is_some()
    }

    /// Holds a message back. Returns when it arrives at the latest.
    pub(crate) fn hold(&mut self, from: Host, group: GroupId, number: u64, dice: &mut Dice) -> Instant {
        let now = Instant::now();
        self.held.retain(|held| held.number.0 > now);
        if dice.chance(300) {
            return now + Duration::from_millis(dice.between(100, LATE_MILLIS_MAX));
        }
        let at = now + Duration::from_millis(LATE_MILLIS_MAX);
        self.held.push(Straggler { from, group, left: dice.between(1, 4), number: (at, number) });
        at
    }

    /// Those that a request has overtaken, if it is the last one they waited for, and when they arrive now.
    pub(crate) fn overtaken(&mut self, from: Host, group: GroupId, dice: &mut Dice) -> Vec<(Number, Instant)> {
        let mut free = Vec::new();
        self.held.retain_mut(|held| {
            if (held.from, held.group) != (from, group) {
                return true;
            }
            held.left -= 1;
            if held.left == 0 {
                let soon = Duration::from_micros(dice.between(500, 40_000));
                free.push((held.number, Instant::now() + soon));
            }
            held.left > 0
        });
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_straggler_comes_when_enough_has_overtaken_it() {
        let (mut stragglers, mut dice) = (Stragglers::default(), Dice::new(1, "stragglers"));
        let (here, group) = (7, GroupId(2));
        stragglers.expect(here, group);
        assert!(!stragglers.is_expected(here, GroupId(3)));
        assert!(stragglers.is_expected(here, group) && !stragglers.is_expected(here, group));

        let held = (1..=20).map(|number| stragglers.hold(here, group, number, &mut dice)).collect::<Vec<_>>();
        let latest = Instant::now() + Duration::from_millis(LATE_MILLIS_MAX);
        assert!(held.iter().all(|at| *at <= latest) && held.contains(&latest), "{held:?}");
        let waiting = stragglers.held.len();
        assert!(stragglers.overtaken(here, GroupId(3), &mut dice).is_empty());
        let free: Vec<_> = (0..4).flat_map(|_| stragglers.overtaken(here, group, &mut dice)).collect();
        assert_eq!(free.len(), waiting);
        assert!(free.iter().all(|(number, at)| held[number.1 as usize - 1] == number.0 && *at < latest));
        assert!(stragglers.held.is_empty());
    }
}
