//! Nodes die. What was acknowledged stays.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use strata_client::Client;

use crate::harness::{Demo, LONG, free_base, poll, run, signal};

#[test]
fn the_cluster_goes_on_without_a_killed_leader() {
    let mut demo = Demo::start();
    demo.wait_healthy(LONG);
    let keys: Vec<String> = (0..32).map(|number| format!("key-{number}")).collect();
    for key in &keys {
        demo.run(&["kv", "put", key, "before"]).succeeded();
    }
    let shards = demo.ask("shards");
    let leader = shards[0]["leader"].as_u64().expect("shard 0 has a leader");
    let victim = demo.child_of_node(leader).number;
    demo.kill(victim);
    demo.wait_ended(victim);
    let survivor = demo.children.iter().find(|child| child.number != victim).expect("two are left").client.clone();
    for key in &keys {
        poll("a write after the failover", LONG, || {
            let ran = run(&["kv", "put", key, "after", "--addr", &survivor]);
            (ran.status == 0).then_some(())
        });
        assert_eq!(run(&["kv", "get", key, "--addr", &survivor]).succeeded().stdout, "after\n");
    }
    let status = demo.ask("status");
    assert_eq!((&status["healthy"], &status["nodes_up"]), (&false.into(), &2.into()));
    let problems = status["problems"].to_string();
    assert!(problems.contains("does not answer"), "{problems}");
}

#[test]
fn acknowledged_writes_survive_the_death_of_all_nodes_at_once() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let directory = place.path().join("kept");
    let base = free_base();
    let mut demo = Demo::start_in(&directory, base);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let acknowledged = Arc::new(Mutex::new(BTreeMap::new()));
    let is_over = Arc::new(AtomicBool::new(false));
    let addresses: Vec<String> = demo.children.iter().map(|child| child.client.clone()).collect();
    let client = runtime.block_on(Client::connect(addresses.clone())).expect("the cluster answers");
    for writer in 0..16 {
        let (client, acknowledged, is_over) = (client.clone(), acknowledged.clone(), is_over.clone());
        runtime.spawn(async move {
            for number in 0.. {
                let (key, value) = (format!("{writer}-{number}"), format!("value {number}"));
                let written = client.put(key.clone(), value.clone()).await;
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                if written.is_ok() {
                    acknowledged.lock().expect("nobody panicked").insert(key, value);
                }
            }
        });
    }
    let count = || acknowledged.lock().expect("nobody panicked").len();
    poll("two thousand writes", LONG, || (count() >= 2_000).then_some(()));
    for child in &demo.children {
        signal("KILL", child.pid);
    }
    let ended = demo.process.wait_end(LONG);
    assert!(ended.stderr.contains("all nodes are gone"), "{ended:?}");
    is_over.store(true, Ordering::SeqCst);
    let expected = acknowledged.lock().expect("nobody panicked").clone();
    drop(runtime);

    let _demo = Demo::start_in(&directory, base);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let client = Client::connect(addresses).await.expect("the cluster answers");
        for (key, value) in expected {
            let item = client.get(key.clone()).await.expect("readable");
            assert_eq!(item.map(|item| item.value), Some(value.into()), "{key} was acknowledged");
        }
    });
}
