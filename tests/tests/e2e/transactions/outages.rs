//! Nodes stand still: without a majority of the meta group, and without a majority of the shard that has the records.

use std::collections::BTreeSet;
use std::time::Duration;

use strata_client::{Client, Error, ErrorCode, Outcome, Result, Timestamp};
use tokio::runtime::Runtime;

use crate::harness::{Cluster, LONG, poll, run};
use crate::transactions::layout::{Layout, Shard};
use crate::transactions::pairs::Pairs;

/// Deadline of what is expected to fail.
const SHORT: Duration = Duration::from_secs(3);
/// What ends by its deadline has ended by then, on the slowest machine.
const BY_ITS_DEADLINE: Duration = Duration::from_secs(20);
const ROUNDS: usize = 40;

/// Four nodes: each shard is on three of them, and so is the meta group.
fn found(place: &std::path::Path) -> (Cluster, Runtime, Client, Layout) {
    let cluster = Cluster::found_with(place, 4, 8, &[]);
    cluster.wait_healthy();
    let runtime = Runtime::new().expect("a runtime");
    let client = runtime.block_on(Client::connect(cluster.addresses())).expect("the cluster answers");
    let layout = Layout::of(&cluster, &client);
    assert_eq!((layout.nodes.len(), layout.meta.len()), (4, 3));
    (cluster, runtime, client, layout)
}

fn signal_all(cluster: &Cluster, nodes: &BTreeSet<u64>, numbers: &[(u64, u16)], name: &str) {
    let stopped = numbers.iter().filter(|(node, _)| nodes.contains(node));
    stopped.for_each(|(_, number)| cluster.signal(*number, name));
}

/// Which process each node is. To be asked while all answer.
fn numbers(cluster: &Cluster, layout: &Layout) -> Vec<(u64, u16)> {
    layout.nodes.iter().map(|node| (*node, cluster.number_of(*node))).collect()
}

async fn in_time<T>(what: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    let ended = tokio::time::timeout(BY_ITS_DEADLINE, work).await;
    ended.unwrap_or_else(|_| panic!("{what} did not end by its deadline"))
}

/// A transaction that reads and writes these keys.
async fn touch(client: &Client, keys: &[String], value: &str) -> Result<Timestamp> {
    let mut txn = client.begin().await?;
    for key in keys {
        txn.get(key.clone()).await?;
        txn.put(key.clone(), value.to_owned()).await?;
    }
    txn.commit().await
}

#[test]
fn single_keys_go_on_without_a_majority_of_the_meta_group_and_transactions_fail_by_their_deadline() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let (cluster, runtime, client, layout) = found(place.path());
    let numbers = numbers(&cluster, &layout);
    // Two nodes live on, one of them with the meta group. A shard that is on both, and led by one, has all it needs.
    let outsider = layout.nodes.difference(&layout.meta).next().copied().expect("the fourth node");
    let served = |partner: u64| -> Vec<&Shard> {
        let living = BTreeSet::from([outsider, partner]);
        let is_served = |shard: &&Shard| living.is_subset(&shard.nodes) && living.contains(&shard.leader);
        layout.shards.iter().filter(is_served).collect()
    };
    // Best with leaders on both: then what a client learns at one node comes to another one.
    let led = |partner: u64| served(partner).iter().map(|shard| shard.leader).collect::<BTreeSet<u64>>().len();
    let partner = layout.meta.iter().copied().max_by_key(|partner| led(*partner)).expect("three nodes have it");
    let stopped: BTreeSet<u64> = layout.meta.iter().copied().filter(|node| *node != partner).collect();
    let keys: Vec<String> = served(partner).iter().map(|shard| layout.key(shard.id, "single/")).collect();
    assert!(!keys.is_empty(), "a shard that the fourth node leads is also on one of the others: {:?}", layout.shards);

    runtime.block_on(async {
        touch(&client, &keys, "before").await.expect("committed");
        // Whoever has looked at a snapshot may still write anywhere.
        let snapshot = client.snapshot().await.expect("a snapshot");
        for key in &keys {
            assert_eq!(snapshot.get(key.clone()).await.expect("readable").expect("written").value, "before");
        }
    });
    signal_all(&cluster, &stopped, &numbers, "STOP");
    let living: Vec<String> =
        numbers.iter().filter(|(node, _)| !stopped.contains(node)).map(|(_, number)| cluster.client(*number)).collect();
    runtime.block_on(async {
        for round in 0..ROUNDS {
            for key in &keys {
                let value = format!("{round}");
                client.put(key.clone(), value.clone()).await.expect("its shard has a majority");
                let item = client.get(key.clone()).await.expect("its shard has a majority");
                assert_eq!(item.expect("just written").value, value.as_bytes());
            }
        }
        let short = Client::builder().deadline(SHORT).connect(living.clone()).await.expect("two nodes answer");
        for key in &keys {
            short.put(key.clone(), "fresh client").await.expect("its shard has a majority");
        }
        let error = in_time("a transaction", touch(&short, &keys, "no")).await.expect_err("nobody hands out time");
        assert_not_done(&error);
        let snapshot = in_time("a snapshot", short.snapshot()).await;
        assert_not_done(&snapshot.err().expect("nobody hands out time"));
    });
    let refused = run(&["txn", "--addr", &living[0], "--timeout", "3s", "begin", &format!("get {}", keys[0])]);
    assert!(refused.failed().contains("timestamp"), "{refused:?}");

    signal_all(&cluster, &stopped, &numbers, "CONT");
    poll("transactions, now that all nodes are back", LONG, || {
        runtime.block_on(touch(&client, &keys, "after")).is_ok().then_some(())
    });
    for key in &keys {
        assert_eq!(runtime.block_on(client.get(key.clone())).expect("readable").expect("written").value, "after");
    }
}

/// Nothing was done, and the error says why in words.
fn assert_not_done(error: &Error) {
    let codes = [ErrorCode::Unavailable, ErrorCode::DeadlineExceeded, ErrorCode::Blocked];
    assert!(codes.contains(&error.code) && error.outcome == Outcome::NotApplied, "{error}");
    assert!(error.message.contains(' '), "{error}");
}

#[test]
fn without_the_shard_of_its_record_a_transaction_is_never_half_seen_and_who_meets_it_is_refused_by_its_deadline() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let (cluster, runtime, client, layout) = found(place.path());
    let numbers = numbers(&cluster, &layout);
    let (records, others, stopped, _) = layout.two_shards();
    let pairs = Pairs::start(cluster.addresses(), layout.keys(records, "pair/"), layout.keys(others, "pair/"));
    pairs.wait_committed();
    signal_all(&cluster, &stopped, &numbers, "STOP");
    let living: Vec<String> =
        numbers.iter().filter(|(node, _)| !stopped.contains(node)).map(|(_, number)| cluster.client(*number)).collect();
    let (one, two) = (layout.key(records, "late/"), layout.key(others, "late/"));
    let short = Client::builder().deadline(SHORT).connect(living);
    let short = runtime.block_on(short).expect("two nodes answer");
    // There may have to be elections first.
    let free = layout.key(others, "free/");
    poll("a transaction on the other shard", LONG, || {
        runtime.block_on(touch(&short, std::slice::from_ref(&free), "v")).is_ok().then_some(())
    });
    runtime.block_on(async {
        // It begins on the shard that serves, and has its record on the one that does not.
        let mut txn = short.begin().await.expect("nobody is asked yet");
        txn.get(free.clone()).await.expect("its shard has a majority");
        txn.put(one.clone(), "late").await.expect("kept");
        txn.put(two.clone(), "late").await.expect("kept");
        let error = in_time("a commit", txn.commit()).await.expect_err("the shard of the record does not answer");
        assert_ne!(error.outcome, Outcome::Applied, "{error}");
        assert!(error.message.contains(' '), "{error}");
    });
    let remains = pairs.die();
    let mut in_the_way = 0;
    let get = |key: &String| {
        let (short, key) = (short.clone(), key.clone());
        runtime.spawn(async move { in_time("a get", short.get(key)).await })
    };
    for (key, got) in remains.second_keys().map(|key| (key, get(key))).collect::<Vec<_>>() {
        match runtime.block_on(got).expect("it ended by its deadline") {
            Ok(item) => assert!(item.is_some(), "{key} was written before"),
            Err(error) => {
                in_the_way += 1;
                assert_not_done(&error);
            }
        }
    }
    assert!(in_the_way > 0, "clients died in the middle of their commits");

    signal_all(&cluster, &stopped, &numbers, "CONT");
    for key in remains.keys().chain([&one, &two]) {
        poll(&format!("{key}, now that all nodes are back"), LONG, || runtime.block_on(short.get(key.clone())).ok());
    }
    runtime.block_on(async {
        remains.check(&client).await;
        let read = async |key: &String| client.get(key.clone()).await.expect("readable").map(|item| item.value);
        assert_eq!(read(&one).await, read(&two).await, "both or none");
    });
}
