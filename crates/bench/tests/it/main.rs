//! The program itself, without a cluster: what it says, and how it ends.
#![allow(clippy::disallowed_methods, reason = "an edge: it starts a process")]

use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_strata-bench")).args(arguments).output().expect("the program starts")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn parts_that_there_are_not_are_refused_with_those_that_there_are() {
    let refused = run(&["membership", "--only", "nonsense"]);
    assert_eq!(refused.status.code(), Some(2));
    let text = stderr(&refused);
    for part in ["transfer", "drain", "rolling", "join", "disk", "faults"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_program_that_cannot_be_started_is_named() {
    let failed = run(&["membership", "--only", "join", "--strata", "/no/such/program"]);
    assert_eq!(failed.status.code(), Some(2), "nothing could be measured: {failed:?}");
    assert!(stderr(&failed).contains("/no/such/program"), "{failed:?}");
    assert!(failed.stdout.is_empty(), "{failed:?}");
}
