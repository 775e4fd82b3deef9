//! Answers, errors and exit statuses.

use std::process::{Command, Output, Stdio};

fn strata(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strata"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("STRATA_")) {
        command.env_remove(name);
    }
    command.args(arguments).current_dir(std::env::temp_dir()).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> Output {
    strata(arguments).output().expect("the program starts")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[test]
fn help_goes_to_standard_output_and_has_examples() {
    for arguments in [&["--help"][..], &["start", "--help"], &["demo", "--help"], &["kv", "cas", "--help"]] {
        let output = run(arguments);
        assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}");
        assert!(text(&output.stdout).contains("Example"), "{arguments:?}");
    }
}

/// CLI-1
#[test]
fn a_wrong_command_line_has_a_status_of_its_own() {
    let output = run(&["strat"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty());
    assert!(text(&output.stderr).contains("start"), "it suggests what was meant");
}

/// CLI-1, CLI-2
#[test]
fn an_error_is_one_sentence_and_a_hint_on_standard_error() {
    let output = run(&["start", "--expect", "3"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let lines: Vec<_> = text(&output.stderr).lines().collect();
    assert!(lines.len() == 2 && lines[0].starts_with("error: ") && lines[1].starts_with("hint: "), "{lines:?}");
    let json = run(&["start", "--expect", "3", "--format", "json"]);
    let error: serde_json::Value = serde_json::from_slice(&json.stderr).expect("json");
    assert_eq!(error["error"].as_str(), lines[0].strip_prefix("error: "));
}

#[cfg(unix)]
#[test]
fn an_environment_that_is_no_text_is_an_error_only_where_it_is_a_setting() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let show = |name: &str| {
        let value = OsStr::from_bytes(b"caf\xe9");
        strata(&["config", "show"]).env(name, value).output().expect("the program starts")
    };
    let output = show("LEGACY");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = show("STRATA_ZONE");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("error: STRATA_ZONE: "), "{}", text(&output.stderr));
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let mut child =
        strata(&["config", "show"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
}
