//! The past can be read for as long as it is kept, and for as long as somebody reads it.

use strata_client::{Client, ErrorCode, Outcome, Result, Snapshot, Timestamp};
use tokio::runtime::Runtime;

use crate::harness::http::get;
use crate::harness::{Cluster, LONG, Node, free_base, poll, run};
use crate::transactions::layout::Layout;

const KEY: &str = "account";

/// Writes the key in a transaction. Returns when that was.
async fn write(client: &Client, value: &'static str) -> Timestamp {
    let mut txn = client.begin().await.expect("begun");
    txn.put(KEY, value).await.expect("kept");
    txn.commit().await.expect("committed")
}

async fn read(snapshot: &Snapshot) -> Result<String> {
    let item = snapshot.get(KEY).await?.expect("it was written before");
    Ok(String::from_utf8_lossy(&item.value).into_owned())
}

/// Up to here nobody reads any more, as far as the node has heard.
fn horizon(address: &str) -> u64 {
    let metrics = get(address, "/metrics");
    let line = metrics.lines().find_map(|line| line.strip_prefix("strata_time_horizon "));
    line.and_then(|value| value.trim().parse::<f64>().ok()).map_or(0, |value| value as u64)
}

#[test]
fn what_is_older_than_the_history_is_refused_unless_somebody_reads_it() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let address = format!("127.0.0.1:{}", free_base());
    let data = place.path().display().to_string();
    let mut node = Node::start(&["start", "--data", &data, "--listen", &address, "--shards", "2", "--history", "5s"]);
    node.wait_event("ready", LONG);
    let runtime = Runtime::new().expect("a runtime");
    let client = runtime.block_on(Client::connect([address.clone()])).expect("the node answers");
    let (first, kept) = runtime.block_on(async {
        let first = write(&client, "one").await;
        write(&client, "two").await;
        // From here on somebody reads what there is now.
        let now = client.snapshot().await.expect("a snapshot").timestamp();
        let kept = client.snapshot_at(now).await.expect("a snapshot");
        write(&client, "three").await;
        (first, kept)
    });
    poll("a horizon that is above the first write", LONG, || (horizon(&address) > first.0).then_some(()));
    let old = runtime.block_on(client.snapshot_at(first)).expect("only its shards know");
    let error = poll("a shard that has heard of the horizon", LONG, || runtime.block_on(read(&old)).err());
    assert_eq!((error.code, error.outcome), (ErrorCode::SnapshotTooOld, Outcome::NotApplied), "{error}");
    assert!(error.message.contains("not kept any more") && error.message.contains('@'), "{error}");
    let line = format!("begin --read-only --at {}", first.0);
    let refused = run(&["txn", "--addr", &address, &line, &format!("get {KEY}")]);
    assert!(refused.failed().contains("not kept any more"), "{refused:?}");

    assert_eq!(runtime.block_on(read(&kept)).expect("it is in use"), "two");
    assert!(horizon(&address) <= kept.timestamp().0, "somebody reads there");
    let now = runtime.block_on(client.snapshot()).expect("a snapshot");
    assert_eq!(runtime.block_on(read(&now)).expect("readable"), "three");
}

/// ROUTE-7: two programs as one session.
#[test]
fn a_snapshot_does_not_see_a_write_without_the_one_that_its_writer_follows() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let cluster = Cluster::found(place.path(), &[]);
    cluster.wait_healthy();
    let runtime = Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let connect = async || Client::connect(cluster.addresses()).await.expect("the cluster answers");
        let (first, second, reader) = (connect().await, connect().await, connect().await);
        let layout = Layout::of(&cluster, &reader);
        for round in 0..20 {
            let [x, y] = [0, 1].map(|shard| layout.key(shard, &format!("round-{round}-")));
            let before = reader.snapshot().await.expect("a snapshot");
            // From here on the shard of x stamps what is written after that; nobody has told the shard of y.
            assert_eq!(before.get(x.clone()).await.expect("readable"), None);
            first.put(x.clone(), "1").await.expect("written");
            second.follow(first.time());
            second.put(y.clone(), "1").await.expect("written");
            assert_eq!(before.get(y.clone()).await.expect("readable"), None, "round {round}: y without x");
            let after = reader.snapshot().await.expect("a snapshot");
            for key in [x, y] {
                assert_eq!(after.get(key).await.expect("readable").expect("written").value, "1");
            }
        }
    });
}
