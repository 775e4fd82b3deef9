//! What clients noticed.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::silence::{longest_silence, quantile_ms};
use crate::load::{Event, Outcome};

/// A part of a load, in its microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) from: u32,
    pub(super) to: u32,
}

/// What clients noticed meanwhile.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Effects {
    /// How long it was.
    pub(super) seconds: f64,
    /// Writes that were due and acknowledged.
    pub(super) acked: u64,
    /// Writes that were under way and failed.
    pub(super) refused: u64,
    pub(super) unknown: u64,
    /// The longest time without an acknowledgement of any one shard.
    pub(super) gap_seconds: f64,
    /// Latencies of what was acknowledged, from when it was due.
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
}

impl Effects {
    /// During a span, on a cluster with so many shards.
    pub(super) fn during(span: Span, events: &[Event], shards: u32) -> Effects {
        let Span { from, to } = span;
        // The first one of each shard is the last one before the span.
        let mut acks: BTreeMap<u32, Vec<u32>> = (0..shards).map(|shard| (shard, vec![0])).collect();
        let (mut late, mut refused, mut unknown) = (Vec::new(), 0, 0);
        for event in events {
            let is_due = (from..to).contains(&event.due);
            match event.outcome {
                Outcome::Acked => {
                    let of_shard = acks.entry(u32::from(event.shard)).or_insert_with(|| vec![0]);
                    if event.done <= from {
                        of_shard[0] = of_shard[0].max(event.done);
                    } else if event.done <= to {
                        of_shard.push(event.done);
                    }
                    if is_due {
                        late.push(event.done - event.due.min(event.done));
                    }
                }
                Outcome::Refused | Outcome::Unknown if event.done < from || event.due >= to => {}
                Outcome::Refused => refused += 1,
                Outcome::Unknown => unknown += 1,
            }
        }
        let of_shard = |acks: Vec<u32>| longest_silence(acks.into_iter().filter(|&ack| ack > 0).collect(), from, to);
        let gap = acks.into_values().map(of_shard).max().unwrap_or(0);
        Effects {
            seconds: f64::from(to - from) / 1e6,
            acked: late.len() as u64,
            refused,
            unknown,
            gap_seconds: f64::from(gap) / 1e6,
            p50_ms: quantile_ms(late.clone(), 50),
            p99_ms: quantile_ms(late, 99),
        }
    }

    /// Writes that were not acknowledged.
    pub(super) fn failed(&self) -> u64 {
        self.refused + self.unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Span = Span { from: 1_000_000, to: 2_000_000 };

    fn event(shard: u16, due: u32, done: u32, outcome: Outcome) -> Event {
        Event { number: 0, shard, outcome, due, done }
    }

    fn every_millisecond(shard: u16, from: u32, to: u32) -> impl Iterator<Item = Event> {
        (from..=to).map(move |at| event(shard, at * 1_000, at * 1_000, Outcome::Acked))
    }

    #[test]
    fn the_worst_shard_counts_also_when_it_is_silent_to_the_end() {
        let all: Vec<Event> = every_millisecond(0, 0, 2_000).chain(every_millisecond(1, 0, 1_700)).collect();
        let effects = Effects::during(SPAN, &all, 2);
        assert!((effects.gap_seconds - 0.3).abs() < 1e-9, "{effects:?}");
        let unheard = Effects::during(SPAN, &all, 3);
        assert!((unheard.gap_seconds - 1.0).abs() < 1e-9, "a shard that never answered: {unheard:?}");
    }

    #[test]
    fn failures_count_while_they_were_under_way() {
        let events = [
            event(0, 900_000, 1_100_000, Outcome::Unknown),
            event(0, 1_500_000, 9_000_000, Outcome::Refused),
            event(0, 500_000, 900_000, Outcome::Refused),
            event(0, 2_000_000, 2_100_000, Outcome::Unknown),
        ];
        let effects = Effects::during(SPAN, &events, 1);
        assert_eq!((effects.refused, effects.unknown, effects.failed()), (1, 1, 2));
    }

    #[test]
    fn latency_counts_from_when_a_write_was_due() {
        let late = event(0, 1_200_000, 2_200_000, Outcome::Acked);
        let events: Vec<Event> = every_millisecond(0, 1_000, 1_010).chain([late]).collect();
        let effects = Effects::during(SPAN, &events, 1);
        assert_eq!((effects.acked, effects.p50_ms, effects.p99_ms), (12, 0.0, 1_000.0));
    }
}
