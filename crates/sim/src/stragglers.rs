//! Requests that come late: behind what their sender sent after them, or when nobody expects them any more.
//!
//! A sender that hears nothing asks again, perhaps another node; then it goes on with what the answer allows. A copy that
//! comes only then is what steps of transactions must bear (SHARD-8, TXN-20, TXN-22). So most stragglers wait for the
//! next few requests of their sender to the same group, of which one is the second attempt, and come soon after; the
//! others come whenever they like.
//!
//! Where a second attempt does no harm, the second one is the one that comes late, too: the first one has its answer, and
//! what follows from that is under way already.

use std::time::Duration;

use strata_types::GroupId;
use tokio::time::Instant;

use crate::dice::Dice;
use crate::fabric::Host;

/// When a message arrives, and its running number.
pub(crate) type Number = (Instant, u64);

/// The longest way.
const LATE_MILLIS_MAX: u64 = 6_000;
/// What comes soon comes within this time.
const SOON_MICROS_MAX: u64 = 40_000;

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
    expected: Vec<(Host, GroupId, Late)>,
}

/// What comes late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Late {
    /// The request.
    Itself,
    /// A second attempt. Routers make one when they hear nothing.
    Copy,
}

impl Stragglers {
    /// The next request of a host to a group is one.
    pub(crate) fn expect(&mut self, from: Host, group: GroupId, late: Late) {
        self.expected.push((from, group, late));
    }

    /// The request of a host to a group that was expected is not sent.
    pub(crate) fn expect_no_more(&mut self, from: Host, group: GroupId) {
        self.expected.retain(|(of, to, _)| (*of, *to) != (from, group));
    }

    /// What of this one comes late; it is expected no more.
    pub(crate) fn take_expected(&mut self, from: Host, group: GroupId) -> Option<Late> {
        let found = self.expected.iter().position(|(of, to, _)| (*of, *to) == (from, group));
        found.map(|at| self.expected.swap_remove(at).2)
    }

    /// Holds a message back. Returns when it arrives at the latest.
    pub(crate) fn hold(&mut self, (from, group): (Host, GroupId), late: Late, number: u64, dice: &mut Dice) -> Instant {
        let now = Instant::now();
        self.held.retain(|held| held.number.0 > now);
        // Before its sender says what follows from the first answer.
        if late == Late::Copy && dice.chance(500) {
            return now + Duration::from_micros(dice.between(500, SOON_MICROS_MAX));
        }
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
                let soon = Duration::from_micros(dice.between(500, SOON_MICROS_MAX));
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
        stragglers.expect(here, group, Late::Copy);
        assert_eq!(stragglers.take_expected(here, GroupId(3)), None);
        assert_eq!(stragglers.take_expected(here, group), Some(Late::Copy));
        assert_eq!(stragglers.take_expected(here, group), None);
        stragglers.expect(here, group, Late::Itself);
        stragglers.expect_no_more(here, GroupId(3));
        assert!(stragglers.take_expected(here, group).is_some());
        stragglers.expect(here, group, Late::Itself);
        stragglers.expect_no_more(here, group);
        assert_eq!(stragglers.take_expected(here, group), None);

        let held =
            (1..=20).map(|number| stragglers.hold((here, group), Late::Itself, number, &mut dice)).collect::<Vec<_>>();
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
