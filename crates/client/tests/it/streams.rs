//! Streams that misbehave: their memory stays bounded and everything they asked gets an answer.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use strata_proto::v1::kv_client::KvClient;
use strata_proto::{CLUSTER_METADATA, ShardAnswer, ShardCall, error_of, v1};
use strata_types::{ClusterId, Epoch, ErrorCode, Operation, Outcome, Request, RequestHeader, ShardId};
use tokio_stream::StreamExt;

use crate::cluster::Nodes;

const MIB: usize = 1024 * 1024;

fn message(number: u64, operations: Vec<Operation>) -> v1::KvStreamRequest {
    let requests =
        operations.into_iter().map(|operation| Request { header: RequestHeader::default(), operation }).collect();
    let call = ShardCall { epoch: Epoch(1), shard: ShardId(0), requests, deadline: Some(30 * crate::cluster::SECOND) };
    let numbered = v1::kv_stream_request::Numbered { number, batch: Some(call.into()) };
    v1::KvStreamRequest { batches: vec![numbered] }
}

fn put(number: u64, size: usize) -> Operation {
    Operation::Put { key: Bytes::from(format!("{number}")), value: vec![7; size].into() }
}

async fn answers(mut replies: tonic::Streaming<v1::KvStreamReply>) -> Vec<(u64, ShardAnswer)> {
    let mut answers = Vec::new();
    while let Some(message) = replies.message().await.expect("a reply") {
        let reply = |reply: v1::kv_stream_reply::Numbered| (reply.number, reply.reply.expect("a reply").into());
        answers.extend(message.replies.into_iter().map(reply));
    }
    answers.sort_by_key(|(number, _)| *number);
    answers
}

#[tokio::test]
async fn replies_carry_the_numbers_of_their_batches() {
    let nodes = Nodes::start(1).await;
    let mut kv = KvClient::new(nodes.channel(1).await);
    let messages = tokio_stream::iter((0..100).map(|number| message(number, vec![put(number, 10); 3])));
    let answers = answers(kv.stream(messages).await.expect("opened").into_inner()).await;
    assert_eq!(answers.iter().map(|(number, _)| *number).collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
    assert!(
        answers.iter().all(|(_, answer)| matches!(answer, ShardAnswer::Done { results, .. } if results.len() == 3))
    );
}

/// GRPC-7
#[tokio::test]
async fn a_client_of_another_cluster_is_refused() {
    let nodes = Nodes::start(1).await;
    let mut kv = KvClient::new(nodes.channel(1).await);
    let mut open = async |cluster: ClusterId| {
        let mut request = tonic::Request::new(tokio_stream::iter([message(0, vec![put(0, 1)])]));
        request.metadata_mut().insert(CLUSTER_METADATA, cluster.to_string().parse().expect("text"));
        kv.stream(request).await
    };
    let refused = error_of(&open(ClusterId(78)).await.expect_err("not ours"));
    assert_eq!((refused.code, refused.outcome), (ErrorCode::IdentityRefused, Outcome::NotApplied), "{refused}");
    assert_eq!(nodes.cluster.applied(), 0);
    assert_eq!(answers(open(ClusterId(77)).await.expect("ours").into_inner()).await.len(), 1);
    assert_eq!(nodes.cluster.applied(), 1);
}

#[tokio::test]
async fn a_malformed_batch_is_an_error_of_that_batch_only() {
    let nodes = Nodes::start(1).await;
    let mut kv = KvClient::new(nodes.channel(1).await);
    let mut broken = message(1, vec![put(1, 1)]);
    broken.batches[0].batch.as_mut().expect("a batch").operations[0].operation = None;
    let messages = tokio_stream::iter([message(0, vec![put(0, 1)]), broken, message(2, vec![put(2, 1)])]);
    let answers = answers(kv.stream(messages).await.expect("opened").into_inner()).await;
    assert!(matches!(&answers[1].1, ShardAnswer::Failed(error) if error.code == ErrorCode::InvalidArgument));
    for index in [0, 2] {
        assert!(matches!(&answers[index].1, ShardAnswer::Done { .. }), "{:?}", answers[index]);
    }
}

/// GRPC-2
#[tokio::test]
async fn a_stream_that_sends_too_much_has_to_wait() {
    let nodes = Nodes::start(1).await;
    nodes.cluster.set_gate(false);
    let mut kv = KvClient::new(nodes.channel(1).await);
    let messages = tokio_stream::iter((0..100).map(|number| message(number, vec![put(number, MIB)])));
    let replies = kv.stream(messages).await.expect("opened").into_inner();
    // As many as fit are started while nothing is answered; a few bytes of framing make it one less than 40.
    nodes.cluster.started.subscribe().wait_for(|started| *started == 39).await.expect("started");
    nodes.cluster.set_gate(true);
    assert_eq!(answers(replies).await.len(), 100);
    assert!(nodes.cluster.under_way_max.load(Ordering::SeqCst) <= 39);
}

/// GRPC-2
#[tokio::test]
async fn a_stream_that_does_not_read_gets_bounded_replies() {
    let nodes = Nodes::start(1).await;
    let mut kv = KvClient::new(nodes.channel(1).await).max_decoding_message_size(64 * MIB);
    let first = tokio_stream::iter([message(0, vec![put(0, MIB)])]);
    answers(kv.stream(first).await.expect("opened").into_inner()).await;
    let get = Operation::Get { key: Bytes::from_static(b"0") };
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let messages = tokio_stream::wrappers::ReceiverStream::new(receiver);
    let replies = kv.stream(messages.fuse()).await.expect("opened").into_inner();
    for number in 0..200 {
        sender.send(message(number, vec![get.clone()])).await.expect("the stream is open");
    }
    drop(sender);
    nodes.cluster.started.subscribe().wait_for(|started| *started == 201).await.expect("all carried out");
    let answers = answers(replies).await;
    assert_eq!(answers.len(), 200);
    let (full, refused): (Vec<_>, Vec<_>) = answers
        .into_iter()
        .partition(|(_, answer)| matches!(answer, ShardAnswer::Done { results, .. } if results[0].is_ok()));
    // 40 MiB wait at most; a little more may be on its way.
    assert!(!full.is_empty() && full.len() < 60, "{} MiB were kept", full.len());
    assert!(refused.iter().all(|(_, answer)| matches!(answer, ShardAnswer::Done { results, .. }
        if results[0].as_ref().is_err_and(|error| error.code == ErrorCode::Overloaded))));
}
