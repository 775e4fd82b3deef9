//! Stopping: in good order and with words, or at once when asked again.

use std::net::TcpStream;
use std::path::Path;

use strata_client::Client;
use tokio::runtime::Runtime;

use crate::harness::rpc::{Rpc, bytes_field};
use crate::harness::{Demo, LONG, Node, free_base, poll, run, signal, signal_at_once};

/// A program that has written, and others that hold on to their connections, so that a stop has to wait for them.
struct Holder {
    runtime: Runtime,
    _client: Client,
    /// They read nothing, and so never learn that they should go.
    _deaf: Vec<Rpc>,
}

impl Holder {
    fn new(addresses: Vec<String>) -> Holder {
        let runtime = Runtime::new().expect("a runtime");
        let deaf = addresses.iter().map(|address| Rpc::send(address, "Kv/Get", &bytes_field(1, b"key"))).collect();
        let client = runtime.block_on(Client::connect(addresses)).expect("the cluster answers");
        runtime.block_on(async {
            // Enough keys for every shard.
            for number in 0..32 {
                client.put(format!("key {number}"), "v").await.expect("written");
            }
        });
        Holder { runtime, _client: client, _deaf: deaf }
    }
}

fn start(data: &Path, address: &str) -> Node {
    let data = data.display().to_string();
    let mut node = Node::start(&["start", "--data", &data, "--listen", address, "--shards", "1"]);
    node.wait_event("ready", LONG);
    node
}

#[test]
fn a_stop_says_what_it_does() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let address = format!("127.0.0.1:{}", free_base());
    let node = start(place.path(), &address);
    let holder = Holder::new(vec![address]);
    let (ran, told) = node.stop(LONG);
    assert_eq!(ran.status, 0, "{ran:?}");
    let words: Vec<&str> =
        told.iter().filter_map(|told| told["phase"].as_str().or_else(|| told["event"].as_str())).collect();
    let stopping = words.iter().position(|word| *word == "stopping").expect("it says that it stops");
    let steps = ["making everything durable", "waiting up to 2 s for clients to disconnect"];
    let mut rest = words[stopping..].iter();
    for step in steps {
        assert!(rest.any(|word| word.starts_with(step)), "{step}: {words:?}");
    }
    assert!(!words.iter().any(|word| word.starts_with("moving ")), "one node has nobody to give leaders to: {words:?}");
    assert_eq!(words.last(), Some(&"stopped"), "{words:?}");
    drop(holder.runtime);
}

/// SERVER-4
#[test]
fn a_stopped_node_has_given_its_leaders_away_and_a_stopped_cluster_has_lost_nothing() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let directory = place.path().join("kept");
    let base = free_base();
    let mut demo = Demo::start_in(&directory, base);
    demo.wait_healthy(LONG);
    let leader = demo.ask("shards")[0]["leader"].as_u64().expect("shard 0 has a leader");
    let victim = demo.child_of_node(leader).clone();
    drop(Holder::new(demo.children.iter().map(|child| child.client.clone()).collect()));
    signal("TERM", victim.pid);
    assert_eq!(demo.wait_ended(victim.number)["status"], "exit status: 0");
    poll("leaders on the nodes that stay", LONG, || {
        let shards = demo.ask("shards");
        let leaders = shards.as_array().expect("a list").iter().map(|shard| shard["leader"].as_u64());
        leaders.into_iter().all(|by| by.is_some_and(|by| by != leader)).then_some(())
    });
    let (ran, _) = demo.stop();
    assert_eq!(ran.status, 0, "{ran:?}");
    let demo = Demo::start_in(&directory, base);
    for number in 0..32 {
        let key = format!("key {number}");
        assert_eq!(demo.run(&["kv", "get", &key]).succeeded().stdout, "v\n", "{key}");
    }
}

#[test]
fn a_second_signal_stops_a_node_at_once() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let address = format!("127.0.0.1:{}", free_base());
    let mut node = start(place.path(), &address);
    // It would wait for them.
    let holder = Holder::new(vec![address.clone()]);
    // Two kinds: of one kind it would find only one.
    signal_at_once(&["INT", "TERM"], node.pid());
    let ended = node.wait_end(LONG);
    assert_eq!(ended.status, 130, "{ended:?}");
    assert!(ended.stderr.contains("stopped at once; what was acknowledged is safe"), "{ended:?}");
    drop(holder.runtime);
    let _node = start(place.path(), &address);
    for number in 0..32 {
        let key = format!("key {number}");
        assert_eq!(run(&["kv", "get", &key, "--addr", &address]).succeeded().stdout, "v\n", "{key}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_closed_terminal_stops_a_node_in_good_order_unless_it_was_started_to_outlive_it() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let (program, data) = (crate::harness::program().display().to_string(), place.path().display().to_string());
    let address = format!("127.0.0.1:{}", free_base());
    // What this test itself was started with does not matter.
    let start = |how: &str| {
        let flags = format!("--data {data} --listen {address} --shards 1");
        let mut node = Node::start_line(&format!("env --{how}-signal=HUP {program} start {flags}"));
        node.wait_event("ready", LONG);
        node
    };
    let mut node = start("default");
    signal("HUP", node.pid());
    let ended = node.wait_end(LONG);
    assert_eq!(ended.status, 0, "{ended:?}");
    // As `nohup` does it.
    let node = start("ignore");
    signal("HUP", node.pid());
    let (ran, _) = node.stop(LONG);
    assert_eq!(ran.status, 0, "the only signal that counts is the one to stop: {ran:?}");
}

#[test]
fn a_second_signal_stops_a_demo_at_once_and_removes_its_data() {
    let mut demo = Demo::start();
    let directory = demo.process.wait_event("ready", LONG)["directory"].as_str().expect("a path").to_owned();
    assert!(Path::new(&directory).exists());
    let holder = Holder::new(demo.children.iter().map(|child| child.client.clone()).collect());
    signal_at_once(&["INT", "TERM"], demo.process.pid());
    let ended = demo.process.wait_end(LONG);
    assert_eq!(ended.status, 130, "{ended:?}");
    drop(holder.runtime);
    assert!(!Path::new(&directory).exists(), "the data goes, however the demo ends");
    for child in &demo.children {
        poll("the end of a node", LONG, || TcpStream::connect(&child.client).is_err().then_some(()));
    }
}
