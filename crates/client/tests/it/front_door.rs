//! What any other gRPC client sees.

use strata_proto::v1::admin_client::AdminClient;
use strata_proto::v1::kv_client::KvClient;
use strata_proto::{error_of, v1};
use strata_types::{ErrorCode, Outcome};
use tonic::Code;

use crate::cluster::Nodes;

fn put(key: &str, value: &str) -> v1::PutRequest {
    v1::PutRequest { key: key.to_owned().into(), value: value.to_owned().into(), ..v1::PutRequest::default() }
}

#[tokio::test]
async fn unary_calls_reach_the_leader_through_any_node() {
    let nodes = Nodes::start(4).await;
    for node in 1..=3 {
        let mut kv = KvClient::new(nodes.channel(node).await);
        for number in 0..8 {
            kv.put(put(&format!("{node}-{number}"), "v")).await.expect("written");
        }
    }
    let mut kv = KvClient::new(nodes.channel(1).await);
    let get = v1::GetRequest { key: "3-5".into(), ..v1::GetRequest::default() };
    assert!(kv.get(get).await.expect("read").into_inner().item.is_some());
    let delete = v1::DeleteRequest { key: "3-5".into(), ..v1::DeleteRequest::default() };
    assert!(kv.delete(delete).await.expect("deleted").into_inner().existed);
    assert_eq!(nodes.cluster.applied(), 25);
}

/// GRPC-1
#[tokio::test]
async fn errors_carry_code_and_outcome() {
    let nodes = Nodes::start(4).await;
    let mut kv = KvClient::new(nodes.channel(1).await);
    let status = kv.put(put(&"k".repeat(9000), "v")).await.expect_err("too long");
    let error = error_of(&status);
    assert_eq!((error.code, error.outcome), (ErrorCode::TooLarge, Outcome::NotApplied));
    assert_eq!(status.code(), Code::InvalidArgument);
    let cas = v1::CompareAndSetRequest { key: "a".into(), ..v1::CompareAndSetRequest::default() };
    let error = error_of(&kv.compare_and_set(cas).await.expect_err("no condition"));
    assert_eq!((error.code, error.outcome), (ErrorCode::InvalidArgument, Outcome::NotApplied));
    let mutations = ["foo", "a"].map(|key| {
        let put = v1::mutation::Put { key: key.into(), value: "v".into() };
        v1::Mutation { mutation: Some(v1::mutation::Mutation::Put(put)) }
    });
    let batch = v1::BatchRequest { mutations: mutations.into(), ..v1::BatchRequest::default() };
    assert_eq!(error_of(&kv.batch(batch).await.expect_err("two shards")).code, ErrorCode::CrossShard);
    assert_eq!(nodes.cluster.applied(), 0);
}

#[tokio::test]
async fn a_scan_streams_in_order_and_says_where_to_go_on() {
    let nodes = Nodes::start(4).await;
    let mut kv = KvClient::new(nodes.channel(2).await);
    for number in 0..50 {
        kv.put(put(&format!("{number:02}"), "v")).await.expect("written");
    }
    let scan =
        |start: &str, limit| v1::ScanRequest { start: start.to_owned().into(), limit, ..v1::ScanRequest::default() };
    let mut keys = Vec::new();
    let mut resume = None;
    let mut stream = kv.scan(scan("10", 20)).await.expect("scanned").into_inner();
    while let Some(page) = stream.message().await.expect("a page") {
        keys.extend(page.items.into_iter().map(|item| item.key));
        resume = page.resume;
    }
    assert_eq!(keys, (10..30).map(|number| format!("{number:02}")).collect::<Vec<_>>());
    let resume = resume.expect("the limit was reached, not the end");
    assert!(resume.as_ref() > b"29".as_slice() && resume.as_ref() <= b"30".as_slice());
    let mut last = None;
    let mut stream = kv.scan(scan("45", 0)).await.expect("scanned").into_inner();
    while let Some(page) = stream.message().await.expect("a page") {
        last = Some(page.resume);
    }
    assert_eq!(last, Some(None), "nothing is left");
}

#[tokio::test]
async fn administration_sees_the_cluster() {
    let nodes = Nodes::start(4).await;
    let mut admin = AdminClient::new(nodes.channel(1).await);
    let status = admin.cluster_status(v1::ClusterStatusRequest {}).await.expect("answered").into_inner();
    assert_eq!((status.nodes, status.nodes_up, status.shards, status.shards_led), (3, 2, 4, 4));
    assert!(!status.healthy && status.problems.iter().any(|problem| problem.contains("n3")), "{:?}", status.problems);
    assert_eq!(status.health(), v1::Health::Degraded);
    assert_eq!(admin.nodes(v1::NodesRequest {}).await.expect("answered").into_inner().nodes.len(), 3);
    assert_eq!(admin.shards(v1::ShardsRequest {}).await.expect("answered").into_inner().shards.len(), 4);
    let map = |newer_than| v1::ShardMapRequest { newer_than };
    assert!(admin.shard_map(map(0)).await.expect("answered").into_inner().map.is_some());
    assert!(admin.shard_map(map(1)).await.expect("answered").into_inner().map.is_none());
}

#[tokio::test]
async fn health_follows_its_switch() {
    let nodes = Nodes::start(1).await;
    let ask = || async {
        let channel = nodes.channel(1).await;
        let path = "/grpc.health.v1.Health/Check".parse().expect("a path");
        let mut grpc = tonic::client::Grpc::new(channel);
        grpc.ready().await.expect("connected");
        // HealthCheckRequest without fields, and a reply whose only field is the status.
        let codec = tonic_codec();
        let reply = grpc.unary(tonic::Request::new(v1::NodesRequest {}), path, codec).await.expect("answered");
        reply.into_inner().newer_than
    };
    assert_eq!(ask().await, 2, "not serving before it is switched on");
    nodes.health(1).set_serving(true).await;
    assert_eq!(ask().await, 1);
}

/// Health messages have the shape of two of ours: nothing, and one number in field 1.
fn tonic_codec() -> impl tonic::codec::Codec<Encode = v1::NodesRequest, Decode = v1::ShardMapRequest> {
    tonic_prost::ProstCodec::default()
}
