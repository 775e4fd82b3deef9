//! What a program sees through the SDK.

use std::time::Duration;

use strata_client::{
    Batch, Client, ErrorCode, Expected, Freshness, KeyRange, Outcome, ReadLevel, ReadOptions, Timestamp,
};
use strata_types::ShardId;

use crate::cluster::{Nodes, SECOND};

#[tokio::test]
async fn every_operation_does_what_it_says() {
    let nodes = Nodes::start(4).await;
    let client = nodes.client(Client::builder()).await;
    assert_eq!(client.get("a").await.expect("read"), None);
    let revision = client.put("a", "1").await.expect("written");
    let item = client.get("a").await.expect("read").expect("there");
    assert_eq!((item.value.as_ref(), item.revision), (&b"1"[..], revision));

    let lost = client.compare_and_set("a", Expected::Absent, Some("2".into())).await.expect("answered");
    assert!(!lost.succeeded);
    assert_eq!(lost.current, Some(item));
    let won = client.compare_and_set("a", Expected::Revision(revision), Some("2".into())).await.expect("answered");
    assert!(won.succeeded && won.current.is_none());
    let gone = client.compare_and_set("a", Expected::Value("2".into()), None).await.expect("answered");
    assert!(gone.succeeded);
    assert!(!client.delete("a").await.expect("answered").existed);

    client.batch(Batch::new().put("{t}1", "x").put("{t}2", "y").delete("{t}3")).await.expect("written");
    let items = client.scan_all(KeyRange::prefix("{t}")).await.expect("scanned");
    assert_eq!(items.iter().map(|item| item.value.as_ref()).collect::<Vec<_>>(), [b"x", b"y"]);
    assert!(client.delete("{t}1").await.expect("answered").existed);
}

#[tokio::test]
async fn many_callers_share_messages_and_all_are_answered() {
    let nodes = Nodes::start(4).await;
    let client = nodes.client(Client::builder()).await;
    let calls = (0..5000u32).map(|number| {
        let client = client.clone();
        async move { client.put(format!("key {number:05}"), number.to_be_bytes().to_vec()).await }
    });
    for reply in futures_util::future::join_all(calls).await {
        reply.expect("written");
    }
    assert_eq!(nodes.cluster.applied(), 5000);
    assert!(nodes.cluster.batches() < 500, "{} batches", nodes.cluster.batches());
    let items = client.scan_all(KeyRange::all()).await.expect("scanned");
    assert_eq!(items.len(), 5000);
    assert!(items.windows(2).all(|pair| pair[0].key < pair[1].key));
    let some = client.scan_all(KeyRange::of("key 00100".."key 00200").limit(30)).await.expect("scanned");
    assert_eq!(some.len(), 30);
}

#[tokio::test]
async fn large_values_and_pages_larger_than_a_message_come_through() {
    let nodes = Nodes::start(1).await;
    let client = nodes.client(Client::builder().deadline(30 * SECOND)).await;
    let value = |fill: u8| vec![fill; 3 * 1024 * 1024];
    for number in 0..16u8 {
        client.put(format!("{number:02}"), value(number)).await.expect("written");
    }
    let reads = (0..16u8).map(|number| client.get(format!("{number:02}")));
    for (item, number) in futures_util::future::join_all(reads).await.into_iter().zip(0..) {
        assert_eq!(item.expect("read").expect("there").value, value(number));
    }
    let error = client.put("x", vec![0; 17 * 1024 * 1024]).await.expect_err("too large");
    assert_eq!((error.code, error.outcome), (ErrorCode::TooLarge, Outcome::NotApplied));
}

#[tokio::test]
async fn reads_of_every_level_come_through_and_say_how_fresh_they_are() {
    let nodes = Nodes::start(1).await;
    let client = nodes.client(Client::builder()).await;
    let revision = client.put("a", "1").await.expect("written");
    assert!(client.get("a").await.expect("read").is_some());
    let (_, leader) = nodes.cluster.leader_of("a");
    assert_eq!(nodes.cluster.readers(), [leader as u64].into(), "linearizable reads go to the leader");
    for (options, level) in [
        (ReadOptions::anywhere(), ReadLevel::Linearizable),
        (ReadOptions::local(), ReadLevel::Local),
        (ReadOptions::bounded(SECOND), ReadLevel::Bounded { max_staleness: SECOND }),
    ] {
        let client = client.with_reads(options);
        for _ in 0..3 {
            let read = client.read("a").await.expect("read");
            assert_eq!(read.item.expect("there").revision, revision);
            assert_eq!(read.freshness, Some(Freshness { level, applied: revision.index, at: None }));
        }
        let mut scan = client.scan(KeyRange::all());
        assert_eq!(scan.level(), None, "nobody was asked yet");
        assert_eq!(scan.next_page().await.expect("a page").map(|items| items.len()), Some(1));
        assert_eq!(scan.level(), Some(level));
    }
    assert_eq!(nodes.cluster.readers(), [1, 2, 3].into(), "the others are spread");
}

/// ROUTE-7: two clients as one session.
#[tokio::test]
async fn what_a_client_writes_comes_after_what_the_one_that_it_follows_was_told() {
    let nodes = Nodes::start(4).await;
    let (first, second) = (nodes.client(Client::builder()).await, nodes.client(Client::builder()).await);
    nodes.cluster.set_time(Timestamp(40));
    first.put("a", "1").await.expect("written");
    assert_eq!(first.time(), Timestamp(40));
    nodes.cluster.set_time(Timestamp(7));
    second.put("b", "1").await.expect("written");
    assert_eq!(
        (nodes.cluster.last_seen(), second.time()),
        (Timestamp(0), Timestamp(7)),
        "it knows nothing of the first"
    );

    second.follow(first.time());
    assert_eq!(second.time(), Timestamp(40));
    second.put("b", "2").await.expect("written");
    assert_eq!(nodes.cluster.last_seen(), Timestamp(40));
    // Clones are the same session, and nobody goes back.
    second.follow(Timestamp(3));
    second.clone().put("b", "3").await.expect("written");
    assert_eq!(nodes.cluster.last_seen(), Timestamp(40));
    first.put("a", "2").await.expect("written");
    assert_eq!(first.time(), Timestamp(40), "the one that is followed does not follow");
}

#[tokio::test]
async fn a_moved_leader_is_found() {
    let nodes = Nodes::start(1).await;
    let client = nodes.client(Client::builder()).await;
    client.put("a", "1").await.expect("written");
    let (shard, _) = nodes.cluster.leader_of("a");
    nodes.cluster.set_leader(shard, 3);
    client.put("a", "2").await.expect("written");
    nodes.cluster.raise_epoch();
    client.put("a", "3").await.expect("written");
    assert_eq!(client.map().epoch, nodes.cluster.map().epoch);
    assert_eq!(nodes.cluster.applied(), 3);
}

/// CLIENT-1
#[tokio::test]
async fn a_broken_connection_leaves_a_sent_write_unknown() {
    let mut nodes = Nodes::start(1).await;
    let client = nodes.client(Client::builder()).await;
    client.put("a", "1").await.expect("written");
    let (_, leader) = nodes.cluster.leader_of("a");
    nodes.cluster.set_gate(false);
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.put("a", "2").await }
    });
    nodes.cluster.started.subscribe().wait_for(|started| *started >= 2).await.expect("carried out");
    nodes.kill(leader);
    let error = call.await.expect("joined").expect_err("no answer");
    assert_eq!((error.code, error.outcome), (ErrorCode::Unavailable, Outcome::Unknown), "{error}");
}

#[tokio::test]
async fn with_a_session_a_broken_connection_is_no_error() {
    let mut nodes = Nodes::start(1).await;
    let client = nodes.client(Client::builder().sessions(true).deadline(20 * SECOND)).await;
    client.put("a", "1").await.expect("written");
    let (shard, leader) = nodes.cluster.leader_of("a");
    nodes.cluster.set_gate(false);
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.put("a", "2").await }
    });
    nodes.cluster.started.subscribe().wait_for(|started| *started >= 2).await.expect("carried out");
    nodes.kill(leader);
    nodes.cluster.set_leader(shard, leader as u64 % 3 + 1);
    nodes.cluster.set_gate(true);
    call.await.expect("joined").expect("written");
    assert_eq!(nodes.cluster.applied(), 2, "carried out once by the old leader and not again by the new one");
}

/// A value that is seen among all that comes to a node, and that HTTP/2 lets through at once.
const LARGE: usize = 32 * 1024;

/// CLIENT-1, GRPC-6: its batches on a stream that ends, carried out or not, have an outcome.
#[tokio::test]
async fn a_node_that_stops_costs_no_error() {
    let nodes = Nodes::start(4).await;
    let client = nodes.client(Client::builder().deadline(30 * SECOND)).await;
    let key_of = |shard: u32| {
        let keys = (0..).map(|number| format!("key {number}"));
        keys.into_iter().find(|key| nodes.cluster.leader_of(key) == (ShardId(shard), 1)).expect("of any shard")
    };
    let put = |key: String, bytes: usize| {
        let client = client.clone();
        tokio::spawn(async move { client.put(key, vec![7_u8; bytes]).await })
    };
    nodes.cluster.set_gate(false);
    let taken = put(key_of(0), 1);
    nodes.cluster.started.subscribe().wait_for(|started| *started == 1).await.expect("it was taken");
    nodes.health(1).end_streams();
    let mut heard = nodes.heard(1);
    let before = *heard.borrow();
    let left = put(key_of(3), LARGE);
    // It came over the same stream, where nobody takes it: nothing else that came is as large.
    heard.wait_for(|heard| *heard >= before + LARGE).await.expect("the node lives");
    nodes.cluster.set_leader(ShardId(3), 2);
    nodes.cluster.set_gate(true);
    for write in [taken, left] {
        write.await.expect("joined").expect("written");
    }
    assert_eq!(nodes.cluster.applied(), 2, "each once");
}

#[tokio::test]
async fn a_dead_node_is_passed_over() {
    let mut nodes = Nodes::start(1).await;
    let client = nodes.client(Client::builder().deadline(20 * SECOND)).await;
    let (shard, leader) = nodes.cluster.leader_of("a");
    nodes.kill(leader);
    nodes.cluster.set_leader(shard, leader as u64 % 3 + 1);
    client.put("a", "1").await.expect("written through the others");
}

#[tokio::test]
async fn nobody_there_is_one_clear_sentence() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    drop(listener);
    let settings = Client::builder().connect_deadline(Duration::from_millis(300));
    let error = settings.connect([address.clone()]).await.err().expect("nobody listens");
    assert_eq!((error.code, error.outcome), (ErrorCode::Unavailable, Outcome::NotApplied));
    assert!(error.message.contains(&address), "{error}");
    let none: [String; 0] = [];
    assert_eq!(Client::connect(none).await.err().map(|error| error.code), Some(ErrorCode::InvalidArgument));
    assert_eq!(Client::connect(["nonsense"]).await.err().map(|error| error.code), Some(ErrorCode::InvalidArgument));
}
