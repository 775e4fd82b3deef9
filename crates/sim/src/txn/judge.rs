//! What all transactions of a run must be together.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use strata_check::transactions::{Step as Checked, TransactionHistory, TransactionOutcome};
use strata_check::{CycleVerdict, check_strictly_serializable};
use strata_types::Timestamp;

use super::book::{Book, Entry, Fate, Step};
use super::special::broken;
use super::stored::is_foreign;

/// Names of keys as the checker knows them.
#[derive(Default)]
struct Names {
    numbers: BTreeMap<String, u64>,
}

impl Names {
    fn number(&mut self, name: &str) -> u64 {
        let next = self.numbers.len() as u64;
        *self.numbers.entry(name.to_owned()).or_insert(next)
    }
}

/// Reports what is broken.
pub(crate) fn judge(book: &Book) {
    let entries = book.entries();
    let verdict = serializable(&entries);
    if !verdict.is_clean() {
        book.report(format!("SIM-TXN-1 strict serializability: {}: {verdict}", verdict.names().join(" ")));
    }
    for text in old_versions(&entries).into_iter().chain(broken(&entries)) {
        book.report(text);
    }
}

/// Keys whose values are removed sometimes: a read of nothing does not tell by whom.
fn is_removable(key: &str) -> bool {
    key.starts_with("d/") || key.starts_with("h/")
}

/// SIM-TXN-1: there is one order of all transactions, also in real time, that explains what each has read.
fn serializable(entries: &[Entry]) -> CycleVerdict {
    let (mut history, mut names) = (TransactionHistory::new(), Names::default());
    let written = written(entries);
    for entry in entries.iter() {
        let outcome = match entry.fate {
            // Who reads in the past has no place in real time.
            _ if entry.travels => continue,
            Fate::Committed { ended, .. } => TransactionOutcome::Committed { at: ended },
            Fate::Aborted => TransactionOutcome::Aborted,
            Fate::Open | Fate::Unknown(_) => TransactionOutcome::Unknown,
        };
        let mut steps: Vec<Checked> = Vec::new();
        for step in &entry.steps {
            match step {
                Step::Scan { start, end, found, .. } => {
                    for (key, value) in scanned(&written, start, end, found).filter(|(key, _)| is_register(key)) {
                        steps.push(Checked::Read { key: names.number(key), value });
                    }
                }
                _ => steps.extend(checked(step, &mut names)),
            }
        }
        history.record(entry.client, entry.began, &steps, outcome);
    }
    check_strictly_serializable(&history)
}

/// All keys that were ever to be written.
fn written(entries: &[Entry]) -> BTreeSet<&str> {
    fn key(step: &Step) -> Option<&str> {
        match step {
            Step::Write { key, .. } => Some(key),
            _ => None,
        }
    }
    entries.iter().flat_map(|entry| &entry.steps).filter_map(key).collect()
}

/// What a scan says of each key in its range, also of those that it did not find.
fn scanned<'a>(
    written: &BTreeSet<&'a str>,
    start: &str,
    end: &str,
    found: &[(String, u64)],
) -> impl Iterator<Item = (&'a str, Option<u64>)> {
    let range = written.range::<str, _>((Bound::Included(start), Bound::Excluded(end)));
    range.map(|key| {
        let index = found.binary_search_by(|(name, _)| name.as_str().cmp(key));
        (*key, index.ok().map(|index| found[index].1))
    })
}

fn is_register(key: &str) -> bool {
    !key.starts_with("l/") && !is_removable(key) && !is_foreign(key)
}

fn checked(step: &Step, names: &mut Names) -> Option<Checked> {
    Some(match step {
        Step::Read { key, found, .. } if is_register(key) => Checked::Read { key: names.number(key), value: *found },
        Step::Write { key, unique: Some(value) } if is_register(key) => {
            Checked::Write { key: names.number(key), value: *value }
        }
        Step::List { key, values } => Checked::ReadList { key: names.number(key), values: values.clone() },
        Step::Append { key, value } => Checked::Append { key: names.number(key), value: *value },
        _ => return None,
    })
}

/// The writes of one key by their timestamps; those whose timestamps nobody knows aside.
#[derive(Default)]
struct Versions {
    known: BTreeMap<Timestamp, Vec<Option<u64>>>,
    others: Vec<Option<u64>>,
}

/// SIM-TXN-2: at a timestamp one reads what was committed last up to it. Each commit tells its timestamp, so that this can
/// be looked up.
fn old_versions(entries: &[Entry]) -> Option<String> {
    let (written, mut keys) = (written(entries), BTreeMap::<&str, Versions>::new());
    for entry in entries {
        let at = match entry.fate {
            _ if entry.travels => continue,
            Fate::Committed { at, .. } => at,
            Fate::Unknown(_) | Fate::Open => None,
            Fate::Aborted => continue,
        };
        let mut last: BTreeMap<&str, Option<u64>> = BTreeMap::new();
        for step in &entry.steps {
            if let Step::Write { key, unique } = step {
                last.insert(key, *unique);
            }
        }
        for (key, unique) in last {
            let versions = keys.entry(key).or_default();
            match at {
                Some(at) => versions.known.entry(at).or_default().push(unique),
                None => versions.others.push(unique),
            }
        }
    }
    let none = Versions::default();
    let check = |number: usize, key: &str, at: Timestamp, found: Option<u64>| {
        if is_foreign(key) {
            return None;
        }
        let versions = keys.get(key).unwrap_or(&none);
        let newest = versions.known.range(..=at).next_back();
        let is_right = newest.map_or(found.is_none(), |(_, written)| written.contains(&found));
        let text = || format!("SIM-TXN-2 versions: t{number} read {found:?} of {key} at {at}; written: {newest:?}");
        (!is_right && !versions.others.contains(&found)).then(text)
    };
    for (number, entry) in entries.iter().enumerate() {
        for step in &entry.steps {
            let broken = match step {
                Step::Read { key, at, found, own: false } => check(number, key, *at, *found),
                Step::Scan { start, end, at, found } => {
                    scanned(&written, start, end, found).find_map(|(key, found)| check(number, key, *at, found))
                }
                _ => None,
            };
            if broken.is_some() {
                return broken;
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use strata_types::ClientId;

    use super::*;
    use crate::txn::story::Story;

    fn entry(fate: Fate, steps: Vec<Step>) -> Entry {
        let story = Story::Registers;
        let (client, counted) = (ClientId(1), Vec::new());
        Entry { client, story, began: 0, steps, fate, handle: None, travels: false, counted }
    }

    fn committed(at: u64) -> Fate {
        Fate::Committed { at: Some(Timestamp(at)), ended: at }
    }

    fn read(key: &str, at: u64, found: Option<u64>) -> Step {
        Step::Read { key: key.into(), at: Timestamp(at), found, own: false }
    }

    #[test]
    fn a_read_of_another_version_than_the_newest_is_found() {
        let write = |key: &str, unique| Step::Write { key: key.into(), unique };
        let writes = [
            entry(committed(5), vec![write("a", Some(1)), write("b", Some(2))]),
            entry(committed(8), vec![write("a", Some(3)), write("b", None)]),
            entry(Fate::Aborted, vec![write("a", Some(9))]),
        ];
        let found = |step: Step| {
            let mut entries = writes.to_vec();
            entries.push(entry(committed(20), vec![step]));
            old_versions(&entries).is_some()
        };
        let scan = |at, found: &[(&str, u64)]| {
            let found = found.iter().map(|(key, unique)| ((*key).to_owned(), *unique)).collect();
            Step::Scan { start: "a".into(), end: "c".into(), at: Timestamp(at), found }
        };
        for right in [read("a", 5, Some(1)), read("a", 4, None), read("a", 8, Some(3)), read("b", 9, None)] {
            assert!(!found(right));
        }
        assert!(!found(scan(7, &[("a", 1), ("b", 2)])) && !found(scan(8, &[("a", 3)])));
        for wrong in [read("a", 5, None), read("a", 9, Some(1)), read("a", 9, Some(9)), read("b", 8, Some(2))] {
            assert!(found(wrong));
        }
        assert!(found(scan(8, &[("a", 3), ("b", 2)])) && found(scan(7, &[("a", 1)])));
    }

    #[test]
    fn an_order_against_real_time_is_found() {
        let write = |key: &str, unique| Step::Write { key: key.into(), unique: Some(unique) };
        let mut entries = vec![
            entry(Fate::Committed { at: None, ended: 1 }, vec![write("a", 1)]),
            entry(Fate::Committed { at: None, ended: 9 }, vec![read("a", 1, None)]),
        ];
        entries[1].client = ClientId(2);
        entries[1].began = 5;
        assert_eq!(serializable(&entries).names(), ["G-single-realtime"]);
        entries[1].began = 0;
        assert!(serializable(&entries).is_clean());
    }
}
