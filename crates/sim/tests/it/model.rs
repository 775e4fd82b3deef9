//! The model explorer (`docs/transactions.md`): the code as it is passes, and no rule can be taken out without a
//! schedule that breaks what clients were promised. Each run is a process of its own, because a seeded bug of the shard
//! is switched on for a whole process.

use std::process::Command;

use strata_sim::model::Rule;

fn explore(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_strata-model")).args(arguments).output().expect("the model starts");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// In so many schedules each rule is missed: eight times what the one that takes longest needs.
const SCHEDULES_UNTIL_MISSED: &str = "100000";

#[test]
fn the_code_as_it_is_passes() {
    let (is_clean, output) = explore(&["--seed", "1", "--schedules", "40000"]);
    assert!(is_clean, "{output}");
    // A schedule in which little happens shows little.
    let effects =
        output.lines().find_map(|line| line.split(" steps and ").nth(1)?.split(' ').next()?.parse::<f64>().ok());
    assert!(effects.is_some_and(|effects| effects > 2.5), "{output}");
}

#[test]
fn equal_seeds_give_equal_schedules() {
    let trace = |seed: &str| {
        let (_, output) = explore(&["--seed", seed, "--schedules", "20", "--trace"]);
        output.lines().filter(|line| !line.contains(" a second, ")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(trace("5"), trace("5"));
    assert_ne!(trace("5"), trace("6"));
}

#[test]
fn each_rule_is_missed_when_it_is_taken_out() {
    for (_, id, name) in Rule::ALL {
        let (is_clean, output) = explore(&["--seed", "1", "--schedules", SCHEDULES_UNTIL_MISSED, "--without", name]);
        assert!(!is_clean && output.contains(": VIOLATION "), "{id} {name} was not missed\n{output}");
    }
}
