//! Whoever dies with locks held does not keep others waiting for long.

use std::process::{Child, Stdio};
use std::time::Duration;

use strata_client::{Attempt, Client, ConflictReason, ErrorCode, LockWait};
use tokio::runtime::Runtime;

use crate::harness::{Cluster, Demo, LONG, Lines, leashed, poll, signal};
use crate::transactions::layout::Layout;

/// Tells this test program, started once more, to be the client that dies.
const ADDRESSES: &str = "E2E_LOCK_HOLDER_ADDRESSES";
const KEY: &str = "hot";
/// Far more than a lock outlives its owner, far less than a node keeps the transaction of a client that left.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);

/// This program once more, as a client that holds a lock until it is killed.
struct Holder(Child);

impl Holder {
    fn start(addresses: &str) -> Holder {
        let program = std::env::current_exe().expect("a test has a path");
        let mut command = leashed(program, "KILL");
        command.args(["--exact", "transactions::locks::a_client_holds_a_lock_until_it_is_killed"]);
        command.env(ADDRESSES, addresses).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Holder(command.spawn().expect("this program starts"))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A test of its own only when the one below starts it; otherwise there is nobody to hold a lock for.
#[test]
fn a_client_holds_a_lock_until_it_is_killed() {
    let Ok(addresses) = std::env::var(ADDRESSES) else { return };
    Runtime::new().expect("a runtime").block_on(async {
        let client = Client::connect(addresses.split(',')).await.expect("the cluster answers");
        let mut txn = client.begin().await.expect("begun");
        txn.get_for_update(KEY, LockWait::Wait).await.expect("locked");
        txn.put(KEY, "never written").await.expect("kept");
        std::future::pending::<()>().await;
    });
}

/// The shard and the node where a transaction has locks.
fn lock_place(ask: impl Fn() -> serde_json::Value) -> (u64, u64) {
    poll("a transaction with a lock", LONG, || {
        let told = ask();
        let open = told["transactions"].as_array().expect("a list").iter().find(|open| open["locks"] == 1)?.clone();
        Some((open["shard"].as_u64()?, open["node"].as_u64()?))
    })
}

#[test]
fn a_client_that_is_killed_with_a_lock_held_keeps_others_waiting_for_seconds_only() {
    let demo = Demo::start();
    demo.wait_healthy(LONG);
    let holder = Holder::start(&demo.addresses());
    lock_place(|| demo.ask("transactions"));
    Runtime::new().expect("a runtime").block_on(async {
        let addresses = demo.children.iter().map(|child| child.client.clone());
        let client = Client::connect(addresses).await.expect("the cluster answers");
        let mut other = client.begin().await.expect("begun");
        let error = other.get_for_update(KEY, LockWait::NoWait).await.expect_err("it is taken");
        let conflict = error.conflict.as_ref().expect("typed");
        assert_eq!((error.code, conflict.reason), (ErrorCode::Conflict, ConflictReason::Locked), "{error}");
        assert_eq!(conflict.key.as_ref().expect("named").key, KEY);
        signal("KILL", holder.0.id());
        other.with_deadline(LOCK_PATIENCE);
        let item = other.get_for_update(KEY, LockWait::Wait).await.expect("it is free some seconds later");
        assert_eq!(item, None, "the dead one has written nothing");
        other.put(KEY, "mine").await.expect("kept");
        other.commit().await.expect("committed");
        let item = client.get(KEY).await.expect("readable");
        assert_eq!(item.expect("just written").value, "mine");
    });
}

#[test]
fn a_node_that_is_killed_with_locks_of_its_clients_keeps_others_waiting_for_seconds_only() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut cluster = Cluster::found(place.path(), &[]);
    cluster.wait_healthy();
    let runtime = Runtime::new().expect("a runtime");
    let client = runtime.block_on(Client::connect(cluster.addresses())).expect("the cluster answers");
    let layout = Layout::of(&cluster, &client);
    // The lock is at a node that lives on, or it would go with its node at once.
    let shard = &layout.shards[0];
    let other = layout.nodes.iter().find(|node| **node != shard.leader).expect("there are three");
    let gateway = cluster.number_of(*other);
    let key = layout.key(shard.id, "hot");
    let mut lines = Lines::start(&cluster.client(gateway));
    lines.ask("begin");
    lines.ask(&format!("getforupdate {key}"));
    lines.ask(&format!("put {key} never"));
    assert_eq!(lock_place(|| cluster.run(&["transactions"]).succeeded().json()), (shard.id, shard.leader));

    cluster.kill(gateway);
    runtime.block_on(async {
        let work = |mut txn: Attempt| {
            let key = key.clone();
            async move {
                let item = txn.get_for_update(key.clone(), LockWait::Wait).await?;
                assert_eq!(item, None, "the dead node has written nothing");
                txn.put(key, "mine").await
            }
        };
        client.with_deadline(LOCK_PATIENCE).transact(work).await.expect("it is free some seconds later");
    });
    lines.say("commit");
    let ended = lines.wait_end();
    // Nobody knows whether the commit came through to the node before it died.
    assert!(ended.status == 1 && ended.stderr.contains("unknown"), "{ended:?}");
    let item = runtime.block_on(client.get(key)).expect("readable");
    assert_eq!(item.expect("just written").value, "mine");
}
