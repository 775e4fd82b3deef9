//! Messages that are small on the wire and would be huge in memory.

use futures_util::stream;
use strata_proto::v1::kv_client::KvClient;
use strata_proto::{error_of, v1};
use strata_types::{ErrorCode, Outcome};

use crate::nobody::connect;

/// PROTO-3
#[tokio::test]
async fn more_operations_than_a_node_takes_are_refused_undecoded_and_the_next_call_is_served() {
    let (channel, _) = connect().await;
    let mut client = KvClient::new(channel);
    let empty = || vec![v1::Mutation::default(); 1_200_000];
    let batch = v1::BatchRequest { mutations: empty(), ..v1::BatchRequest::default() };
    let error = error_of(&client.batch(batch).await.expect_err("too many"));
    assert_eq!((error.code, error.outcome), (ErrorCode::TooLarge, Outcome::NotApplied));
    assert!(error.message.contains("decoded, they take more than 64 MiB"), "{error}");

    // The same within an operation of a stream, which ends by it.
    let batch = v1::operation::Batch { mutations: empty() };
    let operation = Some(v1::operation::Operation::Batch(batch));
    let operations = vec![v1::Operation { operation, ..v1::Operation::default() }];
    let batch = Some(v1::ShardBatch { operations, ..v1::ShardBatch::default() });
    let numbered = v1::kv_stream_request::Numbered { number: 1, batch };
    let messages = stream::iter([v1::KvStreamRequest { batches: vec![numbered] }]);
    let mut replies = client.stream(messages).await.expect("opened").into_inner();
    let error = error_of(&replies.message().await.expect_err("too many"));
    assert_eq!((error.code, error.outcome), (ErrorCode::TooLarge, Outcome::NotApplied));

    let one = v1::BatchRequest { mutations: vec![v1::Mutation::default()], ..v1::BatchRequest::default() };
    assert_eq!(error_of(&client.batch(one).await.expect_err("it says nothing")).code, ErrorCode::InvalidArgument);
}
