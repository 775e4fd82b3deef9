//! GRPC-3: every request ends by its deadline; one without gets a default.

use std::time::Duration;

use futures_util::stream;
use strata_proto::v1::kv_client::KvClient;
use strata_proto::{ShardAnswer, ShardCall, v1};
use strata_types::limits::REQUEST_DEADLINE_DEFAULT;
use strata_types::{Epoch, ErrorCode, Operation, Outcome, Request, RequestHeader, ShardId};

use crate::nobody::{Node, connect_to};

#[tokio::test]
async fn a_call_has_the_time_that_its_client_has_or_the_default() {
    let node = Node::new();
    let (channel, _) = connect_to(node.clone()).await;
    let mut client = KvClient::new(channel);
    let key = v1::GetRequest { key: "k".into(), ..v1::GetRequest::default() };
    client.get(key.clone()).await.expect_err("nobody is there");
    let mut hasty = tonic::Request::new(key);
    hasty.set_timeout(Duration::from_secs(2));
    client.get(hasty).await.expect_err("nobody is there");
    let deadlines = node.deadlines();
    assert_eq!(deadlines[0], REQUEST_DEADLINE_DEFAULT);
    assert!(deadlines[1] <= Duration::from_secs(2) && deadlines[1] > Duration::from_secs(1), "{deadlines:?}");
}

#[tokio::test]
async fn a_batch_of_a_stream_that_nobody_answers_ends_by_its_deadline() {
    let node = Node::stuck();
    let (channel, _) = connect_to(node).await;
    let operation = Operation::Put { key: "k".into(), value: "v".into() };
    let requests = vec![Request { header: RequestHeader::default(), operation }];
    let deadline = Some(Duration::from_millis(20));
    let call = ShardCall { epoch: Epoch(1), shard: ShardId(0), requests, deadline };
    let numbered = v1::kv_stream_request::Numbered { number: 7, batch: Some(call.into()) };
    let messages = stream::iter([v1::KvStreamRequest { batches: vec![numbered] }]);
    let mut replies = KvClient::new(channel).stream(messages).await.expect("opened").into_inner();
    let message = replies.message().await.expect("readable").expect("an answer");
    let reply = message.replies.into_iter().next().expect("a reply");
    assert_eq!(reply.number, 7);
    let ShardAnswer::Failed(error) = ShardAnswer::from(reply.reply.expect("something in it")) else {
        panic!("it cannot have succeeded")
    };
    assert_eq!((error.code, error.outcome), (ErrorCode::DeadlineExceeded, Outcome::Unknown));
}
