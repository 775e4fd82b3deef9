//! What may be asked more than once: a share of what is asked at all.

use parking_lot::Mutex;
use strata_env::Mono;

/// A token is worth this many parts, so that one request can earn a percentage of one.
const PARTS: u64 = 100;

/// A bucket of tokens. Requests earn a share of a token each, time earns a floor, and whoever asks again pays one for
/// each request. So a cluster in trouble gets a bounded share more than it would get anyway, and not many times as much.
#[derive(Debug)]
pub(crate) struct Budget {
    percent: u64,
    per_second: u64,
    /// In parts, as all that follows.
    capacity: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    parts: u64,
    /// Until when time was paid for.
    paid: Mono,
}

impl Budget {
    /// A bucket that holds `start` tokens and at most `capacity`.
    pub(crate) fn new(percent: u32, per_second: u32, start: u32, capacity: u32, now: Mono) -> Budget {
        let state = State { parts: u64::from(start) * PARTS, paid: now };
        Budget {
            percent: percent.into(),
            per_second: per_second.into(),
            capacity: u64::from(capacity) * PARTS,
            state: Mutex::new(state),
        }
    }

    /// So many requests were asked for the first time.
    pub(crate) fn earn(&self, requests: usize) {
        let mut state = self.state.lock();
        state.parts = (state.parts + requests as u64 * self.percent).min(self.capacity);
    }

    /// How many of `requests` may be asked again; they are paid for.
    pub(crate) fn spend(&self, requests: usize, now: Mono) -> usize {
        let mut state = self.state.lock();
        self.fill(&mut state, now);
        let granted = (requests as u64).min(state.parts / PARTS);
        state.parts -= granted * PARTS;
        granted as usize
    }

    /// Pays for all of `requests` or for none.
    pub(crate) fn spend_all(&self, requests: usize, now: Mono) -> bool {
        let mut state = self.state.lock();
        self.fill(&mut state, now);
        let price = requests as u64 * PARTS;
        let is_granted = price <= state.parts;
        if is_granted {
            state.parts -= price;
        }
        is_granted
    }

    /// Whether so many could be paid for just now, by what requests have earned.
    pub(crate) fn has(&self, requests: usize) -> bool {
        self.state.lock().parts >= requests as u64 * PARTS
    }

    fn fill(&self, state: &mut State, now: Mono) {
        let micros = now.since(state.paid).as_micros() as u64;
        let parts = micros.saturating_mul(self.per_second * PARTS) / 1_000_000;
        if parts > 0 {
            state.parts = (state.parts + parts).min(self.capacity);
            state.paid = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(millis: u64) -> Mono {
        Mono::default() + Duration::from_millis(millis)
    }

    #[test]
    fn what_is_spent_is_a_share_of_what_was_earned_and_the_floor() {
        let budget = Budget::new(20, 10, 3, 50, at(0));
        assert_eq!(budget.spend(5, at(0)), 3, "what it began with");
        assert_eq!(budget.spend(5, at(0)), 0);
        budget.earn(24);
        assert_eq!(budget.spend(5, at(0)), 4, "a fifth of 24, and the rest is kept");
        budget.earn(1);
        assert_eq!(budget.spend(5, at(0)), 1);
        assert_eq!(budget.spend(5, at(199)), 1, "ten a second");
        assert_eq!(budget.spend(500, at(1_000_000)), 50, "never more than it holds");
    }

    #[test]
    fn all_or_nothing_is_paid_for() {
        let budget = Budget::new(5, 0, 0, 10, at(0));
        budget.earn(199);
        assert!(!budget.has(10) && !budget.spend_all(10, at(0)) && budget.has(9));
        budget.earn(1);
        assert!(budget.spend_all(10, at(0)) && !budget.has(1));
    }
}
