//! What clients and nodes send, damaged in every way: it is converted or refused (PROTO-1), and what is taken means the
//! same after another way.

use std::fmt::Debug;

use bytes::Bytes;
use prost::Message;
use strata_proto::{ShardAnswer, ShardCall, error_of, internal, status_of, v1};
use strata_types::{Epoch, Error, ErrorCode, LogIndex, Reply, Request, ShardMap};
use tonic::{Code, Status};

use crate::shard::{answers, call, map};

strata_codec::fuzz_targets!();

fn wire(message: impl Message) -> Bytes {
    message.encode_to_vec().into()
}

/// Decodes a message and converts it.
fn read<M: Message + Default, T, E: Debug>(bytes: Bytes, convert: impl FnOnce(M) -> Result<T, E>) -> Result<T, String> {
    let message = M::decode(bytes).map_err(|error| error.to_string())?;
    convert(message).map_err(|error| format!("{error:?}"))
}

#[test]
fn batches_and_their_answers() {
    check_format(
        &[call(), ShardCall { requests: Vec::new(), deadline: None, ..call() }],
        |call| wire(v1::ShardBatch::from(call.clone())),
        |bytes| read::<v1::ShardBatch, _, _>(bytes, ShardCall::try_from),
    );
    check_format(
        &answers(),
        |answer| wire(v1::ShardReply::from(answer.clone())),
        |bytes| read::<v1::ShardReply, _, Error>(bytes, |reply| Ok(ShardAnswer::from(reply))),
    );
}

#[test]
fn shard_maps() {
    check_format(
        &[map()],
        |map| wire(v1::ShardMap::from(map)),
        |bytes| read::<v1::ShardMap, _, _>(bytes, ShardMap::try_from),
    );
    each(&[wire(v1::ShardMapReply::answer(&map(), Epoch(0)))], |bytes| {
        let _ = read::<v1::ShardMapReply, _, _>(bytes, v1::ShardMapReply::into_map);
    });
}

/// Every message of a client, with all its fields.
fn requests() -> Vec<Bytes> {
    let (key, value) = (Bytes::from_static(b"key"), Bytes::from_static(b"value"));
    let session = Some(v1::Session { client: 1, sequence: 2, floor: 1, opened: 3 });
    let condition = Some(v1::expected::Condition::Revision(v1::Revision { index: 8, position: 9 }));
    let put = v1::mutation::Mutation::Put(v1::mutation::Put { key: key.clone(), value: value.clone() });
    vec![
        wire(v1::GetRequest { key: key.clone(), database: 4, level: 2, ..v1::GetRequest::default() }),
        wire(v1::PutRequest { key: key.clone(), value: value.clone(), session, ..v1::PutRequest::default() }),
        wire(v1::DeleteRequest { key: key.clone(), session, seen: 7, ..v1::DeleteRequest::default() }),
        wire(v1::CompareAndSetRequest {
            key: key.clone(),
            value: Some(value),
            expected: Some(v1::Expected { condition }),
            ..v1::CompareAndSetRequest::default()
        }),
        wire(v1::BatchRequest {
            mutations: vec![v1::Mutation { mutation: Some(put) }],
            session,
            ..v1::BatchRequest::default()
        }),
        wire(v1::ScanRequest { start: key.clone(), end: Some(key), limit: 10, ..v1::ScanRequest::default() }),
    ]
}

#[test]
fn requests_of_clients_and_replies_to_them() {
    each(&requests(), |bytes| {
        // Each as every kind: fields of one are fields of another kind in the other.
        let _ = read::<v1::GetRequest, _, _>(bytes.clone(), Request::try_from);
        let _ = read::<v1::PutRequest, _, _>(bytes.clone(), Request::try_from);
        let _ = read::<v1::DeleteRequest, _, _>(bytes.clone(), Request::try_from);
        let _ = read::<v1::CompareAndSetRequest, _, _>(bytes.clone(), Request::try_from);
        let _ = read::<v1::BatchRequest, _, _>(bytes.clone(), Request::try_from);
        let _ = read::<v1::ScanRequest, _, _>(bytes, Request::try_from);
    });
    let replies: Vec<Bytes> = answers().into_iter().map(|answer| wire(v1::ShardReply::from(answer))).collect();
    each(&replies, |bytes| {
        let _ = read::<v1::GetReply, _, Error>(bytes.clone(), |reply| Ok(Reply::from(reply)));
        let _ = read::<v1::PutReply, _, Error>(bytes.clone(), |reply| Ok(Reply::from(reply)));
        let _ = read::<v1::DeleteReply, _, Error>(bytes.clone(), |reply| Ok(Reply::from(reply)));
        let _ = read::<v1::CompareAndSetReply, _, Error>(bytes.clone(), |reply| Ok(Reply::from(reply)));
        let _ = read::<v1::BatchReply, _, Error>(bytes.clone(), |reply| Ok(Reply::from(reply)));
        let _ = read::<v1::ScanReply, _, Error>(bytes, |reply| Ok(Reply::from(reply)));
    });
}

/// Batches of the streams of SDKs.
#[test]
fn streams() {
    let numbered = |number| v1::kv_stream_request::Numbered { number, batch: Some(call().into()) };
    each(&[wire(v1::KvStreamRequest { batches: vec![numbered(1), numbered(u64::MAX)] })], |bytes| {
        let Ok(request) = v1::KvStreamRequest::decode(bytes) else { return };
        for batch in request.batches.into_iter().filter_map(|numbered| numbered.batch) {
            let _ = ShardCall::try_from(batch);
        }
    });
    let answer = |answer| v1::kv_stream_reply::Numbered { number: 3, reply: Some(v1::ShardReply::from(answer)) };
    each(&[wire(v1::KvStreamReply { replies: answers().into_iter().map(answer).collect(), ends: true })], |bytes| {
        let Ok(reply) = v1::KvStreamReply::decode(bytes) else { return };
        reply
            .replies
            .into_iter()
            .filter_map(|numbered| numbered.reply)
            .for_each(|reply| drop(ShardAnswer::from(reply)));
    });
}

/// Details of errors come from whoever answers, also from a proxy.
#[test]
fn errors() {
    let errors = [
        Error::unknown(ErrorCode::SessionExpired, "forgotten").at(LogIndex(18)),
        Error::not_applied(ErrorCode::NotReady, ""),
    ];
    check_format(
        &errors,
        |error| Bytes::copy_from_slice(status_of(error).details()),
        |details| {
            let error = error_of(&Status::with_details(Code::Ok, "none of ours", details));
            if error.message == "none of ours" { Err("no details") } else { Ok(error) }
        },
    );
}

/// tonic ends a call at its deadline by itself, in words that say nothing to our users.
#[test]
fn a_deadline_that_passed_on_this_side_is_named_as_one() {
    for status in [Status::cancelled("Timeout expired"), Status::deadline_exceeded("")] {
        let error = error_of(&status);
        assert_eq!((error.code, error.message.as_str()), (ErrorCode::DeadlineExceeded, "no answer by the deadline"));
    }
}

#[test]
fn messages_between_nodes() {
    let hello = internal::Hello { cluster: "0".repeat(32), from: 1, to: 2, lane: 3, protocol_min: 1, protocol_max: 1 };
    let frame = internal::Frame { group: 1, kind: 4, correlation: 5, body: Bytes::from_static(b"body") };
    let first = internal::DeliverRequest { hello: Some(hello), frames: Vec::new() };
    let next = internal::DeliverRequest { hello: None, frames: vec![frame.clone(), frame] };
    each(&[wire(first), wire(next)], |bytes| {
        let Ok(request) = internal::DeliverRequest::decode(bytes.clone()) else { return };
        if let Some(hello) = request.hello {
            let _ = (hello.cluster_id(), hello.from_node(), hello.to_node(), hello.lane());
        }
        // Bodies are parts of what came: a length of a frame makes no memory.
        let body: usize = request.frames.iter().map(|frame| frame.body.len()).sum();
        assert!(body <= bytes.len());
    });
}
