//! The gaps of shards that are longer than they should be, with what was done to the cluster shortly before and what the
//! client's attempts ran into meanwhile.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::silence::silences;
use super::effects::Span;
use crate::load::{Event, Outcome};

/// Gaps that are told of, and lines that each gets.
const GAPS_MAX: usize = 24;
const LINES_MAX: usize = 16;
/// What was done this long before a gap belongs to it.
const BEFORE: u32 = 4_000_000;

/// Something that happened, in the load's microseconds.
#[derive(Clone, Debug)]
pub(super) struct Note {
    pub(super) at: u32,
    /// The shard that it is about; none if it may be about any.
    pub(super) shard: Option<u64>,
    pub(super) text: String,
}

/// A time without an acknowledgement of a shard.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Gap {
    shard: u16,
    from: u32,
    to: u32,
    /// What happened around it, with when, from its beginning.
    notes: Vec<String>,
}

impl Gap {
    /// The longest gaps within these spans, in order, of those that are longer than so many microseconds. `notes` are in
    /// order.
    pub(super) fn find(spans: &[Span], events: &[Event], longer: u32, notes: &[Note]) -> Vec<Gap> {
        let mut acks: BTreeMap<u16, Vec<u32>> = BTreeMap::new();
        for event in events.iter().filter(|event| event.outcome == Outcome::Acked) {
            acks.entry(event.shard).or_default().push(event.done);
        }
        let mut gaps = Vec::new();
        for (&shard, acks) in &acks {
            let all = spans.iter().flat_map(|span| silences(acks.clone(), span.from, span.to));
            let long = all.filter(|(from, to)| to - from > longer);
            gaps.extend(long.map(|(from, to)| Gap { shard, from, to, notes: Vec::new() }));
        }
        gaps.sort_by_key(|gap| std::cmp::Reverse(gap.to - gap.from));
        gaps.truncate(GAPS_MAX);
        gaps.sort_by_key(|gap| gap.from);
        gaps.iter_mut().for_each(|gap| gap.explain(notes));
        gaps
    }

    fn explain(&mut self, notes: &[Note]) {
        let Gap { shard, from, to, .. } = *self;
        let is_of_it = |note: &&Note| match note.shard {
            Some(about) => about == u64::from(shard) && (from..=to).contains(&note.at),
            None => (from.saturating_sub(BEFORE)..=to).contains(&note.at),
        };
        let mut lines: Vec<(u32, &str, u32)> = Vec::new();
        for note in notes.iter().filter(is_of_it) {
            match lines.last_mut() {
                Some((_, text, count)) if *text == note.text => *count += 1,
                _ => lines.push((note.at, &note.text, 1)),
            }
        }
        // Of a long story the beginning, where its cause is, and the end, which shows what ended it, say the most.
        let left_out = lines.len().saturating_sub(LINES_MAX);
        let (half, told) = (LINES_MAX / 2, lines.len());
        for (number, (at, text, count)) in lines.into_iter().enumerate() {
            if left_out > 0 && number == half {
                self.notes.push(format!("... {left_out} more ..."));
            }
            if left_out > 0 && (half..told - half).contains(&number) {
                continue;
            }
            let times = if count > 1 { format!(" ({count} times)") } else { String::new() };
            self.notes.push(format!("{:+.3} s {text}{times}", (f64::from(at) - f64::from(from)) / 1e6));
        }
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let (length, from) = (f64::from(self.to - self.from) / 1e6, f64::from(self.from) / 1e6);
        format!("Gap of {length:.3} s of s{} at {from:.3} s: {}.", self.shard, self.notes.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acked(shard: u16, at: u32) -> Event {
        Event { number: 0, shard, outcome: Outcome::Acked, due: at, done: at }
    }

    fn note(at: u32, shard: Option<u64>, text: &str) -> Note {
        Note { at, shard, text: text.to_owned() }
    }

    #[test]
    fn a_gap_is_told_with_what_belongs_to_it() {
        let every = (0..200).map(|tick| tick * 50_000);
        let but_for_half_a_second = every.clone().filter(|at| !(6_000_000..6_500_000).contains(at));
        let events = every.map(|at| acked(1, at)).chain(but_for_half_a_second.map(|at| acked(2, at)));
        let events: Vec<Event> = events.collect();
        let notes = [
            note(1_000, None, "n1 stops"),
            note(5_900_000, None, "n2 stops"),
            note(5_960_000, Some(2), "n2 does not lead"),
            note(5_970_000, Some(2), "n2 does not lead"),
            note(6_000_000, Some(1), "n3 took 60 ms"),
            note(6_499_000, Some(2), "n3 took 400 ms"),
        ];
        let gaps = Gap::find(&[Span { from: 0, to: 9_000_000 }], &events, 100_000, &notes);
        let [gap] = &gaps[..] else { panic!("{gaps:?}") };
        assert_eq!(
            gap.text(),
            "Gap of 0.550 s of s2 at 5.950 s: -0.050 s n2 stops; +0.010 s n2 does not lead (2 times); \
             +0.549 s n3 took 400 ms."
        );
    }

    #[test]
    fn only_the_beginning_and_the_end_of_a_long_story_are_told() {
        let events = [acked(2, 1), acked(2, 1_000_000)];
        let notes: Vec<Note> = (0..40).map(|at| note(at * 1_000 + 10, Some(2), &format!("attempt {at}"))).collect();
        let gaps = Gap::find(&[Span { from: 0, to: 1_000_000 }], &events, 100_000, &notes);
        let told = &gaps[0].notes;
        assert_eq!((told.len(), told[8].as_str()), (LINES_MAX + 1, "... 24 more ..."));
        assert!(told[0].ends_with("attempt 0") && told[LINES_MAX].ends_with("attempt 39"), "{told:?}");
    }
}
