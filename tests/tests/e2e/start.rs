//! `strata start` of one node, and its ports.

use crate::harness::http::{get, http};
use crate::harness::{LONG, Node, command, free_base, run};

#[test]
fn one_node_keeps_its_data_and_serves_all_protocols_on_one_port() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let data = place.path().join("data").display().to_string();
    let address = format!("127.0.0.1:{}", free_base());
    let start = || {
        let mut node = Node::start(&["start", "--data", &data, "--listen", &address, "--shards", "2"]);
        let ready = node.wait_event("ready", LONG);
        assert_eq!(ready["client"], address.as_str());
        node
    };
    let node = start();
    run(&["kv", "put", "k", "v", "--addr", &address]).succeeded();
    assert!(get(&address, "/health/live").starts_with("HTTP/1.1 200"));
    assert!(get(&address, "/health/ready").starts_with("HTTP/1.1 200"));
    let metrics = get(&address, "/metrics");
    assert!(metrics.contains("# HELP strata_client_connections_open "), "{metrics}");
    assert!(metrics.contains("strata_client_connections_accepted_total{protocol=\"gRPC\"}"), "{metrics}");
    let missing = get(&address, "/nothing");
    assert!(missing.starts_with("HTTP/1.1 404") && missing.contains("/health/ready"), "{missing}");
    let stranger = http(&address, "*1\r\n$4\r\nPING\r\n");
    assert!(stranger.starts_with("strata: this port speaks gRPC and HTTP"), "{stranger}");

    let (ran, told) = node.stop(LONG);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(told.iter().any(|told| told["event"] == "stopped"), "{told:?}");
    let mut node = start();
    assert_eq!(run(&["kv", "get", "k", "--addr", &address]).succeeded().stdout, "v\n");
    node.kill();
    let _node = start();
    assert_eq!(run(&["kv", "get", "k", "--addr", &address]).succeeded().stdout, "v\n", "also after kill -9");
}

#[cfg(target_os = "linux")]
#[test]
fn a_log_that_cannot_be_written_stops_no_node() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let data = place.path().display().to_string();
    let address = format!("127.0.0.1:{}", free_base());
    let line = ["start", "--data", &data, "--listen", &address, "--shards", "1", "--format", "json"];
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("a device that is always full");
    let mut talkative = command(&line);
    talkative.env("STRATA_LOG", "debug").stderr(full);
    let mut node = Node::spawn(talkative);
    node.wait_event("ready", LONG);
    run(&["kv", "put", "k", "v", "--addr", &address]).succeeded();
    assert_eq!(run(&["kv", "get", "k", "--addr", &address]).succeeded().stdout, "v\n");
}

#[test]
fn settings_say_where_they_come_from() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let file = place.path().join("strata.toml");
    std::fs::write(&file, "zone = \"file\"\nshards = 8\n").expect("writable");
    let mut command = command(&["config", "show", "--zone", "flag", "--format", "json"]);
    let output = command.env("STRATA_CONFIG", &file).env("STRATA_EXPECT", "1").output().expect("it runs");
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).expect("json");
    let of = |key: &str| (shown[key]["value"].clone(), shown[key]["from"].clone());
    assert_eq!(of("zone"), ("flag".into(), "flag".into()));
    assert_eq!(of("expect"), ("1".into(), "environment".into()));
    assert_eq!(of("shards"), ("8".into(), "file".into()));
    assert_eq!(of("listen"), ("127.0.0.1:7400".into(), "default".into()));
}

#[test]
fn completion_scripts_are_printed() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(run(&["completion", shell]).succeeded().stdout.contains("strata"), "{shell}");
    }
}
