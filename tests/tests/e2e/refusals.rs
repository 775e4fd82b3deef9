//! What goes wrong at a start: one sentence, the cause, the next step.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use crate::harness::{Demo, LONG, Node, free_base, run};

#[test]
fn a_taken_port_names_its_holder_and_a_free_one() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let base = free_base();
    let _holder = TcpListener::bind(("127.0.0.1", base)).expect("it was free");
    let data = place.path().display().to_string();
    let refused = run(&["start", "--data", &data, "--listen", &format!("127.0.0.1:{base}")]);
    let sentence = refused.failed();
    assert!(sentence.starts_with(&format!("client port 127.0.0.1:{base} is taken")), "{refused:?}");
    assert!(refused.stderr.contains(&(base + 10).to_string()), "the next free one: {refused:?}");
    if cfg!(target_os = "linux") {
        assert!(sentence.contains(&format!("process {}", std::process::id())), "{refused:?}");
    }
    let refused = run(&["demo", "--no-shell", "--port", &base.to_string()]);
    assert!(refused.failed().starts_with(&format!("port {base} is taken")), "{refused:?}");
}

/// SERVER-1
#[test]
fn a_data_directory_has_one_process() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let data = place.path().display().to_string();
    let base = free_base();
    let mut first = Node::start(&["start", "--data", &data, "--listen", &format!("127.0.0.1:{base}")]);
    first.wait_event("ready", LONG);
    let refused = run(&["start", "--data", &data, "--listen", &format!("127.0.0.1:{}", base + 10)]);
    let expected = format!("data directory {data} is in use by process {}", first.pid());
    assert_eq!(refused.failed(), expected);
}

#[test]
fn a_newer_format_is_refused_before_anything_is_touched() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let data = place.path().display().to_string();
    let address = format!("127.0.0.1:{}", free_base());
    let mut node = Node::start(&["start", "--data", &data, "--listen", &address]);
    node.wait_event("ready", LONG);
    let (ran, _) = node.stop(LONG);
    assert_eq!(ran.status, 0, "{ran:?}");
    std::fs::write(place.path().join("FORMAT"), "strata 999\n").expect("writable");
    // Of our own format this would be a leftover, to be swept.
    std::fs::remove_dir_all(place.path().join("shards")).expect("it was there");
    std::fs::create_dir_all(place.path().join("shards/7/tablet-1")).expect("writable");
    let before = content(place.path());
    let refused = run(&["start", "--data", &data, "--listen", &address]);
    assert!(refused.failed().contains("format 999"), "{refused:?}");
    assert_eq!(content(place.path()), before, "nothing in it was touched");
}

/// Every directory and file below a directory. `LOCK` says who looked last, so its content does not count.
fn content(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(content(&path));
            found.insert(path, Vec::new());
        } else {
            let is_lock = path.file_name().is_some_and(|name| name == "LOCK");
            let bytes = if is_lock { Vec::new() } else { std::fs::read(&path).expect("readable") };
            found.insert(path, bytes);
        }
    }
    found
}

#[test]
fn a_join_to_a_dead_address_says_whom_it_waits_for_and_stops_when_told() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let data = place.path().display().to_string();
    let base = free_base();
    let (dead, own) = (format!("127.0.0.1:{}", base + 21), format!("127.0.0.1:{}", base + 1));
    let mut node = Node::start(&[
        "start",
        "--data",
        &data,
        "--listen",
        &format!("127.0.0.1:{base}"),
        "--join",
        &format!("{dead},{own}"),
        "--expect",
        "2",
    ]);
    node.wait_told("the dead address", LONG, |told| told["phase"].as_str().is_some_and(|phase| phase.contains(&dead)));
    let (ran, _) = node.stop(LONG);
    assert_eq!(ran.status, 0, "{ran:?}");
}

#[test]
fn a_node_of_the_founding_line_that_comes_late_joins_and_members_of_two_clusters_are_refused() {
    let demo = Demo::start();
    let place = tempfile::tempdir().expect("a temporary directory");
    let data = |name: &str| place.path().join(name).display().to_string();
    let address = |offset: u16| format!("127.0.0.1:{}", demo.base + offset);
    let peers: Vec<String> = (0..3).map(|node| address(10 * node + 1)).collect();
    let join = format!("{},{}", peers.join(","), address(41));
    let (late, listen) = (data("late"), address(40));
    let mut fourth = Node::start(&[
        "start", "--data", &late, "--listen", &listen, "--join", &join, "--expect", "3", "--shards", "4",
    ]);
    fourth.wait_event("ready", LONG);
    let (alone, listen) = (data("alone"), address(50));
    let mut other = Node::start(&["start", "--data", &alone, "--listen", &listen, "--shards", "1"]);
    other.wait_event("ready", LONG);
    let join = format!("{},{}", peers[0], address(51));
    let refused = run(&["start", "--data", &data("both"), "--listen", &address(60), "--join", &join]);
    assert!(refused.failed().contains("different clusters"), "{refused:?}");
}

/// CLUSTER-10
#[test]
fn a_join_to_a_cluster_of_another_name_is_refused_and_both_sides_say_so() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let data = |name: &str| place.path().join(name).display().to_string();
    let base = free_base();
    let address = |offset: u16| format!("127.0.0.1:{}", base + offset);
    let (own, other, listen, join) = (data("own"), data("other"), address(0), address(1));
    let line = ["start", "--data", &own, "--listen", &listen, "--shards", "1"];
    let mut first = Node::start(&[&line[..], &["--cluster", "prod"]].concat());
    first.wait_event("ready", LONG);
    let status = run(&["cluster", "status", "--addr", &listen]).succeeded().stdout.clone();
    assert!(status.contains("  cluster prod ("), "{status}");

    let second = address(10);
    let joins = ["start", "--data", &other, "--listen", &second, "--join", &join];
    let refused = run(&joins);
    let sentence = refused.failed();
    assert!(sentence.contains(&join) && sentence.contains("it is called prod"), "{refused:?}");
    assert!(sentence.contains("started for a cluster called strata: start it with --cluster prod"), "{refused:?}");
    let mut taken = Node::start(&[&joins[..], &["--cluster", "prod"]].concat());
    taken.wait_event("ready", LONG);
    drop(taken.stop(LONG));

    let (ran, _) = first.stop(LONG);
    assert!(ran.stderr.contains("a node of another cluster's name wants to join"), "{ran:?}");
    assert!(ran.stderr.contains("wanted=strata") && ran.stderr.contains("own=prod"), "{ran:?}");
    let refused = run(&line);
    let expected =
        "the data directory belongs to a cluster called prod, and the node was started for one called strata";
    assert_eq!(refused.failed(), expected);
    assert!(refused.stderr.contains("give --cluster the name"), "{refused:?}");
}

#[test]
fn without_a_quorum_writes_and_reads_fail_with_the_reason() {
    let mut demo = Demo::start();
    demo.run(&["kv", "put", "k", "v"]).succeeded();
    for number in [2, 3] {
        demo.kill(number);
        demo.wait_ended(number);
    }
    let address = demo.child(1).client.clone();
    for arguments in [&["kv", "put", "k", "w"][..], &["kv", "get", "k"]] {
        let mut all = arguments.to_vec();
        all.extend(["--addr", &address, "--timeout", "2s"]);
        let refused = run(&all);
        assert!(!refused.failed().is_empty());
        assert!(refused.stderr.contains("majority") || refused.stderr.contains("cluster status"), "{refused:?}");
        all.extend(["--format", "json"]);
        let refused = run(&all);
        let error: serde_json::Value = serde_json::from_str(refused.stderr.trim()).expect("json");
        let code = error["code"].as_str().expect("a code");
        assert!(["unavailable", "deadline_exceeded"].contains(&code), "{error}");
        assert!(["not applied", "unknown"].contains(&error["outcome"].as_str().expect("an outcome")), "{error}");
    }
}

#[test]
fn nobody_there_is_said_plainly() {
    let address = format!("127.0.0.1:{}", free_base());
    let refused = run(&["kv", "get", "k", "--addr", &address]);
    assert_eq!(refused.failed(), format!("nobody answers at {address} (connection refused)"));
}

/// SERVER-2
#[test]
fn other_addresses_than_loopback_need_the_switch() {
    let refused = run(&["start", "--listen", "0.0.0.0:7400"]);
    assert!(refused.failed().contains("--insecure"), "{refused:?}");
}

#[test]
fn unknown_settings_are_errors() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let file = place.path().join("strata.toml");
    std::fs::write(&file, "lisen = \":7400\"\n").expect("writable");
    let refused = run(&["config", "show", "--config", &file.display().to_string()]);
    assert!(refused.failed().contains("lisen"), "{refused:?}");
    assert!(refused.stderr.contains("did you mean `listen`?"), "{refused:?}");
}
