//! Transactions under faults: seeded bugs of theirs are found, each by name.
//!
//! All of them would take too long for each run of all tests: `SIM_TURN=n` chooses those whose turn it is, `SIM_TURN=all`
//! (`make sim-mutants`) all.

use super::{last_line, simulate, simulate_mutant, total};

/// A seeded bug, the stories that show it, the first seed of the search, and what notices it.
struct Seeded {
    mutant: &'static str,
    stories: &'static str,
    first: u64,
    noticed: &'static [&'static str],
}

const fn seeded(mutant: &'static str, stories: &'static str, first: u64, noticed: &'static [&'static str]) -> Seeded {
    Seeded { mutant, stories, first, noticed }
}

/// What a broken transaction shows.
const ANY: &[&str] = &["SIM-TXN-", "SIM-TIME-", "SIM-CLIENT-", "SIM-RAFT-5", "SIM-NODE-1"];

/// What a write shows that lies below what was read.
const SNAPSHOTS: &[&str] = &["SIM-TXN-2"];

/// In such an order that each turn has some that take longer.
const BUGS: &[Seeded] = &[
    seeded("clock-not-raised", "registers,bank", 1, ANY),
    seeded("entry-of-another-term", "registers,bank", 1, SNAPSHOTS),
    seeded("repeated-prepare-anew", "registers,bank", 1, &["SIM-TXN-6"]),
    // Before seed 8 a session finds out first, whose stamps fall.
    seeded("clock-not-opened-anew", "registers,bank", 8, SNAPSHOTS),
    seeded("write-lock-ignored", "registers,bank", 1, ANY),
    seeded("shared-lock-ignored", "registers", 1, ANY),
    seeded("range-unvalidated", "doctors", 1, ANY),
    seeded("read-unvalidated", "counters,bank", 1, ANY),
    seeded("intent-ignored-by-reads", "registers,bank", 1, ANY),
    seeded("commit-before-prepared", "registers,bank", 1, ANY),
    seeded("prepare-only-writes", "registers,doctors", 1, ANY),
    seeded("timestamps-go-back", "registers", 1, ANY),
    seeded("begin-without-barrier", "registers,bank", 1, ANY),
    seeded("barrier-skips-stamped", "registers,bank", 1, ANY),
    seeded("blind-retry", "counters", 1, ANY),
    seeded("intent-ignored-by-checks", "registers,bank", 81, ANY),
    seeded("abort-after-prepare", "registers,bank", 1, ANY),
    seeded("follower-waits-for-index", "registers,bank", 1, ANY),
    seeded("late-commit-allowed", "registers,bank", 1, ANY),
    seeded("horizon-ignored", "registers,bank", 1, ANY),
    seeded("late-prepare-allowed", "registers,bank", 1, ANY),
    seeded("resolved-forgotten", "registers,bank", 1, ANY),
];

/// Runs of the search for one bug.
const RUNS: u64 = 30;
/// So many turns until each bug was searched for.
const TURNS: usize = 6;

fn find(bug: &Seeded) -> String {
    for seed in bug.first..bug.first + RUNS {
        let run = simulate_mutant(bug.mutant, bug.stories, seed, "30");
        let mut found = run.output.lines().filter_map(|line| line.strip_prefix("VIOLATION "));
        if let Some(found) = found.find(|found| !found.starts_with("SIM-LIVE")) {
            return found.to_owned();
        }
    }
    panic!("{RUNS} seeds did not find the seeded bug {}", bug.mutant);
}

/// The turn that it is; none: all of them.
fn turn() -> Option<usize> {
    let chosen = std::env::var_os("SIM_TURN").unwrap_or_else(|| "0".into());
    if chosen == "all" {
        return None;
    }
    let number = chosen.to_str().and_then(|text| text.parse().ok());
    Some(number.unwrap_or_else(|| panic!("SIM_TURN is {chosen:?}, and should be a number or `all`")))
}

#[test]
fn seeded_bugs_of_transactions_are_found() {
    let turn = turn();
    let is_due = |index: usize| turn.is_none_or(|turn| index % TURNS == turn % TURNS);
    for (_, bug) in BUGS.iter().enumerate().filter(|(index, _)| is_due(*index)) {
        let found = find(bug);
        assert!(bug.noticed.iter().any(|id| found.starts_with(id)), "{}: {found}", bug.mutant);
    }
}

/// SIM-TXN-1, SIM-TXN-2, SIM-TXN-3, SIM-TXN-4, SIM-TXN-5, SIM-TXN-6, SIM-TIME-1
#[test]
fn transactions_stay_right_whatever_fails() {
    for (seed, stories) in [("300", "bank,lists"), ("301", "registers,doctors"), ("302", "counters,fork")] {
        let run = simulate(&["--seed", seed, "--seconds", "25", "--stories", stories]);
        assert_eq!(last_line(&run), "0 violations", "{stories}\n{}", run.output);
        let committed = total(&run, " transactions committed");
        assert!(committed >= 100.0, "{stories}: {committed} transactions\n{}", run.output);
    }
    for (seed, stories) in [("303", "reverse,sets"), ("304", "mixed")] {
        let run = simulate(&["--seed", seed, "--seconds", "25", "--stories", stories]);
        assert_eq!(last_line(&run), "0 violations", "{stories}\n{}", run.output);
    }
}
