//! Clients that do nothing, or nonsense.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::harness::{LONG, Node, free_base, poll, run};

/// So many clients may be there and do nothing.
const IDLE_CONNECTIONS: usize = 10_000;
/// Files that this process and the node need beside the connections.
const OTHER_FILES: usize = 1_000;
/// What an idle connection may cost the node, and what the node may grow by itself meanwhile.
const IDLE_BYTES_MAX: u64 = 8 << 10;
const OTHER_BYTES_MAX: u64 = 16 << 20;

fn start(place: &std::path::Path) -> (Node, String) {
    let address = format!("127.0.0.1:{}", free_base());
    let data = place.display().to_string();
    let mut node = Node::start(&["start", "--data", &data, "--listen", &address, "--shards", "1"]);
    node.wait_event("ready", LONG);
    (node, address)
}

/// As many as that, or as this machine lets one process open.
fn connections() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(1_024_usize);
    // The node keeps a quarter for itself.
    IDLE_CONNECTIONS.min((soft - soft / 4).saturating_sub(OTHER_FILES).max(100))
}

fn resident_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok().map(|kib: u64| kib << 10)
}

/// SERVER-3
#[test]
fn idle_connections_cost_little_and_end() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let (node, address) = start(place.path());
    run(&["kv", "put", "k", "v", "--addr", &address]).succeeded();
    let before = resident_bytes(node.pid());
    let mut idle: Vec<TcpStream> =
        (0..connections()).map(|_| TcpStream::connect(&address).expect("there is room")).collect();
    assert_eq!(run(&["kv", "get", "k", "--addr", &address]).succeeded().stdout, "v\n");
    if let (Some(before), Some(after)) = (before, resident_bytes(node.pid())) {
        let cost = after.saturating_sub(before);
        let most = idle.len() as u64 * IDLE_BYTES_MAX + OTHER_BYTES_MAX;
        assert!(cost < most, "{} idle connections cost {cost} bytes, more than {most}", idle.len());
    }
    // Who says nothing is sent away: the first to come is the first to go.
    let first = &mut idle[0];
    first.set_read_timeout(Some(LONG)).expect("settable");
    assert_eq!(first.read(&mut [0]).expect("closed, not stuck"), 0);
}

#[test]
fn nonsense_ends_its_own_connection_only() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let (_node, address) = start(place.path());
    for nonsense in [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        &[0; 64],
    ] {
        let mut stream = TcpStream::connect(&address).expect("somebody listens");
        stream.write_all(nonsense).expect("writable");
        stream.set_read_timeout(Some(LONG)).expect("settable");
        let mut answer = Vec::new();
        // A reset is an end as well.
        drop(stream.read_to_end(&mut answer));
    }
    run(&["kv", "put", "k", "v", "--addr", &address]).succeeded();
}

#[test]
fn limits_are_named() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let (_node, address) = start(place.path());
    let key = "k".repeat(8 * 1024 + 1);
    let refused = run(&["kv", "put", &key, "v", "--addr", &address]);
    assert!(refused.failed().contains("8"), "{refused:?}");
    let longest = "k".repeat(8 * 1024);
    run(&["kv", "put", &longest, "v", "--addr", &address]).succeeded();
}

/// SERVER-3
#[test]
fn a_client_that_stops_reading_does_not_make_the_node_grow() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let (node, address) = start(place.path());
    let value = "v".repeat(100_000);
    for number in 0..200 {
        run(&["kv", "put", &format!("k{number:03}"), &value, "--addr", &address]).succeeded();
    }
    let before = resident_bytes(node.pid());
    // Twenty scans of 20 MB each, of which nobody reads more than the pipe holds.
    let scans: Vec<_> = (0..20)
        .map(|_| crate::harness::command(&["kv", "scan", "--addr", &address]).spawn().expect("it starts"))
        .collect();
    poll("an answer beside stuck clients", Duration::from_secs(30), || {
        (run(&["kv", "get", "k000", "--addr", &address]).status == 0).then_some(())
    });
    if let (Some(before), Some(after)) = (before, resident_bytes(node.pid())) {
        let cost = after.saturating_sub(before);
        assert!(cost < 200 << 20, "20 stuck scans of 20 MB cost {cost} bytes");
    }
    for mut scan in scans {
        scan.kill().expect("it can be killed");
        scan.wait().expect("it can be waited for");
    }
}
