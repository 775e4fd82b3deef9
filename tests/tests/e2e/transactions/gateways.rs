//! What nodes keep for clients that leave their transactions to them, seen and ended from other nodes.

use std::collections::BTreeSet;

use serde_json::Value;
use strata_client::Client;
use tokio::runtime::Runtime;

use crate::harness::rpc::{Rpc, bytes_field};
use crate::harness::{Cluster, Demo, LONG, Lines, poll, run};
use crate::transactions::layout::Layout;
use crate::transactions::wire::{begun, handle_text};

/// What a node tells of open transactions.
fn told(address: &str) -> Value {
    run(&["cluster", "transactions", "--addr", address, "--format", "json"]).succeeded().json()
}

/// What it tells of one of them, in all places.
fn places(told: &Value, id: &str) -> Vec<Value> {
    let open = told["transactions"].as_array().expect("a list");
    open.iter().filter(|open| open["id"] == id).cloned().collect()
}

/// Where the node of a client keeps it.
fn kept(places: &[Value]) -> Option<&Value> {
    places.iter().find(|open| open["shard"].is_null())
}

fn id_of(begun: &Value) -> String {
    begun["id"].as_str().expect("an id").to_owned()
}

#[test]
fn any_node_shows_and_ends_what_another_one_keeps_for_its_client() {
    let mut demo = Demo::start();
    demo.wait_healthy(LONG);
    let nodes = demo.ask("nodes");
    let keeper =
        nodes.as_array().expect("a list").iter().find(|node| node["client_address"] == *demo.children[0].client);
    let keeper = keeper.expect("a node of the cluster")["node"].clone();
    let mut lines = Lines::start(&demo.children[0].client);
    let id = id_of(&lines.ask("begin"));
    // Neither a lock nor anything else of it is on any shard.
    lines.ask("put hot 1");
    for child in &demo.children {
        let told = told(&child.client);
        assert_eq!(told["problems"], serde_json::json!([]));
        let places = places(&told, &id);
        let [only] = &places[..] else { panic!("it is in one place: {places:?}") };
        assert_eq!(
            (&only["node"], &only["state"], &only["shard"]),
            (&keeper, &"active".into(), &Value::Null),
            "{only}"
        );
    }
    let elsewhere = demo.children[1].client.clone();
    let aborted = run(&["cluster", "transactions", "--abort", &id, "--addr", &elsewhere]).succeeded();
    assert!(aborted.stdout.contains(&format!("transaction {id} is aborted")), "{aborted:?}");
    lines.say("commit");
    let ended = lines.wait_end();
    assert!(ended.status == 4 && ended.stderr.contains("an operator aborted the transaction"), "{ended:?}");
    assert_eq!(demo.run(&["kv", "get", "hot"]).status, 3, "nothing of it was written");

    // Who is silent is named, and holds up nobody.
    demo.kill(demo.children[0].number);
    demo.wait_ended(demo.children[0].number);
    let told = told(&elsewhere);
    let problems = told["problems"].as_array().expect("a list");
    let name = format!("n{keeper} did not tell of its transactions");
    assert!(problems.iter().any(|problem| problem.as_str().is_some_and(|it| it.contains(&name))), "{problems:?}");
    let nobody = format!("{:032x}", 7);
    let refused = run(&["cluster", "transactions", "--abort", &nobody, "--addr", &elsewhere]);
    assert!(refused.failed().contains(&format!("n{keeper} may keep it")), "{refused:?}");
}

/// Two nodes stand still that are most of the shard of the record, so the commit is prepared elsewhere and goes no further.
struct Stuck {
    cluster: Cluster,
    stopped: Vec<u16>,
    gateway: u16,
    observer: String,
    /// A key of the shard of the record, and one of the shard that is prepared.
    keys: [String; 2],
    prepared: u64,
}

impl Stuck {
    fn found(place: &std::path::Path, runtime: &Runtime) -> (Stuck, Client) {
        let cluster = Cluster::found_with(place, 4, 8, &[]);
        cluster.wait_healthy();
        let client = runtime.block_on(Client::connect(cluster.addresses())).expect("the cluster answers");
        let layout = Layout::of(&cluster, &client);
        let (records, prepared, stopped, rest) = layout.two_shards();
        let keys = [layout.key(records, "late/"), layout.key(prepared, "late/")];
        let numbers = |nodes: BTreeSet<u64>| nodes.into_iter().map(|node| cluster.number_of(node)).collect::<Vec<_>>();
        let (stopped, rest) = (numbers(stopped), numbers(rest));
        let observer = cluster.client(rest[1]);
        (Stuck { cluster, stopped, gateway: rest[0], observer, keys, prepared }, client)
    }

    fn signal(&self, name: &str) {
        self.stopped.iter().for_each(|number| self.cluster.signal(*number, name));
    }
}

#[test]
fn a_node_that_dies_between_prepare_and_commit_leaves_both_writes_or_none_and_until_then_other_nodes_know_of_it() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let runtime = Runtime::new().expect("a runtime");
    let (mut stuck, client) = Stuck::found(place.path(), &runtime);
    let [one, two] = stuck.keys.clone();
    let gateway = stuck.cluster.client(stuck.gateway);
    let (id, handle) = begun(&gateway, &[&one, &two]);
    let handle_text = handle_text(&handle);
    let name = handle_text.split(':').next().expect("the id").to_owned();
    stuck.signal("STOP");
    // The shard that is prepared may have to elect a leader first.
    poll("a shard that serves", LONG, || {
        let ran = run(&["kv", "get", &two, "--addr", &stuck.observer, "--timeout", "3s"]);
        (ran.status == 3).then_some(())
    });
    // Its client does not wait for the answer.
    let commit = Rpc::send(&gateway, "Txn/Commit", &[bytes_field(1, &id), bytes_field(2, &handle)].concat());
    poll("a commit that is prepared and goes no further", LONG, || {
        let places = places(&told(&stuck.observer), &name);
        let is_prepared = places.iter().any(|open| open["state"] == "prepared" && open["shard"] == stuck.prepared);
        let is_kept = kept(&places).is_some_and(|kept| kept["state"] == "committing");
        (is_prepared && is_kept).then_some(())
    });
    let asked = run(&["txn", "--addr", &stuck.observer, "--timeout", "3s", &format!("outcome {handle_text}")]);
    assert!(asked.status == 3 && asked.stderr.contains("it is not decided yet"), "{asked:?}");

    stuck.cluster.kill(stuck.gateway);
    drop(commit);
    stuck.signal("CONT");
    // Whoever has the handle need not wait until somebody meets what is left of it.
    let settle = format!("outcome --settle {handle_text}");
    let told_end = poll("an outcome for good", LONG, || {
        let ran = run(&["txn", "--addr", &stuck.observer, "--timeout", "3s", &settle]);
        (ran.status == 0).then_some(ran.stdout)
    });
    let get = |key: &String| {
        poll(&format!("{key}, now that the shard of the record is back"), LONG, || {
            runtime.block_on(client.get(key.clone())).ok()
        })
    };
    let [one, two] = [get(&one), get(&two)].map(|item| item.map(|item| item.value));
    assert_eq!(one, two, "both or none");
    assert_eq!((told_end.contains("committed at"), told_end.contains("aborted")), (one.is_some(), one.is_none()));
    poll("nothing that is left of it", LONG, || places(&told(&stuck.observer), &name).is_empty().then_some(()));
}
