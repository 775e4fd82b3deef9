//! Seeded bugs: for each rule of transactions that is taken out, a script says otherwise than it should, and random
//! schedules beside a model go wrong. A program of its own with one test, because a bug is chosen for the whole process.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests may unwrap, and scripts are files")]
#![allow(dead_code, reason = "the modules are those of the other tests, which use more of them")]

#[path = "../it/runner.rs"]
mod runner;
#[path = "../it/show.rs"]
mod show;
#[path = "../it/view.rs"]
mod view;
#[path = "../it/world.rs"]
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use strata_shard::mutant::{self, Mutant};

use crate::runner::ShardRunner;

/// Which script notices which bug.
const CAUGHT_BY: [(Mutant, &str); 12] = [
    (Mutant::WriteLockIgnored, "anomaly_dirty_write"),
    (Mutant::SharedLockIgnored, "anomaly_write_skew"),
    (Mutant::SharedLockIgnored, "anomaly_phantom"),
    (Mutant::RangeUnvalidated, "anomaly_phantom"),
    (Mutant::ReadUnvalidated, "anomaly_lost_update"),
    (Mutant::RepeatedPrepareAnew, "prepare"),
    (Mutant::LateCommitAllowed, "record"),
    (Mutant::LatePrepareAllowed, "prepare_late"),
    (Mutant::HorizonIgnored, "horizon"),
    (Mutant::IntentIgnoredByReads, "anomaly_dirty_read"),
    (Mutant::ResolvedForgotten, "prepare_late"),
    (Mutant::IntentIgnoredByChecks, "anomaly_dirty_read"),
];

/// The lines of a script's output that say what was answered.
fn answers(script: &str) -> Vec<&str> {
    script.lines().filter(|line| line.contains("-> ")).collect()
}

/// Random schedules until one goes wrong.
const SCHEDULES_MAX: usize = 500;

/// The output of a script with a bug in the code.
fn output(bug: Mutant, script: &str) -> String {
    mutant::choose(bug);
    let generate = || goldenscript::generate(&mut ShardRunner::default(), script);
    let output = catch_unwind(AssertUnwindSafe(generate));
    mutant::choose(Mutant::None);
    match output {
        Ok(output) => output.unwrap_or_else(|error| error.to_string()),
        Err(_) => "it panicked".to_owned(),
    }
}

/// How many random schedules pass before one goes wrong; always the same ones.
fn schedules_passed(bug: Mutant) -> usize {
    let (mut runner, schedules) = (TestRunner::deterministic(), world::schedule());
    let passes = |_: &usize| {
        let schedule = schedules.new_tree(&mut runner).unwrap().current();
        mutant::choose(bug);
        let passes = catch_unwind(AssertUnwindSafe(|| world::run(schedule))).is_ok();
        mutant::choose(Mutant::None);
        passes
    };
    (0..SCHEDULES_MAX).take_while(passes).count()
}

/// SHARD-6 to SHARD-11: each of them, taken out, is missed.
#[test]
fn every_seeded_bug_is_caught_by_a_script_and_by_random_schedules() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let by_schedules = Mutant::ALL.map(|bug| (bug, schedules_passed(bug)));
    let read = |script: &str| std::fs::read_to_string(format!("{}/tests/scripts/{script}", env!("CARGO_MANIFEST_DIR")));
    let by_scripts = CAUGHT_BY.map(|(bug, script)| {
        let pinned = read(script).unwrap();
        (bug, script, output(Mutant::None, &pinned), output(bug, &pinned), pinned)
    });
    std::panic::set_hook(hook);
    for (bug, passed) in by_schedules {
        assert!(CAUGHT_BY.iter().any(|(caught, _)| *caught == bug), "no script looks for {bug:?}");
        assert!(passed < SCHEDULES_MAX, "{passed} random schedules do not notice {bug:?}");
    }
    for (bug, script, sound, unsound, pinned) in by_scripts {
        assert_eq!(sound, pinned, "{script} as it should be");
        assert_ne!(answers(&unsound), answers(&pinned), "{script} does not notice {bug:?}");
    }
}
