//! Certificates: made by the program, used by nodes and commands, replaced while a node runs.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use crate::harness::{LONG, Node, Ran, free_base, poll, run};

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// A directory with a CA, and with the certificates of a node and a client.
fn certificates(place: &Path, cluster: &str, arguments: &[&str]) -> PathBuf {
    let directory = place.join(cluster);
    let path = text(&directory);
    for what in
        [&["ca", path.as_str(), "--cluster", cluster][..], &["node", &path], &["client", &path, "--name", "ada"]]
    {
        let mut all = vec!["cert"];
        all.extend(what);
        all.extend(arguments);
        run(&all).succeeded();
    }
    directory
}

fn start(place: &Path, name: &str, port: u16, more: &[&str]) -> Node {
    let (data, listen) = (text(&place.join(name)), format!("127.0.0.1:{port}"));
    let mut all = vec!["start", "--data", &data, "--listen", &listen];
    all.extend(more);
    Node::start(&all)
}

fn call(arguments: &[&str], address: &str, encryption: &[&str]) -> Ran {
    let mut all = arguments.to_vec();
    all.extend(["--addr", address]);
    all.extend(encryption);
    run(&all)
}

#[test]
fn nodes_with_certificates_form_a_cluster_that_nobody_else_enters() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let base = free_base();
    let (ours, theirs) = (certificates(place.path(), "prod", &[]), certificates(place.path(), "test", &[]));
    let (certs, ca, foreign) = (text(&ours), text(&ours.join("ca.crt")), text(&theirs));
    let peers: Vec<String> = (0..3).map(|node| format!("127.0.0.1:{}", base + 10 * node + 1)).collect();
    let join = peers.join(",");
    let founding = ["--join", &join, "--expect", "3", "--shards", "4", "--certs", &certs];
    let mut nodes: Vec<Node> =
        (0..3).map(|node| start(place.path(), &format!("d{node}"), base + 10 * node, &founding)).collect();
    for node in &mut nodes {
        assert_eq!(node.wait_event("ready", LONG)["encrypted"], true);
    }
    let address = format!("127.0.0.1:{base}");
    call(&["kv", "put", "greeting", "hello"], &address, &["--certs", &certs]).succeeded();
    let second = format!("127.0.0.1:{}", base + 10);
    assert_eq!(call(&["kv", "get", "greeting"], &second, &["--ca", &ca]).succeeded().stdout, "hello\n");
    // The SDK goes to every node by itself.
    let load =
        ["bench", "kv", "--clients", "4", "--seconds", "1", "--warmup", "0", "--keys", "100", "--format", "json"];
    let report = call(&load, &address, &["--certs", &certs]).succeeded().json();
    assert!(report.to_string().contains("\"sdk\""), "{report}");

    // Without TLS, and with the wrong CA.
    let plain = call(&["cluster", "status"], &address, &[]);
    assert!(plain.failed().contains("this port speaks TLS only"), "{plain:?}");
    assert!(plain.stderr.contains("--ca FILE"), "{plain:?}");
    let mut http = TcpStream::connect(&address).expect("somebody listens");
    http.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").expect("writable");
    let mut answer = String::new();
    http.read_to_string(&mut answer).expect("readable");
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("https"), "{answer}");
    let stranger = call(&["cluster", "status"], &address, &["--certs", &foreign]);
    let cause = "signed by `strata CA of prod`, and `strata CA of test` is believed here";
    assert!(stranger.failed().contains(cause), "{stranger:?}");

    // A node of another cluster, and one without certificates.
    let mut fourth = start(place.path(), "d4", base + 30, &["--join", &peers[0], "--certs", &foreign]);
    fourth.wait_told("the cause", LONG, |told| told["phase"].as_str().is_some_and(|phase| phase.contains(cause)));
    let mut fifth = start(place.path(), "d5", base + 40, &["--join", &peers[0]]);
    let is_told = |phase: &str| phase.contains("this port speaks TLS only");
    fifth.wait_told("the cause", LONG, |told| told["phase"].as_str().is_some_and(is_told));
    for node in [fourth, fifth] {
        let (_, told) = node.stop(LONG);
        assert!(!told.iter().any(|told| told["event"] == "ready"), "{told:?}");
    }
}

/// TLS-4
#[test]
fn where_clients_must_show_certificates_nobody_else_is_served() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let (ours, theirs) = (certificates(place.path(), "prod", &[]), certificates(place.path(), "test", &[]));
    let (certs, ca) = (text(&ours), text(&ours.join("ca.crt")));
    let base = free_base();
    let address = format!("127.0.0.1:{base}");
    let strict = ["--shards", "1", "--certs", &certs, "--require-client-cert"];
    let mut node = start(place.path(), "data", base, &strict);
    let ready = node.wait_event("ready", LONG);
    assert_eq!(ready["encrypted"], true);
    assert_eq!(ready["client_certificates"], true);

    // The directory of `strata cert` has client.crt, which is shown; over the SDK and over plain calls.
    call(&["kv", "put", "greeting", "hello"], &address, &["--certs", &certs]).succeeded();
    assert_eq!(call(&["kv", "get", "greeting"], &address, &["--certs", &certs]).succeeded().stdout, "hello\n");
    call(&["cluster", "status"], &address, &["--certs", &certs]).succeeded();
    let load = ["bench", "kv", "--clients", "2", "--seconds", "1", "--warmup", "0", "--keys", "10", "--format", "json"];
    call(&load, &address, &["--certs", &certs]).succeeded();
    // A node is let in as well.
    let (certificate, key) = (text(&ours.join("node.crt")), text(&ours.join("node.key")));
    let own = ["--ca", &ca, "--tls-cert", &certificate, "--tls-key", &key];
    call(&["kv", "get", "greeting"], &address, &own).succeeded();

    // Nothing to show; something of another cluster; something that has ended.
    for what in [&["kv", "get", "greeting"][..], &["cluster", "status"]] {
        let anybody = call(what, &address, &["--ca", &ca]);
        assert!(anybody.failed().contains("it wants to see the certificate of a client"), "{anybody:?}");
        assert!(anybody.stderr.contains("strata cert client"), "{anybody:?}");
        let (certificate, key) = (text(&theirs.join("client.crt")), text(&theirs.join("client.key")));
        let stranger = call(what, &address, &["--ca", &ca, "--tls-cert", &certificate, "--tls-key", &key]);
        let told = stranger.failed();
        assert!(told.contains("`ada`, signed by `strata CA of test`"), "{stranger:?}");
        assert!(told.contains("it believes another CA"), "{stranger:?}");
    }
    let plain = call(&["cluster", "status"], &address, &[]);
    assert!(plain.failed().contains("this port speaks TLS only"), "{plain:?}");
}

#[test]
fn replaced_certificates_are_served_without_a_restart() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let directory = certificates(place.path(), "prod", &[]);
    let (certs, old) = (text(&directory), text(&place.path().join("old.crt")));
    std::fs::copy(directory.join("ca.crt"), &old).expect("readable");
    let base = free_base();
    let address = format!("127.0.0.1:{base}");
    let mut node = start(place.path(), "data", base, &["--shards", "1", "--certs", &certs]);
    node.wait_event("ready", LONG);
    call(&["kv", "put", "k", "v"], &address, &["--ca", &old]).succeeded();

    // A CA that has not signed the node's certificate cannot be used: the old one stays.
    run(&["cert", "ca", &certs, "--cluster", "prod2", "--force"]).succeeded();
    call(&["kv", "put", "k", "w"], &address, &["--ca", &old]).succeeded();
    run(&["cert", "node", &certs, "--force"]).succeeded();
    poll("the new certificate", LONG, || {
        (call(&["kv", "get", "k"], &address, &["--certs", &certs]).status == 0).then_some(())
    });
    let refused = call(&["kv", "get", "k"], &address, &["--ca", &old]);
    assert!(refused.failed().contains("signed by `strata CA of prod2`"), "{refused:?}");
}

#[test]
fn a_command_that_encrypts_is_told_that_a_port_does_not() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let certs = text(&certificates(place.path(), "prod", &[]));
    let base = free_base();
    let mut node = start(place.path(), "data", base, &["--shards", "1"]);
    node.wait_event("ready", LONG);
    let refused = call(&["cluster", "status"], &format!("127.0.0.1:{base}"), &["--certs", &certs]);
    assert!(refused.failed().contains("it does not speak TLS"), "{refused:?}");
}

#[test]
fn a_node_does_not_start_with_certificates_that_others_would_refuse() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let (ours, theirs) = (certificates(place.path(), "prod", &[]), certificates(place.path(), "test", &[]));
    let data = text(&place.path().join("data"));
    let refused = |certs: &Path, more: &[&str]| {
        let certs = text(certs);
        let mut all = vec!["start", "--data", &data, "--listen", "127.0.0.1:0", "--certs", &certs];
        all.extend(more);
        let ran = run(&all);
        ran.failed().to_owned()
    };
    let ca = text(&theirs.join("ca.crt"));
    assert!(refused(&ours, &["--tls-ca", &ca]).ends_with("is not signed by the CA beside it (`strata CA of test`)"));
    let (certificate, key) = (text(&ours.join("client.crt")), text(&ours.join("client.key")));
    let client = refused(&ours, &["--tls-cert", &certificate, "--tls-key", &key]);
    assert!(client.contains("`ada`) is that of a client"), "{client}");
    assert!(refused(place.path(), &[]).contains("ca.crt cannot be read"));
    assert!(!Path::new(&data).exists(), "nothing was touched");
}

#[test]
fn a_demo_encrypts_when_asked() {
    let base = free_base();
    let mut demo = Node::start(&["demo", "--no-shell", "--tls", "--port", &base.to_string()]);
    let ready = demo.wait_event("ready", LONG);
    let ca = format!("{}/certs/ca.crt", ready["directory"].as_str().expect("a path"));
    let address = format!("127.0.0.1:{}", base + 10);
    call(&["kv", "put", "k", "v"], &address, &["--ca", &ca]).succeeded();
    assert!(call(&["kv", "get", "k"], &address, &[]).failed().contains("this port speaks TLS only"));
}
