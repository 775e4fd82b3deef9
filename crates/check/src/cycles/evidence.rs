//! Which key is behind an edge. Edges do not keep it: only the few that are reported are looked up again.

use super::edges::Why;
use super::view::View;
use crate::transactions::{Action, StoredStep};

/// The first key by which one transaction comes before another for that reason.
pub(crate) fn key(view: &View<'_>, before: u32, after: u32, why: Why) -> Option<u32> {
    let mut keys: Vec<u32> = view.history.steps(before).iter().map(|step| step.key).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.retain(|key| view.history.steps(after).iter().any(|step| step.key == *key));
    let shows = |key: &u32| {
        let (left, right) = (Sight::of(view, before, *key), Sight::of(view, after, *key));
        match why {
            Why::WriteRead => right.found().is_some_and(|found| left.writes.contains(&found)),
            Why::WriteWrite if view.history.is_list(*key) => {
                let place = |value: &u64| view.history.order(*key).iter().position(|other| other == value);
                let first = left.writes.iter().filter_map(place).min();
                let last = right.writes.iter().map(|value| place(value).unwrap_or(usize::MAX)).max();
                first < last && first.is_some()
            }
            Why::WriteWrite => {
                !right.writes.is_empty() && right.found().is_some_and(|found| left.writes.contains(&found))
            }
            Why::ReadWrite if view.history.is_list(*key) => {
                left.read.is_some() && right.writes.iter().any(|value| !left.values(view).contains(value))
            }
            Why::ReadWrite => {
                let is_same = right.read.is_some() && left.found() == right.found();
                !right.writes.is_empty() && left.read.is_some() && (left.found().is_none() || is_same)
            }
            Why::WriteWriteInTime => !left.writes.is_empty() && !right.writes.is_empty(),
            Why::ReadWriteInTime => left.read.is_some() && !right.writes.is_empty(),
            Why::Process | Why::Realtime | Why::Link => false,
        }
    };
    keys.into_iter().find(shows)
}

/// What a transaction did with one key.
struct Sight {
    writes: Vec<u64>,
    /// Its first read.
    read: Option<StoredStep>,
    found: Option<u64>,
}

impl Sight {
    fn of(view: &View<'_>, transaction: u32, key: u32) -> Sight {
        let steps = || view.history.steps(transaction).iter().filter(|step| step.key == key);
        let writes = steps().filter(|step| step.action == Action::Write).map(|step| step.value).collect();
        let first = steps().next().copied();
        let read = match view.history.is_list(key) {
            true => steps().find(|step| step.action != Action::Write).copied(),
            // A register's later reads find what the transaction itself wrote.
            false => first.filter(|step| step.action != Action::Write),
        };
        let found = read.and_then(|step| match step.action {
            Action::ReadValue => Some(step.value),
            Action::ReadNothing | Action::Write => None,
            Action::ReadPrefix | Action::ReadStrange | Action::ReadTorn => view.history.list(&step).last().copied(),
        });
        Sight { writes, read, found }
    }

    /// The value that was read: of a list its last one.
    fn found(&self) -> Option<u64> {
        self.found
    }

    fn values<'a>(&self, view: &View<'a>) -> &'a [u64] {
        self.read.as_ref().map_or(&[], |step| view.history.list(step))
    }
}
