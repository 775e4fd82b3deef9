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

/// CLI-1
#[test]
fn what_makes_no_sense_has_the_status_of_a_wrong_command_line() {
    for arguments in [
        &["start", "--shards", "0"][..],
        &["start", "--log-segment", "1KiB"],
        &["start", "--history", "soon"],
        &["config", "show", "--weight", "65"],
        &["bench", "kv", "--seconds", "0s"],
        &["kv", "get", "--hex", "6"],
        &["kv", "get", "k", "--tls-cert", "client.crt"],
        &["kv", "get", "k", "--level", "local", "--max-staleness", "5s"],
        &["kv", "scan", "--level", "lease", "--max-staleness", "5s"],
        &["kv", "cas", "k", "v", "--if-revision", "latest"],
        &["txn", "gte k"],
    ] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
        assert!(output.stdout.is_empty() && text(&output.stderr).starts_with("error: "), "{arguments:?}");
    }
}

/// CLI-1: some settings are found wrong only when the node has its ports, so that it knows its own address.
#[test]
fn a_wrong_join_list_and_a_zone_that_is_too_long_have_the_same_status() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let data = place.path().display().to_string();
    let zone = "z".repeat(301);
    let [first, second] = ["127.0.0.1:1", "127.0.0.1:2"];
    for arguments in [
        &["--zone", &zone][..],
        &["--join", &format!("{first},{second},{first}")],
        &["--join", first, "--advertise-peer", first],
        &["--join", &format!("{first},{second}"), "--expect", "2"],
    ] {
        let output = run(&[&["start", "--data", &data, "--listen", "127.0.0.1:0"][..], arguments].concat());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.lines().any(|line| line.starts_with("error: ")), "{arguments:?}: {said}");
    }
}

/// CLI-2
#[test]
fn a_wrong_command_line_is_json_where_json_is_asked_for() {
    let lines: [&[&str]; 4] = [
        &["strat", "--format", "json"],
        &["--format=json", "kv", "get"],
        &["kv", "--format", "json"],
        &["kv", "scan", "--limit", "0", "--format", "json"],
    ];
    for arguments in lines {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let error: serde_json::Value = serde_json::from_slice(&output.stderr).expect("json");
        assert!(error["error"].as_str().is_some_and(|sentence| !sentence.contains('\n')), "{arguments:?}: {error}");
        assert!(error["hint"].is_string() && error["code"].is_null(), "{arguments:?}: {error}");
    }
    let output = strata(&["strat"]).env("STRATA_FORMAT", "json").output().expect("the program starts");
    assert!(text(&output.stderr).starts_with('{'), "{}", text(&output.stderr));
    for arguments in [&["--help", "--format", "json"][..], &["--format", "json", "--version"]] {
        let output = run(arguments);
        assert!(output.status.success() && text(&output.stdout).starts_with(['A', 's']), "{arguments:?}");
    }
}

#[test]
fn a_word_that_is_no_level_of_logging_is_refused() {
    let show =
        |filter: &str| strata(&["config", "show"]).env("STRATA_LOG", filter).output().expect("the program starts");
    assert!(show("warn,strata_raft=debug").status.success());
    let output = show("debugg");
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("off, error, warn, info, debug, trace") && said.contains("did you mean `debug`?"), "{said}");
    let place = tempfile::tempdir().expect("a temporary directory");
    let file = place.path().join("strata.toml");
    std::fs::write(&file, "log = \"debug\"\n").expect("writable");
    let output = run(&["config", "show", "--config", &file.display().to_string()]);
    assert_eq!(output.status.code(), Some(2), "it is no setting of the file");
}

/// Somebody is there who never answers.
#[test]
fn what_only_looks_never_says_that_it_may_have_written() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    let told = |arguments: &[&str]| {
        let output = run(&[arguments, &["--addr", &address, "--timeout", "100ms", "--format", "json"]].concat());
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        serde_json::from_slice::<serde_json::Value>(&output.stderr).expect("json")
    };
    let looks: [&[&str]; 4] = [
        &["kv", "get", "k"],
        &["cluster", "balance", "--dry-run"],
        &["cluster", "upgrade", "--dry-run"],
        &["txn", "begin"],
    ];
    for arguments in looks {
        let error = told(arguments);
        assert_eq!(error["outcome"], "not applied", "{arguments:?}: {error}");
        assert!(!error["hint"].to_string().contains("write"), "{arguments:?}: {error}");
    }
    let error = told(&["cluster", "balance"]);
    assert_eq!(error["outcome"], "unknown", "{error}");
    assert!(error["hint"].to_string().contains("does no harm"), "{error}");
}

/// CLI-1, CLI-2
#[test]
fn an_error_is_one_sentence_and_a_hint_on_standard_error() {
    let output = run(&["start", "--expect", "3"]);
    assert_eq!(output.status.code(), Some(2));
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
    assert_eq!(output.status.code(), Some(2));
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
