//! Stories with a checker of their own: it knows less than the cycle checker, and says more plainly what is wrong.

use std::collections::BTreeMap;

use strata_check::workloads::{CausalReverse, Counter, LongFork, SetHistory, WriteOutcome};

use super::book::{Entry, Fate, Step};
use super::story::Story;

/// SIM-TXN-5, for the stories about which reads say everything. Returns what is broken.
pub(crate) fn broken(entries: &[Entry]) -> Vec<String> {
    let of = |story: Story| -> Vec<&Entry> {
        entries.iter().filter(|entry| entry.story == story && !entry.travels).collect()
    };
    let mut broken = Vec::new();
    let fork = forks(&of(Story::Fork)).check();
    if !fork.is_clean() {
        broken.push(format!("SIM-TXN-5 long fork: {fork}"));
    }
    for (prefix, reverse) in reverses(&of(Story::Reverse)) {
        let report = reverse.check();
        if !report.is_clean() {
            broken.push(format!("SIM-TXN-5 causal reverse {prefix}: {report}"));
        }
    }
    for (key, counter) in counters(&of(Story::Counters)) {
        let report = counter.check();
        if !report.is_clean() {
            broken.push(format!("SIM-TXN-5 counter {key}: {report}"));
        }
    }
    for (prefix, set) in sets(&of(Story::Sets)) {
        let report = set.check();
        if !report.is_clean() {
            broken.push(format!("SIM-TXN-5 set {prefix}: {report:?}"));
        }
    }
    broken
}

fn outcome(entry: &Entry) -> WriteOutcome {
    match entry.fate {
        Fate::Committed { ended, .. } => WriteOutcome::Acknowledged { at: ended },
        Fate::Aborted => WriteOutcome::Refused,
        Fate::Open | Fate::Unknown(_) => WriteOutcome::Unknown,
    }
}

/// What was written, and how that ended.
fn writes<'a>(entries: &[&'a Entry]) -> impl Iterator<Item = (&'a str, &'a Entry)> {
    let all = entries.iter().flat_map(|entry| entry.steps.iter().map(move |step| (step, *entry)));
    all.filter_map(|(step, entry)| match step {
        Step::Write { key, unique: Some(_) } => Some((key.as_str(), entry)),
        _ => None,
    })
}

/// Those that only read, to their end.
fn readers<'a>(entries: &[&'a Entry]) -> impl Iterator<Item = (&'a Entry, u64)> {
    let reads_only =
        |entry: &&&Entry| entry.steps.iter().all(|step| matches!(step, Step::Read { .. } | Step::Scan { .. }));
    entries.iter().filter(reads_only).filter_map(|entry| match entry.fate {
        Fate::Committed { ended, .. } => Some((*entry, ended)),
        _ => None,
    })
}

/// The number at the end of a key, and what comes before it.
fn numbered(key: &str) -> (&str, u64) {
    let (prefix, number) = key.rsplit_once('/').unwrap_or(("", key));
    (prefix, number.parse().unwrap_or(u64::MAX))
}

fn forks(entries: &[&Entry]) -> LongFork {
    let mut forks = LongFork::new();
    for (entry, _) in readers(entries) {
        let read = |step: &Step| match step {
            Step::Read { key, found, .. } => Some((numbered(key).1, numbered(numbered(key).0).1, found.is_some())),
            _ => None,
        };
        let mut found: Vec<(u64, u64, bool)> = entry.steps.iter().filter_map(read).collect();
        found.sort_unstable();
        let written: Vec<bool> = found.iter().map(|(_, _, is_written)| *is_written).collect();
        if let Some((_, group, _)) = found.first() {
            forks.read(*group, &written);
        }
    }
    forks
}

fn reverses(entries: &[&Entry]) -> BTreeMap<String, CausalReverse> {
    let mut reverses: BTreeMap<String, CausalReverse> = BTreeMap::new();
    for (key, entry) in writes(entries) {
        let (prefix, number) = numbered(key);
        reverses.entry(prefix.to_owned()).or_default().write(number, entry.began, outcome(entry));
    }
    for (entry, _) in readers(entries) {
        for step in &entry.steps {
            let Step::Scan { start, found, .. } = step else { continue };
            if let Some(reverse) = reverses.get_mut(start.trim_end_matches('/')) {
                reverse.read(&found.iter().map(|(key, _)| numbered(key).1).collect::<Vec<_>>());
            }
        }
    }
    reverses
}

/// Only additions: what was read is what the value says, which the cycle checker does not look at.
fn counters(entries: &[&Entry]) -> BTreeMap<String, Counter> {
    let mut counters: BTreeMap<String, Counter> = BTreeMap::new();
    for (key, entry) in writes(entries) {
        counters.entry(key.to_owned()).or_default().add(1, entry.began, outcome(entry));
    }
    for (entry, ended) in readers(entries) {
        for (key, value) in &entry.counted {
            counters.entry(key.clone()).or_default().read(*value, entry.began, ended);
        }
    }
    counters
}

fn sets(entries: &[&Entry]) -> BTreeMap<String, SetHistory> {
    let mut sets: BTreeMap<String, SetHistory> = BTreeMap::new();
    for (key, entry) in writes(entries) {
        let (prefix, element) = numbered(key);
        sets.entry(prefix.to_owned()).or_default().add(element, outcome(entry));
    }
    for (entry, ended) in readers(entries) {
        for step in &entry.steps {
            let Step::Scan { start, found, .. } = step else { continue };
            let elements: Vec<u64> = found.iter().map(|(key, _)| numbered(key).1).collect();
            if let Some(set) = sets.get_mut(start.trim_end_matches('/')) {
                set.read(entry.began, ended, &elements);
            }
        }
    }
    sets
}

#[cfg(test)]
mod tests {
    use strata_types::{ClientId, Timestamp};

    use super::*;

    fn entry(story: Story, (began, ended): (u64, u64), steps: Vec<Step>) -> Entry {
        let fate = Fate::Committed { at: None, ended };
        let client = ClientId(1);
        Entry { client, story, began, steps, fate, handle: None, travels: false, counted: Vec::new() }
    }

    fn write(key: &str) -> Vec<Step> {
        vec![Step::Write { key: key.into(), unique: Some(1) }]
    }

    fn scan(prefix: &str, keys: &[&str]) -> Vec<Step> {
        let found = keys.iter().map(|key| ((*key).to_owned(), 1)).collect();
        vec![Step::Scan { start: prefix.into(), end: "z".into(), at: Timestamp(1), found }]
    }

    fn found(entries: &[Entry]) -> String {
        let broken = broken(entries);
        broken.iter().filter_map(|text| text.split(' ').nth(1)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn each_story_is_judged_by_its_own_checker() {
        let reads = |first: Option<u64>, second: Option<u64>| {
            let read = |key: &str, found| Step::Read { key: key.into(), at: Timestamp(1), found, own: false };
            vec![read("f/7/0", first), read("f/7/1", second)]
        };
        let one = entry(Story::Fork, (1, 2), reads(Some(1), None));
        assert_eq!(found(&[one.clone(), entry(Story::Fork, (1, 2), reads(Some(1), Some(2)))]), "");
        assert_eq!(found(&[one, entry(Story::Fork, (1, 2), reads(None, Some(2)))]), "long");

        let both = [entry(Story::Reverse, (1, 2), write("v/1/5")), entry(Story::Reverse, (3, 4), write("v/1/6"))];
        let seen = |keys: &[&str]| found(&[&both[..], &[entry(Story::Reverse, (1, 9), scan("v/1/", keys))]].concat());
        assert_eq!((seen(&["v/1/5"]).as_str(), seen(&["v/1/6"]).as_str()), ("", "causal"));

        let added = entry(Story::Sets, (1, 2), write("s/1/5"));
        let seen = |keys: &[&str]| found(&[added.clone(), entry(Story::Sets, (3, 4), scan("s/1/", keys))]);
        assert_eq!((seen(&["s/1/5"]).as_str(), seen(&[]).as_str()), ("", "set"));

        let raised = entry(Story::Counters, (1, 2), write("c/0"));
        let seen = |value| {
            let counted = vec![("c/0".to_owned(), value)];
            found(&[raised.clone(), Entry { counted, ..entry(Story::Counters, (3, 4), Vec::new()) }])
        };
        assert_eq!((seen(1).as_str(), seen(0).as_str(), seen(2).as_str()), ("", "counter", "counter"));
    }
}
