//! Batches, their answers and shard maps.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use strata_proto::{ShardAnswer, ShardCall, v1};
use strata_types::{
    ChangeId, ChangeReason, ClientId, ClusterId, ClusterVersion, DatabaseId, Epoch, Error, ErrorCode, Expected,
    Freshness, GroupChanges, Item, KeySpaceId, LogIndex, Mutation, NodeDescriptor, NodeId, NodeState, Operation,
    Outcome, ReadLevel, ReadPreference, ReplicaChange, ReplicaId, ReplicaPlacement, Reply, Request, RequestHeader,
    Revision, SchemaVersion, SessionRequest, ShardId, ShardMap, ShardPlacement, SlotRange, Term, Timestamp,
    VersionRange, limits,
};

use crate::transactions;

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

const REVISION: Revision = Revision { index: LogIndex(17), position: 3 };

fn operations() -> Vec<Operation> {
    let compare = |expected, value| Operation::CompareAndSet { key: bytes("k"), expected, value };
    let plain = vec![
        Operation::Get { key: bytes("k") },
        Operation::Put { key: bytes("k"), value: bytes("") },
        Operation::Delete { key: bytes("") },
        compare(Expected::Absent, Some(bytes(""))),
        compare(Expected::Value(bytes("old")), None),
        compare(Expected::Revision(REVISION), Some(bytes("new"))),
        Operation::Batch {
            mutations: vec![Mutation::Put { key: bytes("a"), value: bytes("1") }, Mutation::Delete { key: bytes("b") }],
        },
        Operation::Scan { start: bytes("a"), end: None, limit: 10 },
        Operation::Scan { start: bytes(""), end: Some(bytes("")), limit: 0 },
    ];
    let steps = transactions::calls().into_iter().map(|call| Operation::Transact(Box::new(call)));
    plain.into_iter().chain(steps).collect()
}

pub(crate) fn call() -> ShardCall {
    let header = RequestHeader {
        database: DatabaseId(1),
        key_space: KeySpaceId(2),
        session: None,
        seen: Timestamp(3),
        schema: SchemaVersion(4),
        level: ReadLevel::Local,
        ..RequestHeader::default()
    };
    let mut requests: Vec<_> =
        operations().into_iter().map(|operation| Request { header: header.clone(), operation }).collect();
    let opened = LogIndex(7);
    requests[2].header.session = Some(SessionRequest { client: ClientId(u64::MAX), sequence: 9, floor: 8, opened });
    requests[3].header =
        RequestHeader { level: bounded(5_000), prefer: ReadPreference::Any, ..RequestHeader::default() };
    requests[3].header.at = Some(Timestamp(0));
    requests[4].header.begins = true;
    ShardCall { epoch: Epoch(5), shard: ShardId(6), requests, deadline: Some(Duration::from_millis(1500)) }
}

pub(crate) fn map() -> ShardMap {
    let node = |id: u64| NodeDescriptor {
        id: NodeId(id),
        peer_address: format!("host{id}:7401"),
        client_address: format!("host{id}:7400"),
        zone: "west".into(),
        weight: id as u32 * 2,
        state: NodeState::ALL[id as usize],
        versions: VersionRange { least: ClusterVersion(1), most: ClusterVersion(2) },
        ..NodeDescriptor::default()
    };
    let place = |replica, node| ReplicaPlacement { replica: ReplicaId(replica), node: NodeId(node) };
    let shard = |shard: u32| ShardPlacement {
        shard: ShardId(shard),
        slots: SlotRange::share(shard, 2),
        replicas: vec![place(u64::from(shard) * 2 + 10, 1), place(u64::from(shard) * 2 + 11, 2)],
        ..ShardPlacement::default()
    };
    let change = |add, remove: Option<u64>, reason, decided: u64| {
        let remove = remove.map(ReplicaId);
        Some(ReplicaChange { id: ChangeId(5), add, remove, reason, cancelled: decided == 0, decided: Term(decided) })
    };
    let moved = GroupChanges {
        generation: 3,
        change: change(Some(place(20, 3)), Some(10), ChangeReason::TooFew, 6),
        leaving: vec![place(8, 2)],
    };
    ShardMap {
        cluster: ClusterId(0xfeed),
        epoch: Epoch(12),
        nodes: vec![node(1), node(2), node(3)],
        shards: vec![ShardPlacement { changes: moved, ..shard(0) }, shard(1)],
        meta: vec![place(1, 1), place(2, 2)],
        meta_changes: GroupChanges {
            change: change(None, Some(2), ChangeReason::TooMany, 0),
            ..GroupChanges::default()
        },
        version: ClusterVersion(2),
    }
}

fn bounded(millis: u64) -> ReadLevel {
    ReadLevel::Bounded { max_staleness: Duration::from_millis(millis) }
}

fn fresh(level: ReadLevel) -> Option<Freshness> {
    Some(Freshness { level, applied: LogIndex(77), at: None })
}

fn read_at(at: u64) -> Option<Freshness> {
    Some(Freshness { level: ReadLevel::Linearizable, applied: LogIndex(78), at: Some(Timestamp(at)) })
}

pub(crate) fn answers() -> Vec<ShardAnswer> {
    let item = Item { key: bytes("k"), value: bytes("v"), revision: REVISION, timestamp: Timestamp(5) };
    let mut results = vec![
        Ok(Reply::Get { item: None, freshness: None }),
        Ok(Reply::Get { item: Some(item.clone()), freshness: None }),
        Ok(Reply::Get { item: None, freshness: fresh(ReadLevel::Linearizable) }),
        Ok(Reply::Get { item: None, freshness: fresh(ReadLevel::Local) }),
        Ok(Reply::Get { item: None, freshness: fresh(ReadLevel::Lease) }),
        Ok(Reply::Get { item: Some(item.clone()), freshness: fresh(bounded(1_234)) }),
        Ok(Reply::Put { revision: REVISION }),
        Ok(Reply::Delete { existed: true, revision: REVISION }),
        Ok(Reply::CompareAndSet { succeeded: false, revision: REVISION, current: Some(item.clone()) }),
        Ok(Reply::Batch { revision: Revision::default() }),
        Ok(Reply::Scan { items: vec![item.clone()], resume: None, freshness: fresh(bounded(0)) }),
        Ok(Reply::Get { item: None, freshness: read_at(5) }),
        Ok(Reply::Scan { items: Vec::new(), resume: None, freshness: read_at(6) }),
        Ok(Reply::Scan { items: vec![item.clone(), item], resume: Some(bytes("")), freshness: None }),
        Err(Error::unknown(ErrorCode::Unavailable, "the leader was lost")),
        Err(Error::unknown(ErrorCode::SessionExpired, "forgotten").at(LogIndex(18))),
    ];
    results.extend(transactions::replies().into_iter().map(|reply| Ok(Reply::Transact(reply))));
    vec![
        ShardAnswer::Done { results, time: Timestamp(9) },
        ShardAnswer::NotLeader { leader: None },
        ShardAnswer::NotLeader { leader: Some(NodeId(0)) },
        ShardAnswer::StaleRoute(Box::new(map())),
        ShardAnswer::Failed(Error::not_applied(ErrorCode::NotReady, "starting")),
    ]
}

#[test]
fn a_batch_survives_the_way() {
    let encoded = v1::ShardBatch::from(call()).encode_to_vec();
    let decoded = v1::ShardBatch::decode(encoded.as_slice()).expect("decodes");
    let headers = decoded.operations.iter().filter(|operation| operation.header.is_some()).count();
    assert_eq!(headers, 2, "equal headers travel once");
    assert_eq!(ShardCall::try_from(decoded), Ok(call()));
}

#[test]
fn an_operation_costs_few_bytes_beside_its_payload() {
    let (client, opened) = (ClientId(u64::MAX), LogIndex(1 << 40));
    let session = SessionRequest { client, sequence: 1 << 30, floor: 1 << 30, opened };
    let header = RequestHeader { session: Some(session), ..RequestHeader::default() };
    let operation = Operation::Put { key: Bytes::from(vec![1; 16]), value: Bytes::from(vec![2; 64]) };
    let requests = vec![Request { header, operation }; 100];
    let batch = ShardCall { epoch: Epoch(1), shard: ShardId(1), requests, deadline: None };
    let overhead = v1::ShardBatch::from(batch).encoded_len() / 100 - 80;
    assert!(overhead <= 40, "{overhead} bytes an operation");
}

#[test]
fn answers_survive_the_way() {
    for answer in answers() {
        let encoded = v1::ShardReply::from(answer.clone()).encode_to_vec();
        let decoded = v1::ShardReply::decode(encoded.as_slice()).expect("decodes");
        assert_eq!(ShardAnswer::from(decoded), answer);
    }
}

/// Nothing was applied, so that it can be asked for elsewhere.
#[test]
fn an_old_route_is_not_the_end_of_a_call_when_the_newer_map_cannot_be_read() {
    let unreadable = v1::ShardMap { cluster: "short".to_owned(), ..v1::ShardMap::default() };
    for map in [None, Some(unreadable)] {
        let stale = v1::shard_reply::StaleRoute { map };
        let reply = v1::ShardReply { outcome: Some(v1::shard_reply::Outcome::StaleRoute(stale)) };
        assert_eq!(ShardAnswer::from(reply), ShardAnswer::NotLeader { leader: None });
    }
}

/// The numbers of the fields are for ever: older and newer nodes and SDKs read each other's bytes.
#[test]
fn levels_have_pinned_bytes() {
    let hex = |bytes: Vec<u8>| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let header = RequestHeader { level: bounded(5_000), prefer: ReadPreference::Any, ..RequestHeader::default() };
    assert_eq!(hex(v1::BatchHeader::from(&header).encode_to_vec()), "200130048001882788 0102".replace(' ', ""));
    let header = RequestHeader { begins: true, ..RequestHeader::default() };
    assert_eq!(hex(v1::BatchHeader::from(&header).encode_to_vec()), "2001 3001 4001".replace(' ', ""));
    let reply = v1::OperationReply::from(Ok(Reply::Get { item: None, freshness: read_at(5) }));
    assert_eq!(hex(reply.encode_to_vec()), "0a06 1001 204e 2805".replace(' ', ""));
    let reply = v1::OperationReply::from(Ok(Reply::Get { item: None, freshness: fresh(bounded(1_234)) }));
    assert_eq!(hex(reply.encode_to_vec()), "0a071004 18d209 204d".replace(' ', ""));
    let items = Vec::new();
    let reply = v1::OperationReply::from(Ok(Reply::Scan { items, resume: None, freshness: fresh(ReadLevel::Local) }));
    assert_eq!(hex(reply.encode_to_vec()), "3204 1802 284d".replace(' ', ""));
}

/// A node of before says nothing about levels, and one of later may say what is not known here.
#[test]
fn what_an_older_or_newer_node_says_about_freshness_is_no_promise() {
    let reply = |level| {
        let get = v1::operation_reply::Get { level, applied: 5, ..Default::default() };
        v1::OperationReply { timestamp: 0, reply: Some(v1::operation_reply::Reply::Get(get)) }
    };
    for level in [0, 99] {
        let result: Result<Reply, Error> = reply(level).into();
        assert_eq!(result, Ok(Reply::Get { item: None, freshness: None }));
    }
}

#[test]
fn a_map_survives_the_way_and_is_sent_only_if_newer() {
    let reply = v1::ShardMapReply::answer(&map(), Epoch(0));
    assert_eq!(*reply.into_map().expect("valid").expect("sent"), map());
    assert!(v1::ShardMapReply::answer(&map(), Epoch(11)).map.is_some());
    assert!(v1::ShardMapReply::answer(&map(), Epoch(12)).map.is_none());
}

#[test]
fn a_map_of_an_older_node_has_active_nodes_of_weight_one_and_no_changes() {
    let mut wire = v1::ShardMap::from(&map());
    wire.nodes.iter_mut().for_each(|node| {
        *node = v1::NodeDescriptor { id: node.id, zone: node.zone.clone(), ..v1::NodeDescriptor::default() };
    });
    wire.shards.iter_mut().for_each(|shard| shard.changes = None);
    wire.meta_changes = None;
    let map = ShardMap::try_from(wire.clone()).expect("valid");
    let plain = |id: u64| NodeDescriptor { id: NodeId(id), zone: "west".into(), ..NodeDescriptor::default() };
    assert_eq!(map.nodes, [plain(1), plain(2), plain(3)]);
    assert!(map.groups().all(|group| *group.changes == GroupChanges::default()));
    wire.nodes[0].state = 77;
    let newer = ShardMap::try_from(wire).expect("valid");
    assert_eq!(newer.nodes[0].state, NodeState::Draining, "a state of a newer node is that of one without leaders");
}

#[test]
fn a_batch_has_as_many_requests_as_a_node_takes_at_once() {
    let get = Request { header: RequestHeader::default(), operation: Operation::Get { key: Bytes::new() } };
    let of = |count| {
        let call = ShardCall { requests: vec![get.clone(); count], ..call() };
        ShardCall::try_from(v1::ShardBatch::from(call))
    };
    let most = of(limits::SHARD_BATCH_REQUESTS_MAX).expect("taken");
    assert_eq!(most.requests.len(), limits::SHARD_BATCH_REQUESTS_MAX);
    let error = of(limits::SHARD_BATCH_REQUESTS_MAX + 1).expect_err("one too many");
    assert_eq!((error.code, error.outcome), (ErrorCode::TooLarge, Outcome::NotApplied));
    assert!(error.message.contains("10001 requests is over the limit of 10000"), "{error}");
}

#[test]
fn what_has_no_meaning_is_refused_by_name() {
    let good = v1::ShardBatch::from(call());
    let refusal = |batch: v1::ShardBatch| {
        let error = ShardCall::try_from(batch).expect_err("refused");
        assert_eq!(error, Error::not_applied(ErrorCode::InvalidArgument, error.message.clone()));
        error.message
    };
    let mut empty = good.clone();
    empty.operations[1].operation = None;
    assert!(refusal(empty).contains("of a kind that this node does not know"));
    let mut condition = good.clone();
    condition.operations[3].operation = Some(v1::operation::Operation::CompareAndSet(Default::default()));
    assert!(refusal(condition).contains("must say what it expects"));
    let mut level = good.clone();
    level.header.as_mut().expect("set").level = 77;
    assert!(refusal(level).contains("read level number 77"));
    let mut patient = good;
    patient.deadline_millis = limits::REQUEST_DEADLINE_MAX.as_millis() as u32 + 1;
    assert!(refusal(patient).contains("deadline"));

    let wire = v1::ShardMap::from(&map());
    let refusal = |map: v1::ShardMap| ShardMap::try_from(map).expect_err("refused").message;
    let mut slots = wire.clone();
    slots.shards[0].slot_end = 70_000;
    assert!(refusal(slots).contains("no slot 70000"));
    let mut gap = wire.clone();
    gap.shards[0].slot_end -= 1;
    assert!(refusal(gap).contains("covered"));
    assert!(refusal(v1::ShardMap { cluster: "+0".repeat(16), ..wire }).contains("32 hexadecimal digits"));
    let mute = ShardAnswer::from(v1::ShardReply::default());
    assert!(matches!(mute, ShardAnswer::Failed(error) if error.outcome == Outcome::Unknown));
}

/// PROTO-1
#[test]
fn no_damage_makes_a_conversion_panic() {
    let batch = v1::ShardBatch::from(call()).encode_to_vec();
    let replies = answers().into_iter().map(|answer| v1::ShardReply::from(answer).encode_to_vec());
    let mut converted = 0;
    for original in std::iter::once(batch).chain(replies) {
        for position in 0..original.len() {
            for change in [0x01, 0x08, 0x80, 0xff] {
                let mut damaged = original.clone();
                damaged[position] ^= change;
                if let Ok(batch) = v1::ShardBatch::decode(damaged.as_slice()) {
                    converted += usize::from(ShardCall::try_from(batch).is_ok());
                }
                if let Ok(reply) = v1::ShardReply::decode(damaged.as_slice()) {
                    converted += usize::from(matches!(ShardAnswer::from(reply), ShardAnswer::Done { .. }));
                }
            }
        }
    }
    assert!(converted > 0, "some damage is not noticed, or nothing was tested");
}
