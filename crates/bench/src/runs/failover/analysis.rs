//! What the writes around one kill tell.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use strata_types::ShardId;

use super::super::silence::{longest_silence, quantile_ms};
use crate::load::{Event, Outcome};

/// When things happened, in microseconds of the load.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    /// The chosen shard.
    pub(crate) shard: ShardId,
    /// The node that led it and was killed.
    pub(crate) node: usize,
    /// All shards that the node led.
    pub(crate) orphans: BTreeSet<ShardId>,
    /// All was well since then.
    pub(crate) settled: u32,
    /// The kill.
    pub(crate) killed: u32,
    /// Until then, the other shards are watched.
    pub(crate) watched: u32,
    /// Every shard had taken writes again; the node was started.
    pub(crate) back: u32,
    /// All was well again.
    pub(crate) healthy: u32,
}

/// What one kill did.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Round {
    /// The chosen shard.
    pub(crate) shard: u32,
    /// The killed node.
    pub(crate) node: usize,
    /// The longest time without an acknowledgement of the chosen shard, around or after the kill.
    pub(crate) gap_seconds: f64,
    /// The same of the worst shard that the node led.
    pub(crate) worst_gap_seconds: f64,
    /// p99 of other shards before the kill and after it.
    pub(crate) normal_p99_ms: f64,
    pub(crate) others_p99_ms: f64,
    /// Writes to other shards, before the kill and after it, that were not acknowledged.
    pub(crate) others_failed: u64,
    /// From the start of the node until all was well.
    pub(crate) return_seconds: f64,
}

/// Looks at one kill.
pub(crate) fn analyse(window: &Window, events: &[Event]) -> Round {
    let mut acks: BTreeMap<ShardId, Vec<u32>> = BTreeMap::new();
    let (mut normal, mut others, mut others_failed) = (Vec::new(), Vec::new(), 0);
    for event in events {
        let shard = ShardId(u32::from(event.shard));
        let is_acked = event.outcome == Outcome::Acked;
        if window.orphans.contains(&shard) {
            if is_acked && (window.settled..=window.back).contains(&event.done) {
                acks.entry(shard).or_default().push(event.done);
            }
        } else if (window.settled..window.watched).contains(&event.due) {
            let late = event.done - event.due.min(event.done);
            match event.outcome {
                Outcome::Acked if event.due < window.killed => normal.push(late),
                Outcome::Acked => others.push(late),
                Outcome::Refused | Outcome::Unknown => others_failed += 1,
            }
        }
    }
    let seconds = |micros: u32| f64::from(micros) / 1e6;
    let gap_of =
        |shard| seconds(longest_silence(acks.get(shard).cloned().unwrap_or_default(), window.killed, window.back));
    Round {
        shard: window.shard.0,
        node: window.node,
        gap_seconds: gap_of(&window.shard),
        worst_gap_seconds: window.orphans.iter().map(gap_of).fold(0.0, f64::max),
        normal_p99_ms: quantile_ms(normal, 99),
        others_p99_ms: quantile_ms(others, 99),
        others_failed,
        return_seconds: seconds(window.healthy - window.back),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window() -> Window {
        Window {
            shard: ShardId(1),
            node: 0,
            orphans: BTreeSet::from([ShardId(1), ShardId(2)]),
            settled: 0,
            killed: 2_000_000,
            watched: 5_000_000,
            back: 5_000_000,
            healthy: 6_500_000,
        }
    }

    fn acked(shard: u16, due: u32, done: u32) -> Event {
        Event { number: 0, shard, outcome: Outcome::Acked, due, done }
    }

    #[test]
    fn the_gap_spans_the_kill() {
        let mut events: Vec<Event> = (0..=1_990).map(|at| acked(1, at * 1_000, at * 1_000)).collect();
        events.extend((2_800..=5_000).map(|at| acked(1, at * 1_000, at * 1_000)));
        events.extend((3_100..=5_000).map(|at| acked(2, at * 1_000, at * 1_000)));
        let round = analyse(&window(), &events);
        assert!((round.gap_seconds - 0.81).abs() < 1e-9, "{}", round.gap_seconds);
        assert!((round.worst_gap_seconds - 1.1).abs() < 1e-9, "from the kill: {}", round.worst_gap_seconds);
        assert!((round.return_seconds - 1.5).abs() < 1e-9);
    }

    #[test]
    fn a_shard_that_stays_silent_was_silent_to_the_end() {
        let round = analyse(&window(), &[acked(1, 1_999_000, 2_000_000)]);
        assert!((round.gap_seconds - 3.0).abs() < 1e-9);
    }

    #[test]
    fn other_shards_are_compared_with_themselves() {
        let mut events: Vec<Event> = (0..1_000).map(|at| acked(7, at * 2_000, at * 2_000 + 1_000)).collect();
        events.extend((0..1_000).map(|at| acked(7, 2_000_000 + at * 2_000, 2_000_000 + at * 2_000 + 1_500)));
        events.push(Event { outcome: Outcome::Unknown, ..acked(7, 3_000_000, 3_100_000) });
        events.push(Event { outcome: Outcome::Refused, ..acked(7, 1_000_000, 1_100_000) });
        events.push(Event { outcome: Outcome::Unknown, ..acked(1, 2_000_000, 2_100_000) });
        let round = analyse(&window(), &events);
        assert!((round.normal_p99_ms - 1.0).abs() < 1e-9 && (round.others_p99_ms - 1.5).abs() < 1e-9);
        assert_eq!(round.others_failed, 2, "before and after the kill; the orphan is no other shard");
    }
}
