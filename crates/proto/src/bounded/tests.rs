//! Counting before decoding.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::BufMut;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use strata_types::Outcome;
use strata_types::limits::{BATCH_OPERATIONS_MAX, GRPC_MESSAGE_BYTES_MAX, TRANSACTION_WRITES_MAX};

use super::*;
use crate::{internal, v1};

/// Looks like one of our messages, and must never be decoded.
#[derive(Debug, Default)]
struct Untouched<M>(PhantomData<M>);

impl<M: std::fmt::Debug + Send + Sync> Message for Untouched<M> {
    fn encode_raw(&self, _: &mut impl BufMut) {}

    fn merge_field(&mut self, number: u32, _: WireType, _: &mut impl Buf, _: DecodeContext) -> Result<(), DecodeError> {
        panic!("field {number} was decoded")
    }

    fn encoded_len(&self) -> usize {
        0
    }

    fn clear(&mut self) {}
}

impl<M: Bounded> Bounded for Untouched<M> {
    const IS_REQUEST: bool = M::IS_REQUEST;

    fn shape() -> &'static Shape {
        M::shape()
    }
}

/// A field with this content.
fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_key(number, WireType::LengthDelimited, &mut bytes);
    prost::encoding::encode_varint(content.len() as u64, &mut bytes);
    bytes.extend_from_slice(content);
    bytes
}

/// So many empty messages of a field as one message of a client may hold, within these fields around it.
fn flood(number: u32, around: &[u32]) -> Vec<u8> {
    let empty = field(number, &[]);
    let flood = empty.repeat((GRPC_MESSAGE_BYTES_MAX - 64) / empty.len());
    around.iter().fold(flood, |content, number| field(*number, &content))
}

fn assert_refused<M>(bytes: Vec<u8>)
where
    M: Message + Default + Bounded + std::fmt::Debug,
{
    let error = decode::<Untouched<M>>(bytes.into()).expect_err("too many");
    assert_eq!((error.code, error.outcome), (ErrorCode::TooLarge, Outcome::NotApplied));
    assert!(error.message.contains("too many operations") && error.message.contains("64 MiB"), "{error}");
}

/// PROTO-3
#[test]
fn a_message_full_of_empty_operations_is_refused_and_nothing_of_it_is_decoded() {
    assert_refused::<v1::KvStreamRequest>(flood(1, &[]));
    // Operations of a batch of a stream; then mutations of one operation, and the keys that a transaction has read.
    assert_refused::<v1::KvStreamRequest>(flood(4, &[2, 1]));
    assert_refused::<v1::KvStreamRequest>(flood(1, &[5, 4, 2, 1]));
    assert_refused::<v1::KvStreamRequest>(flood(3, &[1, 7, 4, 2, 1]));
    assert_refused::<v1::BatchRequest>(flood(1, &[]));
    assert_refused::<v1::ShardBatch>(flood(4, &[]));
    assert_refused::<internal::DeliverRequest>(flood(2, &[]));
}

/// PROTO-3. A field that claims to end before what is in it does would have its content decoded before the mistake shows.
#[test]
fn content_that_reaches_beyond_its_field_is_refused_undecoded() {
    let flood = flood(4, &[]);
    let mut bytes = Vec::new();
    bytes.extend([0x0a, 0x06, 0x12]);
    prost::encoding::encode_varint(flood.len() as u64, &mut bytes);
    bytes.extend(flood);
    let error = decode::<Untouched<v1::KvStreamRequest>>(bytes.into()).expect_err("malformed");
    assert_eq!((error.code, error.outcome), (ErrorCode::InvalidArgument, Outcome::NotApplied), "{error}");
}

#[test]
fn what_the_limits_allow_is_decoded() {
    let (key, value) = (Bytes::from_static(b"k"), Bytes::from_static(b"v"));
    let put = v1::mutation::Put { key: key.clone(), value };
    let mutation = v1::Mutation { mutation: Some(v1::mutation::Mutation::Put(put)) };
    let batch = v1::BatchRequest { mutations: vec![mutation; BATCH_OPERATIONS_MAX], ..v1::BatchRequest::default() };
    assert_eq!(decode(batch.encode_to_vec().into()), Ok(batch));
    let key = Some(v1::SpaceKey { database: 1, key_space: 2, key });
    let part = v1::TransactionPart {
        reads: vec![key.clone().unwrap_or_default(); TRANSACTION_WRITES_MAX],
        writes: vec![v1::SpaceWrite { key, value: None }; TRANSACTION_WRITES_MAX],
        ..v1::TransactionPart::default()
    };
    let call = v1::TransactionCall { call: Some(v1::transaction_call::Call::Prepare(part)) };
    let transact =
        v1::Operation { operation: Some(v1::operation::Operation::Transact(call)), ..v1::Operation::default() };
    let stream = streamed(vec![transact; 20]);
    assert_eq!(decode(stream.encode_to_vec().into()), Ok(stream));
    // What one message of the SDK holds at most: a MiB in which each operation counts 64 bytes.
    let get = v1::operation::Get { key: Bytes::from_static(b"key") };
    let get = v1::Operation { operation: Some(v1::operation::Operation::Get(get)), ..v1::Operation::default() };
    let stream = streamed(vec![get; (1 << 20) / 64]);
    assert_eq!(decode(stream.encode_to_vec().into()), Ok(stream));
}

#[test]
fn only_what_servers_get_is_counted() {
    let requests = [
        v1::PutRequest::IS_REQUEST,
        v1::KvStreamRequest::IS_REQUEST,
        v1::TxnScanRequest::IS_REQUEST,
        internal::DeliverRequest::IS_REQUEST,
        internal::Introduction::IS_REQUEST,
    ];
    assert_eq!(requests, [true; 5]);
    let replies = [v1::ScanReply::IS_REQUEST, v1::KvStreamReply::IS_REQUEST, v1::ShardMapReply::IS_REQUEST];
    assert_eq!(replies, [false; 3]);
    // Nothing but messages that may hold many are looked into.
    assert!(v1::GetRequest::shape().fields.is_empty() && v1::TxnCommitRequest::shape().fields.is_empty());
}

fn streamed(operations: Vec<v1::Operation>) -> v1::KvStreamRequest {
    let batch = v1::ShardBatch { epoch: 1, operations, ..v1::ShardBatch::default() };
    let numbered = v1::kv_stream_request::Numbered { number: 1, batch: Some(batch) };
    v1::KvStreamRequest { batches: vec![numbered] }
}

/// What prost has made, counted by hand.
fn memory_in(request: &v1::KvStreamRequest) -> usize {
    let batches = request.batches.iter().filter_map(|numbered| numbered.batch.as_ref());
    let operations = batches.flat_map(|batch| &batch.operations);
    let within = operations.map(|operation| size_of::<v1::Operation>() + memory_in_operation(operation));
    size_of_val(&request.batches[..]) + within.sum::<usize>()
}

fn memory_in_operation(operation: &v1::Operation) -> usize {
    use v1::operation::Operation;
    use v1::transaction_call::Call;
    let part = |part: &v1::TransactionPart| {
        size_of_val(&part.reads[..]) + size_of_val(&part.ranges[..]) + size_of_val(&part.writes[..])
    };
    match &operation.operation {
        Some(Operation::Batch(batch)) => size_of_val(&batch.mutations[..]),
        Some(Operation::Transact(call)) => match &call.call {
            Some(Call::Commit(inner) | Call::Prepare(inner)) => part(inner),
            Some(Call::CommitLast(last)) => last.part.as_ref().map_or(0, part) + size_of_val(&last.participants[..]),
            _ => 0,
        },
        _ => 0,
    }
}

fn any_part() -> impl Strategy<Value = v1::TransactionPart> {
    (0..4_usize, 0..4_usize, 0..4_usize).prop_map(|(reads, ranges, writes)| v1::TransactionPart {
        reads: vec![v1::SpaceKey::default(); reads],
        ranges: vec![v1::SpaceRange::default(); ranges],
        writes: vec![v1::SpaceWrite { key: Some(v1::SpaceKey::default()), value: None }; writes],
        ..v1::TransactionPart::default()
    })
}

fn any_operation() -> impl Strategy<Value = v1::Operation> {
    use v1::operation::{Batch, Get, Operation};
    use v1::transaction_call::{Call, CommitLast};
    let call = |call| Operation::Transact(v1::TransactionCall { call: Some(call) });
    let get = vec(any::<u8>(), 0..9).prop_map(|key| Operation::Get(Get { key: key.into() }));
    let batch =
        (0..9_usize).prop_map(|count| Operation::Batch(Batch { mutations: vec![v1::Mutation::default(); count] }));
    let commit = any_part().prop_map(move |part| call(Call::Commit(part)));
    let last = (any_part(), vec(any::<u32>(), 0..5)).prop_map(move |(part, participants)| {
        call(Call::CommitLast(CommitLast { part: Some(part), prepared_at: 7, participants }))
    });
    let operation = prop_oneof![get, batch, commit, last];
    proptest::option::of(operation).prop_map(|operation| v1::Operation { operation, ..v1::Operation::default() })
}

fn any_stream() -> impl Strategy<Value = v1::KvStreamRequest> {
    vec(vec(any_operation(), 0..5), 0..4).prop_map(|batches| v1::KvStreamRequest {
        batches: batches.into_iter().flat_map(|all| streamed(all).batches).collect(),
    })
}

proptest! {
    #![proptest_config(config())]

    /// PROTO-3
    #[test]
    fn the_count_is_what_prost_makes(request in any_stream()) {
        let bytes = request.encode_to_vec();
        prop_assert_eq!(memory_of::<v1::KvStreamRequest>(&bytes, usize::MAX), Some(memory_in(&request)));
    }

    /// PROTO-3. Also of bytes that nobody would write: what occurs twice, what is cut, what is joined.
    #[test]
    fn prost_never_makes_more_than_was_counted(
        requests in vec(any_stream(), 1..3),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut bytes: Vec<u8> = requests.iter().flat_map(Message::encode_to_vec).collect();
        for (at, byte) in changes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        let counted = memory_of::<v1::KvStreamRequest>(&bytes, usize::MAX);
        if let Ok(request) = v1::KvStreamRequest::decode(&bytes[..]) {
            let counted = counted.expect("what prost takes is counted");
            prop_assert!(memory_in(&request) <= counted, "{} > {counted}", memory_in(&request));
        }
    }

    #[test]
    fn noise_is_counted_or_refused(noise in vec(any::<u8>(), 0..200)) {
        let decoded = catch_unwind(AssertUnwindSafe(|| decode::<v1::KvStreamRequest>(noise.clone().into())));
        prop_assert_eq!(decoded.expect("no panic").is_ok(), v1::KvStreamRequest::decode(&noise[..]).is_ok());
    }
}

/// The same cases in each run.
fn config() -> ProptestConfig {
    ProptestConfig { cases: 512, failure_persistence: None, rng_seed: RngSeed::Fixed(7), ..ProptestConfig::default() }
}
