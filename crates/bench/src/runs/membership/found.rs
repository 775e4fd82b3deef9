//! What a part has found, in words and numbers.

use serde_json::{Value, json};

use super::arena::Story;
use super::effects::Effects;
use super::gaps::Gap;
use crate::report::{Figure, Goal, Table, median, number, spread};

/// What a part has found.
pub(super) struct Found {
    pub(super) figures: Vec<Figure>,
    pub(super) tables: Vec<Table>,
    pub(super) notes: Vec<String>,
    pub(super) lost: u64,
    pub(super) data: Value,
    what: String,
}

impl Found {
    /// What clients noticed: a table, a note, and that nothing may be lost.
    pub(super) fn of(what: String, story: &Story) -> Found {
        let (lost, applied) = (story.lost.len() as u64, story.applied.len() as u64);
        let data = json!({
            "peak": story.rate.peak, "rate": story.rate.rate, "normal": story.normal, "whole": story.whole,
            "steps": story.steps, "gaps": story.gaps, "errors": story.errors, "acked": story.acked, "lost": story.lost,
            "refused_but_applied": story.applied,
        });
        let mut found = Found {
            tables: vec![table(&what, story)],
            notes: std::iter::once(note(&what, story)).chain(story.gaps.iter().map(Gap::text)).collect(),
            figures: Vec::new(),
            lost: lost + applied,
            data,
            what,
        };
        found.at_most("acked writes lost", lost as f64, "", 0.0);
        found.at_most("refused writes that were applied", applied as f64, "", 0.0);
        found
    }

    /// Nothing, and why.
    pub(super) fn nothing(what: String, why: &str) -> Found {
        Found {
            figures: Vec::new(),
            tables: Vec::new(),
            notes: vec![format!("{what}: not measured: {why}")],
            lost: 0,
            data: Value::Null,
            what,
        }
    }

    /// A figure that should not be more than this.
    pub(super) fn at_most(&mut self, name: &str, measured: f64, unit: &'static str, most: f64) {
        let what = format!("{}: {name}", self.what);
        self.figures.push(Figure::new(what, measured, unit, Goal::AtMost(most)));
    }

    /// The same of a latency beside the normal one, when so many writes failed.
    pub(super) fn latency_at_most(&mut self, name: &str, ratio: f64, most: f64, failed: u64) {
        let what = format!("{}: {name}", self.what);
        self.figures.push(Figure::new(what, ratio, "x", Goal::AtMost(most)).with_failed(failed));
    }

    /// More about it, for scripts.
    pub(super) fn add(&mut self, name: &str, value: Value) {
        self.data[name] = value;
    }
}

/// How many times as long as normal. Nothing can be said of a load that had no answers.
pub(super) fn beside(value: f64, normal: f64) -> f64 {
    if normal > 0.0 { value / normal } else { f64::INFINITY }
}

fn table(what: &str, story: &Story) -> Table {
    let mut table = Table::new(&[what, "normal", "median", "least", "most"]);
    let mut row = |name: &str, unit: &str, value: fn(&Effects) -> f64| {
        let (least, most) = spread(story.steps.iter().map(value));
        let all = [value(&story.normal), median(story.steps.iter().map(value)), least, most];
        let cells = all.map(|value| format!("{}{unit}", number(value)));
        table.row(std::iter::once(name.to_owned()).chain(cells));
    };
    row("longest write gap of any shard", " s", |effects| effects.gap_seconds);
    row("p50 of writes", " ms", |effects| effects.p50_ms);
    row("p99 of writes", " ms", |effects| effects.p99_ms);
    row("writes that failed", "", |effects| effects.failed() as f64);
    row("time it took", " s", |effects| effects.seconds);
    table
}

fn note(what: &str, story: &Story) -> String {
    let peak = story.rate.peak.map_or("not measured".to_owned(), |peak| format!("{}/s", number(peak)));
    let Effects { acked, refused, unknown, gap_seconds, .. } = story.whole;
    let mut text = format!(
        "{what}: {} steps, {:.1} s from the first to the last; {acked} writes acknowledged in it, {refused} refused, {unknown} \
         ended as unknown, longest write gap of any shard {gap_seconds:.3} s. Of all {} acknowledged writes, {} were lost. \
         Load: {} writes/s, open loop, shards by turns; closed-loop peak: {peak}.",
        story.steps.len(),
        story.whole.seconds,
        story.acked,
        story.lost.len(),
        story.rate.rate,
    );
    if !story.errors.is_empty() {
        let errors = story.errors.iter().map(|(error, count)| format!("{count} x {error}"));
        text += &format!(" Errors: {}.", errors.collect::<Vec<_>>().join("; "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::super::peak::Rate;
    use super::*;

    fn effects(gap_seconds: f64, unknown: u64) -> Effects {
        Effects { seconds: 2.0, acked: 100, unknown, gap_seconds, p50_ms: 1.0, p99_ms: 2.0, ..Effects::default() }
    }

    #[test]
    fn a_story_is_told_with_its_errors_and_its_losses() {
        let story = Story {
            rate: Rate { peak: Some(9_000.0), rate: 2_700 },
            normal: effects(0.01, 0),
            after: None,
            steps: vec![effects(0.1, 0), effects(0.3, 2)],
            whole: effects(0.3, 2),
            gaps: Vec::new(),
            errors: [("no leader".to_owned(), 2)].into(),
            acked: 200,
            lost: vec![7],
            applied: vec![9],
        };
        let mut found = Found::of("drain".to_owned(), &story);
        found.at_most("writes that failed", story.whole.failed() as f64, "", 0.0);
        let text = found.tables[0].markdown();
        assert!(text.contains("| longest write gap of any shard | 0.010 s | 0.200 s | 0.100 s | 0.300 s |"), "{text}");
        assert!(
            found.notes[0].contains("2 x no leader") && found.notes[0].contains("1 were lost"),
            "{}",
            found.notes[0]
        );
        found.latency_at_most("p99 beside normal", 1.0, 2.0, story.whole.failed());
        assert_eq!((found.lost, found.figures.iter().any(|figure| figure.is_met)), (2, false), "{:?}", found.figures);
        assert_eq!(found.data["steps"][1]["unknown"], 2);
        assert_eq!((beside(3.0, 2.0), beside(3.0, 0.0)), (1.5, f64::INFINITY));
    }
}
