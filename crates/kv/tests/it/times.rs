//! Timestamps and snapshots over whole nodes.

use std::time::Duration;

use strata_cluster::TimeLimits;
use strata_router::{Kv as _, ShardBatch, ShardExecutor as _, ShardReply};
use strata_txn::BeginOptions;
use strata_types::{ErrorCode, Outcome, ReadPreference, Reply, ShardId, Timestamp};

use crate::requests::{DEADLINE, cluster, get, put};
use crate::transactions::{keys, transactions, value};

#[tokio::test(start_paused = true)]
async fn nothing_is_read_or_written_at_a_time_that_has_not_come_or_is_long_gone() {
    let (_machines, gateways) = cluster(38).await;
    let key = keys(&gateways[0])[0].clone();
    gateways[0].router.call(put(&key, "1"), DEADLINE).await.expect("written");
    let mut read = get(&key);
    read.header.at = Some(Timestamp(1 << 60));
    let error = gateways[0].router.call(read, DEADLINE).await.expect_err("from the future");
    assert!(error.code == ErrorCode::InvalidArgument && error.message.contains("future"), "{error}");
    let mut write = put(&key, "2");
    write.header.seen = Timestamp(1 << 60);
    let error = gateways[0].router.call(write, DEADLINE).await.expect_err("from the future");
    assert_eq!((error.code, error.outcome), (ErrorCode::InvalidArgument, Outcome::NotApplied));

    let old = transactions(&gateways[0]).snapshot().await.expect("a snapshot").timestamp();
    for gateway in &gateways {
        let short = TimeLimits { retention: Duration::from_secs(10), age_max: Duration::from_secs(20) };
        gateway.node.timestamps().set_limits(short);
    }
    for round in 0..40 {
        gateways[0].node.timestamps().begin(DEADLINE).await.expect("time goes on");
        let mut write = transactions(&gateways[0]).begin(BeginOptions::default()).await.expect("begun");
        write.put(key.clone(), format!("{round}")).await.expect("buffered");
        write.commit().await.expect("committed");
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let snapshot = transactions(&gateways[0]).snapshot_at(old).await.expect("a handle");
    let error = snapshot.get(key.clone()).await.expect_err("collected");
    assert_eq!(error.code, ErrorCode::SnapshotTooOld, "{error}");
    assert_eq!(value(&gateways[1].router, &key).await.as_deref(), Some(b"39".as_slice()));
}

/// ROUTE-7
#[tokio::test(start_paused = true)]
async fn a_snapshot_that_is_open_sees_no_later_write_of_a_session_without_its_earlier_ones() {
    let (_machines, gateways) = cluster(41).await;
    let [x, y] = keys(&gateways[0]);
    let reader = transactions(&gateways[0]).snapshot().await.expect("a snapshot");
    assert_eq!(reader.get(x.clone()).await.expect("read"), None);
    let session = &gateways[1].router;
    session.call(put(&x, "1"), DEADLINE).await.expect("written");
    assert!(session.time() > reader.timestamp(), "the shard of x has been read at that time");
    session.call(put(&y, "1"), DEADLINE).await.expect("written");
    assert_eq!(reader.get(y.clone()).await.expect("read"), None, "it came after what the snapshot does not see");
    // Also if all that the session did on the other shard was to look.
    let reader = transactions(&gateways[0]).snapshot().await.expect("a snapshot");
    let seen = reader.get(x.clone()).await.expect("read").expect("written before");
    gateways[2].router.call(put(&x, "2"), DEADLINE).await.expect("written");
    assert_eq!(value(session, &x).await.as_deref(), Some(b"2".as_slice()));
    session.call(put(&y, "2"), DEADLINE).await.expect("written");
    assert_eq!(reader.get(x.clone()).await.expect("read"), Some(seen));
    assert_eq!(reader.get(y.clone()).await.expect("read").expect("there").value, "1");
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_does_not_lead_asks_for_no_timestamp_on_behalf_of_what_begins_at_the_leader() {
    let (_machines, gateways) = cluster(43).await;
    let [x, _] = keys(&gateways[0]);
    gateways[0].router.call(put(&x, "1"), DEADLINE).await.expect("written");
    let map = gateways[0].node.map();
    let leader = map.shard(ShardId(0)).expect("there").replicas[0].node;
    let follows = &gateways[leader.0 as usize % 3];
    let begins = |prefer| {
        let mut request = get(&x);
        (request.header.begins, request.header.prefer) = (true, prefer);
        ShardBatch { epoch: map.epoch, shard: ShardId(0), requests: vec![request].into() }
    };
    let before = follows.node.timestamps().known();
    match follows.local.execute(begins(ReadPreference::Leader)).await {
        ShardReply::NotLeader { leader: hint } => assert_eq!(hint, Some(leader)),
        other => panic!("{other:?}"),
    }
    assert_eq!(follows.node.timestamps().known(), before, "nobody was asked");
    // Where any replica will do, this one does.
    let reply = follows.local.execute(begins(ReadPreference::Any)).await;
    let ShardReply::Done { results, .. } = reply else { panic!("{reply:?}") };
    let Ok(Reply::Get { item: Some(item), freshness: Some(freshness) }) = &results[0] else { panic!("{results:?}") };
    assert_eq!(item.value, "1");
    assert!(freshness.at > Some(before));
}

#[tokio::test(start_paused = true)]
async fn the_first_read_of_a_transaction_takes_its_timestamp_where_it_reads() {
    let (_machines, gateways) = cluster(42).await;
    let [x, y] = keys(&gateways[0]);
    for key in [&x, &y] {
        gateways[0].router.call(put(key, "1"), DEADLINE).await.expect("written");
    }
    let mut txn = transactions(&gateways[0]).open(BeginOptions::default());
    assert_eq!(txn.read_timestamp(), Timestamp(0), "nobody was asked");
    gateways[1].router.call(put(&x, "2"), DEADLINE).await.expect("written");
    assert_eq!(txn.get(x.clone()).await.expect("read").expect("there").value, "2", "it begins here");
    assert!(txn.read_timestamp() > Timestamp(0));
    let mut other = transactions(&gateways[1]).open(BeginOptions::default());
    other.put(y.clone(), "2").await.expect("buffered");
    other.commit().await.expect("committed");
    assert_eq!(txn.get(y.clone()).await.expect("read").expect("there").value, "1", "all its reads are of one time");
    txn.put(x.clone(), "3").await.expect("buffered");
    let error = txn.commit().await.expect_err("y has changed since it was read");
    assert_eq!(error.conflict.expect("says over what").key.expect("a key").key, y.as_bytes());
}

#[tokio::test(start_paused = true)]
async fn a_node_holds_only_so_many_snapshots_for_readers_outside() {
    let (_machines, gateways) = cluster(44).await;
    let hold = async |at: u64| gateways[0].router.hold(Timestamp(at), DEADLINE).await;
    for at in 1..=100_000 {
        hold(at).await.expect("there is room");
    }
    let error = hold(100_001).await.expect_err("one too many");
    assert_eq!((error.code, error.outcome), (ErrorCode::Overloaded, Outcome::NotApplied));
    hold(1).await.expect("it is held already");
    gateways[0].node.env().sleep(Duration::from_secs(130)).await;
    hold(100_001).await.expect("the others were not asked for again");
}
