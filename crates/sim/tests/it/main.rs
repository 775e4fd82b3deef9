//! The simulator as CI runs it: it is deterministic, it does enough, it finds the bugs that are seeded for it, and the
//! seeds that once failed stay healed. Each run is a process of its own, because a seeded bug is switched on for a
//! whole process.

#![allow(clippy::disallowed_methods, reason = "starts the simulator as a process")]

mod model;
mod transactions;

use std::process::Command;

struct Run {
    output: String,
    succeeded: bool,
}

fn simulate(arguments: &[&str]) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_strata-sim")).args(arguments).output().expect("the simulator starts");
    let output_text = String::from_utf8_lossy(&output.stdout).into_owned();
    Run { output: output_text, succeeded: output.status.success() }
}

/// One run with a seeded bug. Disks that fill up have nothing to do with any of these.
fn simulate_mutant(mutant: &str, stories: &str, seed: u64, seconds: &str) -> Run {
    let seed = seed.to_string();
    let plan = ["--seed", seed.as_str(), "--seconds", seconds, "--stories", stories, "--full-disks", "no"];
    simulate(&[&plan[..], &["--mutant", mutant][..]].concat())
}

fn last_line(run: &Run) -> &str {
    run.output.lines().last().unwrap_or("nothing")
}

/// The sum of the numbers before a word, over the summary lines of all runs.
fn total(run: &Run, word: &str) -> f64 {
    let number = |line: &str| line.split(word).next()?.split_whitespace().last()?.parse::<f64>().ok();
    run.output.lines().filter(|line| line.starts_with("seed ") && line.contains(word)).filter_map(number).sum()
}

#[test]
fn equal_seeds_give_equal_traces_and_different_seeds_do_not() {
    let trace = |seed| {
        let run = simulate(&["--seed", seed, "--seconds", "15", "--trace"]);
        let is_event = |line: &&str| !line.contains(" simulated seconds, ");
        run.output.lines().filter(is_event).map(str::to_owned).collect::<Vec<_>>()
    };
    for seed in ["1", "2", "3"] {
        assert_eq!(trace(seed), trace(seed), "seed {seed}");
    }
    assert_ne!(trace("1"), trace("2"));
}

/// A run that did little proves little.
#[test]
fn runs_are_dense_and_clean() {
    let run = simulate(&["--seed", "100", "--runs", "12", "--seconds", "40"]);
    assert_eq!(last_line(&run), "0 violations", "{}", run.output);
    assert!(run.succeeded);
    let hours = total(&run, " s,") / 3_600.0;
    let (least, found) = (
        [
            ("faults", 300.0),
            ("operations acknowledged", 20_000.0),
            ("joins", 50.0),
            ("moves", 300.0),
            ("removals", 30.0),
        ],
        |word: &str| total(&run, &format!(" {word}")) / hours,
    );
    for (word, least) in least {
        assert!(found(word) >= least, "{:.0} {word} a simulated hour\n{}", found(word), run.output);
    }
}

/// SIM-VERSION-1, SIM-VERSION-2, SIM-VERSION-3, SIM-LIVE-6
#[test]
fn programs_are_exchanged_under_faults() {
    let run = simulate(&["--seed", "400", "--runs", "6", "--seconds", "30", "--version", "1"]);
    assert_eq!(last_line(&run), "0 violations", "{}", run.output);
    let (exchanged, committed) = (total(&run, " programs exchanged"), total(&run, " transactions committed"));
    assert!(exchanged >= 30.0 && committed >= 500.0, "{exchanged} exchanged, {committed} committed\n{}", run.output);
    // And without being told to.
    let chosen = simulate(&["--seed", "100", "--runs", "12", "--seconds", "1"]);
    assert!(total(&chosen, " programs exchanged") >= 3.0, "{}", chosen.output);
}

/// SIM-NODE-1, SIM-LIVE-2
#[test]
fn disks_fill_up_under_faults_and_everything_comes_to_rest_when_they_have_room() {
    let run = simulate(&["--seed", "500", "--runs", "4", "--seconds", "40", "--full-disks", "yes"]);
    assert_eq!(last_line(&run), "0 violations", "{}", run.output);
    let (filled, moves) = (total(&run, " disks filled"), total(&run, " moves"));
    assert!(filled >= 4.0 && moves >= 8.0, "{filled} filled, {moves} moves\n{}", run.output);
}

#[test]
fn seeds_that_once_failed_stay_healed() {
    let corpus = include_str!("../../corpus/seeds.txt");
    for line in corpus.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let mut words = line.split(' ');
        let (seed, seconds) = (words.next().expect("a seed"), words.next().expect("seconds"));
        let run = simulate(&["--seed", seed, "--seconds", seconds]);
        assert_eq!(last_line(&run), "0 violations", "{line}\n{}", run.output);
    }
}

/// Runs seeds until the seeded bug is found by something that must never happen, other than an odd error, and returns what
/// noticed it. The first seed is one that may be a good one; which ones are changes with the code.
fn find(mutant: &str, first: u64) -> String {
    find_beside(mutant, "none", first)
}

/// The same, where transactions of these stories run, too.
fn find_beside(mutant: &str, stories: &str, first: u64) -> String {
    for seed in first..first + 40 {
        let run = simulate_mutant(mutant, stories, seed, "40");
        let mut found = run.output.lines().filter_map(|line| line.strip_prefix("VIOLATION "));
        let is_telling = |found: &&str| !found.starts_with("SIM-LIVE") && !found.starts_with("SIM-CLIENT-2");
        if let Some(found) = found.find(is_telling) {
            return found.to_owned();
        }
    }
    panic!("40 seeds did not find the seeded bug {mutant}");
}

#[test]
fn a_leader_that_answers_reads_without_a_quorum_is_found() {
    let found = find("read-without-quorum", 1);
    assert!(found.starts_with("SIM-CLIENT-1"), "{found}");
}

/// RAFT-6
#[test]
fn a_voter_that_confirms_whoever_asks_is_found() {
    let found = find_beside("roll-call-believes-all", "registers,bank", 60);
    assert!(found.starts_with("SIM-CLIENT-1") || found.starts_with("SIM-TIME-1"), "{found}");
}

/// RAFT-16
#[test]
fn a_voter_that_forgets_what_it_promised_is_found() {
    let found = find("lease-boot-delay-left-out", 1);
    assert!(found.starts_with("SIM-CLIENT-1"), "{found}");
}

#[test]
fn an_acknowledgement_before_the_sync_is_found() {
    let found = find("ack-before-sync", 1);
    assert!(found.starts_with("SIM-"), "{found}");
}

#[test]
fn a_change_of_members_in_one_step_is_found() {
    let found = find("one-step-change", 1);
    assert!(found.starts_with("SIM-"), "{found}");
}

/// RAFT-9
#[test]
fn a_deleted_replica_that_is_opened_again_is_found() {
    let found = find("replica-id-reused", 1);
    assert!(found.starts_with("SIM-MEMBER-1") || found.starts_with("SIM-RAFT-2"), "{found}");
}

/// RAFT-4
#[test]
fn a_hole_between_snapshot_and_log_is_found() {
    let found = find("purge-during-transfer", 1);
    assert!(found.starts_with("SIM-RAFT-") || found.starts_with("SIM-NODE-1"), "{found}");
}

#[test]
fn an_answer_by_an_old_route_is_found() {
    let found = find("old-route-served", 1);
    assert!(found.starts_with("SIM-CLIENT-1"), "{found}");
}

#[test]
fn a_vote_of_a_deleted_replica_is_found() {
    let found = find("removed-node-votes", 1);
    assert!(found.starts_with("SIM-"), "{found}");
}
