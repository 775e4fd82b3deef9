//! Unary requests and replies, and what reflection serves.

use std::time::Duration;

use bytes::Bytes;
use strata_proto::{DESCRIPTORS, v1};
use strata_types::{
    ClientId, DatabaseId, ErrorCode, Expected, Freshness, KeySpaceId, LogIndex, Mutation, Operation, Outcome,
    ReadLevel, ReadPreference, Reply, Request, RequestHeader, Revision, SessionRequest, Timestamp, limits,
};

const TIME: Timestamp = Timestamp(6);

const KEY: Bytes = Bytes::from_static(b"k");
const VALUE: Bytes = Bytes::from_static(b"v");
const SESSION: v1::Session = v1::Session { client: 1, sequence: 2, floor: 1, opened: 3 };

fn write_header() -> RequestHeader {
    RequestHeader {
        database: DatabaseId(4),
        key_space: KeySpaceId(5),
        session: Some(SessionRequest { client: ClientId(1), sequence: 2, floor: 1, opened: LogIndex(3) }),
        seen: Timestamp(6),
        ..RequestHeader::default()
    }
}

fn written(operation: Operation) -> Result<Request, strata_types::Error> {
    Ok(Request { header: write_header(), operation })
}

#[test]
fn writes_say_who_asks_and_for_what() {
    let put = v1::PutRequest {
        key: KEY,
        value: VALUE,
        database: 4,
        key_space: 5,
        session: Some(SESSION),
        seen: 6,
        durability: 0,
    };
    assert_eq!(put.try_into(), written(Operation::Put { key: KEY, value: VALUE }));
    let delete =
        v1::DeleteRequest { key: KEY, database: 4, key_space: 5, session: Some(SESSION), seen: 6, durability: 1 };
    assert_eq!(delete.try_into(), written(Operation::Delete { key: KEY }));
    let condition = v1::expected::Condition::Revision(v1::Revision { index: 8, position: 9 });
    let compare = v1::CompareAndSetRequest {
        key: KEY,
        expected: Some(v1::Expected { condition: Some(condition) }),
        value: None,
        database: 4,
        key_space: 5,
        session: Some(SESSION),
        seen: 6,
        durability: 0,
    };
    let expected = Expected::Revision(Revision { index: LogIndex(8), position: 9 });
    assert_eq!(compare.try_into(), written(Operation::CompareAndSet { key: KEY, expected, value: None }));
    let delete = v1::mutation::Mutation::Delete(v1::mutation::Delete { key: KEY });
    let batch = v1::BatchRequest {
        mutations: vec![v1::Mutation { mutation: Some(delete) }],
        database: 4,
        key_space: 5,
        session: Some(SESSION),
        seen: 6,
        durability: 0,
    };
    assert_eq!(batch.try_into(), written(Operation::Batch { mutations: vec![Mutation::Delete { key: KEY }] }));
}

#[test]
fn reads_say_how_fresh() {
    let get = v1::GetRequest { key: KEY, level: v1::ReadLevel::Local.into(), ..Default::default() };
    let header = RequestHeader { level: ReadLevel::Local, ..RequestHeader::default() };
    assert_eq!(get.try_into(), Ok(Request { header, operation: Operation::Get { key: KEY } }));
    let bounded = v1::GetRequest {
        key: KEY,
        level: v1::ReadLevel::Bounded.into(),
        max_staleness_millis: 2_500,
        prefer: v1::ReadPreference::Any.into(),
        ..Default::default()
    };
    let level = ReadLevel::Bounded { max_staleness: Duration::from_millis(2_500) };
    let header = RequestHeader { level, prefer: ReadPreference::Any, ..RequestHeader::default() };
    assert_eq!(bounded.try_into(), Ok(Request { header, operation: Operation::Get { key: KEY } }));
    for (asked, page) in [(0, limits::SCAN_PAGE_ITEMS_MAX), (7, 7), (u64::MAX, limits::SCAN_PAGE_ITEMS_MAX)] {
        let scan = v1::ScanRequest { start: KEY, limit: asked, ..Default::default() };
        let operation = Operation::Scan { start: KEY, end: None, limit: page };
        assert_eq!(scan.try_into(), Ok(Request { header: RequestHeader::default(), operation }));
    }
}

#[test]
fn malformed_requests_are_refused_and_not_applied() {
    let refusals = [
        Request::try_from(v1::CompareAndSetRequest { key: KEY, ..Default::default() }),
        Request::try_from(v1::PutRequest { durability: 9, ..Default::default() }),
        Request::try_from(v1::GetRequest { level: -1, ..Default::default() }),
        Request::try_from(v1::GetRequest { prefer: 9, ..Default::default() }),
        Request::try_from(v1::BatchRequest { mutations: vec![v1::Mutation::default()], ..Default::default() }),
    ];
    for refusal in refusals {
        let error = refusal.expect_err("refused");
        assert_eq!((error.code, error.outcome), (ErrorCode::InvalidArgument, Outcome::NotApplied));
    }
}

#[test]
fn replies_say_how_fresh_they_are_and_round_ages_up() {
    let applied = LogIndex(7);
    let reply = |micros| {
        let level = ReadLevel::Bounded { max_staleness: Duration::from_micros(micros) };
        v1::GetReply::try_from((
            Reply::Get { item: None, freshness: Some(Freshness { level, applied, at: None }) },
            TIME,
        ))
        .expect("it fits")
    };
    assert_eq!((reply(1_000).staleness_millis, reply(1_001).staleness_millis), (1, 2));
    let level = ReadLevel::Bounded { max_staleness: Duration::from_millis(2) };
    let freshness = Some(Freshness { level, applied, at: None });
    assert_eq!(Reply::from(reply(1_001)), Reply::Get { item: None, freshness });
    let page = Reply::Scan { items: Vec::new(), resume: None, freshness };
    let page = v1::ScanReply::try_from((page, TIME)).expect("it fits");
    assert_eq!((page.level(), page.staleness_millis), (v1::ReadLevel::Bounded, 2));
}

#[test]
fn a_reply_fits_its_request_or_is_an_error_of_unknown_outcome() {
    let revision = Revision { index: LogIndex(3), position: 1 };
    let reply = Reply::Delete { existed: true, revision };
    let wire = v1::DeleteReply::try_from((reply.clone(), TIME)).expect("it fits");
    assert_eq!(wire.timestamp, TIME.0);
    assert_eq!(Reply::from(wire), reply);
    let misfit = v1::PutReply::try_from((reply, TIME)).expect_err("of another kind");
    assert_eq!((misfit.code, misfit.outcome), (ErrorCode::Internal, Outcome::Unknown));
}

#[test]
fn reflection_serves_the_public_interface_only() {
    let holds = |name: &str| DESCRIPTORS.windows(name.len()).any(|window| window == name.as_bytes());
    for name in
        ["strata/v1/kv.proto", "strata/v1/txn.proto", "strata/v1/admin.proto", "CompareAndSetRequest", "ErrorDetail"]
    {
        assert!(holds(name), "{name}");
    }
    assert!(!holds("strata/internal"));
}
