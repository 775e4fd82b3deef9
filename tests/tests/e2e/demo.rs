//! `strata demo`, and the commands for people and scripts against it.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

use crate::harness::{Demo, LONG, command, free_base, ran, run};

#[test]
fn every_node_takes_and_gives_every_key() {
    let demo = Demo::start();
    for writer in &demo.children {
        for number in 0..8 {
            let (key, value) = (format!("{}-{number}", writer.number), format!("value {number}"));
            run(&["kv", "put", &key, &value, "--addr", &writer.client]).succeeded();
            for reader in &demo.children {
                let read = run(&["kv", "get", &key, "--addr", &reader.client]).succeeded();
                assert_eq!(read.stdout, format!("{value}\n"));
            }
        }
    }
    let scanned = demo.run(&["kv", "scan", "--prefix", "2-"]).succeeded();
    let expected: String = (0..8).map(|number| format!("2-{number}\tvalue {number}\n")).collect();
    assert_eq!(scanned.stdout, expected, "in key order, over all shards");
    let (ran, told) = demo.stop();
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(told.iter().any(|told| told["event"] == "removed"), "it says that the data is gone: {told:?}");
}

/// CLI-1: a condition that does not hold and a key that is not there are no success.
#[test]
fn the_commands_answer_scripts() {
    let demo = Demo::start();
    let json = |arguments: &[&str]| {
        let mut all = arguments.to_vec();
        all.extend(["--format", "json"]);
        demo.run(&all)
    };
    let written = json(&["kv", "put", "k", "v1"]).succeeded().json();
    let revision = written["revision"].as_str().expect("a revision").to_owned();
    let read = json(&["kv", "get", "k"]).succeeded().json();
    assert_eq!((read["key"].as_str(), read["value"].as_str()), (Some("k"), Some("v1")));
    assert_eq!(read["revision"].as_str(), Some(revision.as_str()));

    assert_eq!(json(&["kv", "cas", "k", "v2", "--if-revision", &revision]).succeeded().json()["succeeded"], true);
    let refused = json(&["kv", "cas", "k", "v3", "--if-value", "v1"]);
    assert_eq!(refused.status, 3, "{refused:?}");
    assert!(refused.stderr.contains("the key holds `v2`"), "{refused:?}");
    assert_eq!(json(&["kv", "cas", "k", "v4", "--if-absent"]).status, 3);
    assert_eq!(json(&["kv", "cas", "k", "--delete", "--if-value", "v2"]).succeeded().json()["succeeded"], true);
    let missing = json(&["kv", "get", "k"]);
    assert_eq!(missing.status, 3, "there is no such key");
    let told: serde_json::Value = serde_json::from_str(missing.stderr.trim()).expect("json");
    assert_eq!((told["key"].as_str(), &told["value"]), (Some("k"), &serde_json::Value::Null), "{told}");
    assert_eq!(json(&["kv", "del", "k"]).succeeded().json()["existed"], false);

    json(&["kv", "put", "--hex", "00ff", "fe01"]).succeeded();
    let bytes = json(&["kv", "get", "--base64", "AP8="]).succeeded().json();
    assert_eq!(bytes["value"], "/gE=");

    let status = json(&["cluster", "status"]).succeeded().json();
    assert_eq!((&status["nodes"], &status["shards"]), (&3.into(), &4.into()));
    assert_eq!(json(&["cluster", "nodes"]).succeeded().json().as_array().map(Vec::len), Some(3));
    assert_eq!(json(&["cluster", "shards"]).succeeded().json().as_array().map(Vec::len), Some(4));
}

#[test]
fn a_benchmark_reports_in_json() {
    let demo = Demo::start();
    for target in [&["--clients", "8"][..], &["--rate", "200"], &["--unary", "--clients", "4", "--read-percent", "50"]]
    {
        let mut arguments = vec!["bench", "kv", "--seconds", "1", "--warmup", "0", "--keys", "100", "--format", "json"];
        arguments.extend(target);
        let report = demo.run(&arguments).succeeded().json();
        assert!(report["operations"].as_u64().is_some_and(|count| count > 0), "{target:?}: {report}");
        assert!(report["p99"].as_f64() >= report["p50"].as_f64(), "{target:?}: {report}");
        assert_eq!(report["errors"], serde_json::json!({}), "{target:?}: {report}");
    }
}

#[test]
fn a_benchmark_leaves_its_keys_only_if_it_is_told_to() {
    let demo = Demo::start();
    demo.run(&["kv", "put", "bench-press", "80 kg"]).succeeded();
    demo.run(&["kv", "put", "bench-0000000300", "of a larger run"]).succeeded();
    let line = ["bench", "kv", "--seconds", "500ms", "--warmup", "0", "--keys", "300", "--read-percent", "10"];
    let keys = || demo.run(&["kv", "scan", "--prefix", "bench-", "--keys-only"]).succeeded().stdout;
    let kept = demo.run(&[&line[..], &["--keep"]].concat()).succeeded();
    assert!(kept.stdout.contains("the keys bench-... stay"), "{kept:?}");
    assert_eq!(keys().lines().count(), 302);
    demo.run(&[&line[..], &["--unary"]].concat()).succeeded();
    assert_eq!(keys(), "bench-0000000300\nbench-press\n", "nobody else's are gone");
}

#[test]
fn a_scan_finds_the_same_within_a_transaction_and_outside() {
    let demo = Demo::start();
    for (key, value) in [("a", "1"), ("b", "2")] {
        demo.run(&["kv", "put", key, value]).succeeded();
    }
    let outside = demo.run(&["kv", "scan", "--format", "json"]).succeeded().stdout;
    let lines: Vec<serde_json::Value> =
        outside.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect();
    assert_eq!(lines.iter().map(|line| line["key"].as_str()).collect::<Vec<_>>(), [Some("a"), Some("b")]);
    let inside = demo.run(&["txn", "begin", "scan", "scan --prefix nothing", "rollback", "--format", "json"]);
    let inside = inside.succeeded().stdout;
    let scanned: Vec<Vec<serde_json::Value>> =
        inside.lines().skip(1).take(2).map(|line| serde_json::from_str(line).expect("an array a line")).collect();
    assert_eq!(scanned, [lines, Vec::new()], "one line for each command: {inside}");
    assert_eq!(inside.lines().count(), 4, "{inside}");
    assert_eq!(inside.lines().last(), Some(r#"{"status":"aborted"}"#));
}

#[test]
fn a_kept_demo_goes_on_with_its_data() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let directory = place.path().join("kept");
    let base = free_base();
    let demo = Demo::start_in(&directory, base);
    demo.run(&["kv", "put", "greeting", "hello"]).succeeded();
    let before = demo.ask("status");
    let (ran, _) = demo.stop();
    assert_eq!(ran.status, 0, "{ran:?}");

    let demo = Demo::start_in(&directory, base);
    assert_eq!(demo.run(&["kv", "get", "greeting"]).succeeded().stdout, "hello\n");
    assert_eq!(demo.ask("status")["cluster"], before["cluster"]);
    let path = directory.display().to_string();
    let refused = run(&["demo", "--no-shell", "--nodes", "5", "--keep", &path]);
    assert!(refused.failed().contains("--nodes 3"), "{refused:?}");
}

#[test]
fn a_script_drives_the_shell() {
    let base = free_base().to_string();
    let mut shell = command(&["demo", "--port", &base]);
    let mut shell = shell.stdin(Stdio::piped()).spawn().expect("the program starts");
    let script = "# a comment\nput greeting 'hello world'\nget greeting\nscan\nstatus\n";
    shell.stdin.take().expect("piped").write_all(script.as_bytes()).expect("writable");
    let output = shell.wait_with_output().expect("it ends with its input");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout} {}", String::from_utf8_lossy(&output.stderr));
    assert!(stdout.contains("\nhello world\n"), "{stdout}");
    assert!(stdout.contains("greeting\thello world\n"), "{stdout}");
    assert!(stdout.contains("\nhealthy\n"), "{stdout}");
}

#[test]
fn a_demo_starts_where_the_environment_is_no_text() {
    let base = free_base().to_string();
    let mut demo = command(&["demo", "--port", &base]);
    // Its input is at its end, so that it stops as soon as it is ready.
    demo.env("LEGACY", OsStr::from_bytes(b"caf\xe9"));
    let ended = ran(demo);
    assert!(ended.succeeded().stdout.contains("3 nodes are ready"));
}

#[test]
fn a_killed_node_is_reported_and_comes_back_by_the_printed_line() {
    let mut demo = Demo::start();
    demo.wait_healthy(LONG);
    demo.run(&["kv", "put", "before", "1"]).succeeded();
    demo.kill(3);
    let told = demo.wait_ended(3);
    let line = told["restart"].as_str().expect("a line");
    assert_eq!(line, demo.child(3).restart);
    demo.run(&["kv", "put", "meanwhile", "2"]).succeeded();
    let mut again = crate::harness::Node::start_line(line);
    again.wait_event("ready", LONG);
    demo.wait_healthy(LONG);
    let address = demo.child(3).client.clone();
    for (key, value) in [("before", "1\n"), ("meanwhile", "2\n")] {
        assert_eq!(run(&["kv", "get", key, "--addr", &address]).succeeded().stdout, value);
    }
    let (ran, _) = again.stop(LONG);
    assert_eq!(ran.status, 0, "{ran:?}");
}
