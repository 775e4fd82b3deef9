//! Random schedules against a model: a map, and for each client the set of writes that took effect.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use strata_codec::{
    KeyKind, SESSION_SUMMARY_KEY, SessionRow, SessionSummary, decode_reply, encode_command, session_use_client,
};
use strata_machine::{CommandContext, Machine};
use strata_shard::ShardMachine;
use strata_types::limits::{SESSION_RESULTS_MAX, SESSIONS_PER_SHARD_MAX};
use strata_types::{
    ClientId, Error, ErrorCode, Expected, LogIndex, Mutation, Operation, Outcome, Reply, Request, RequestHeader,
    Revision, SessionRequest, Term, Timestamp,
};

use crate::view::TraceView;

fn revision(index: usize) -> Revision {
    Revision { index: LogIndex(index as u64), position: 0 }
}

fn apply(view: &mut TraceView, index: usize, request: &Request) -> Result<Reply, Error> {
    let context = CommandContext { term: Term(1), index: LogIndex(index as u64), position: 0, stamp: Timestamp(0) };
    let reply = ShardMachine.apply(view, context, &encode_command(request).unwrap());
    decode_reply(reply).unwrap()
}

fn key() -> impl Strategy<Value = Bytes> {
    (0..4u8).prop_map(|number| Bytes::from(vec![b'a' + number]))
}

fn value() -> impl Strategy<Value = Bytes> {
    (0..3u8).prop_map(|number| Bytes::from(vec![b'0' + number]))
}

fn operation() -> impl Strategy<Value = Operation> {
    let expected = prop_oneof![
        Just(Expected::Absent),
        value().prop_map(Expected::Value),
        (0..60usize).prop_map(|index| Expected::Revision(revision(index))),
    ];
    let mutation = prop_oneof![
        (key(), value()).prop_map(|(key, value)| Mutation::Put { key, value }),
        key().prop_map(|key| Mutation::Delete { key }),
    ];
    prop_oneof![
        (key(), value()).prop_map(|(key, value)| Operation::Put { key, value }),
        key().prop_map(|key| Operation::Delete { key }),
        (key(), expected, proptest::option::of(value())).prop_map(|(key, expected, value)| Operation::CompareAndSet {
            key,
            expected,
            value
        }),
        vec(mutation, 0..4).prop_map(|mutations| Operation::Batch { mutations }),
    ]
}

fn session() -> impl Strategy<Value = Option<SessionRequest>> {
    let request = (0..3u64, 0..8u64, 0..4u64).prop_map(|(client, sequence, floor)| SessionRequest {
        client: ClientId(client),
        sequence,
        floor: floor.min(sequence),
        opened: LogIndex(0),
    });
    proptest::option::weighted(0.8, request)
}

/// The keys with their values and revisions, as a map that knows nothing of sessions or bytes.
#[derive(Clone, Default)]
struct Model {
    rows: BTreeMap<Bytes, (Bytes, Revision)>,
}

impl Model {
    fn write(&mut self, key: &Bytes, value: Option<&Bytes>, revision: Revision) {
        match value {
            Some(value) => self.rows.insert(key.clone(), (value.clone(), revision)),
            None => self.rows.remove(key),
        };
    }

    fn apply(&mut self, operation: &Operation, at: Revision) -> Reply {
        match operation {
            Operation::Put { key, value } => {
                self.write(key, Some(value), at);
                Reply::Put { revision: at }
            }
            Operation::Delete { key } => Reply::Delete { existed: self.rows.remove(key).is_some(), revision: at },
            Operation::CompareAndSet { key, expected, value } => {
                let held = self.rows.get(key).cloned();
                let succeeded = match expected {
                    Expected::Absent => held.is_none(),
                    Expected::Value(wanted) => held.as_ref().is_some_and(|(value, _)| value == wanted),
                    Expected::Revision(wanted) => held.as_ref().is_some_and(|(_, revision)| revision == wanted),
                };
                let current = held.filter(|_| !succeeded).map(|(value, revision)| strata_types::Item {
                    key: key.clone(),
                    value,
                    revision,
                    timestamp: Timestamp::default(),
                });
                if succeeded {
                    self.write(key, value.as_ref(), at);
                }
                Reply::CompareAndSet { succeeded, revision: at, current }
            }
            Operation::Batch { mutations } => {
                for mutation in mutations {
                    match mutation {
                        Mutation::Put { key, value } => self.write(key, Some(value), at),
                        Mutation::Delete { key } => self.write(key, None, at),
                    }
                }
                Reply::Batch { revision: at }
            }
            Operation::Get { .. } | Operation::Scan { .. } | Operation::Transact(_) => {
                panic!("not a write: {operation:?}")
            }
        }
    }

    fn check(&self, view: &TraceView) {
        let reply = strata_shard::scan(view, &RequestHeader::default(), b"", None, 100, &|_| true).unwrap();
        let Reply::Scan { items, resume: None, .. } = reply else { panic!("not the whole: {reply:?}") };
        let found: BTreeMap<_, _> = items.into_iter().map(|item| (item.key, (item.value, item.revision))).collect();
        assert_eq!(found, self.rows);
    }
}

/// What SHARD-5 and the essay of `sessions` say of the rows.
fn check_sessions(view: &TraceView) -> BTreeMap<ClientId, Revision> {
    let mut used = BTreeMap::new();
    let mut stands = BTreeSet::new();
    let mut order = BTreeSet::new();
    let mut summary = SessionSummary::default();
    for (key, value) in &view.rows {
        match KeyKind::of(key).unwrap() {
            KeyKind::Session => {
                let client = ClientId(u64::from_be_bytes(key[1..].try_into().unwrap()));
                let row = SessionRow::decode(value.clone()).unwrap();
                assert!(row.indexed <= row.used && row.results.len() <= SESSION_RESULTS_MAX);
                assert!(row.results.iter().all(|result| result.sequence >= row.floor));
                assert!(row.results.is_sorted_by(|a, b| a.sequence < b.sequence));
                used.insert(client, row.used);
                stands.insert((row.indexed, client));
            }
            KeyKind::SessionUse => assert!(order.insert(session_use_client(key).unwrap())),
            KeyKind::SessionSummary => summary = SessionSummary::decode(value.clone()).unwrap(),
            _ => {}
        }
    }
    assert_eq!(order, stands, "each session stands once in the order, where its row says");
    assert_eq!(summary.count as usize, used.len());
    assert!(used.len() <= SESSIONS_PER_SHARD_MAX);
    assert!(order.first().is_none_or(|(first, _)| *first >= summary.oldest));
    used
}

/// A shard that is about to be full: it has room for `room` sessions more.
fn crowded(room: u32) -> TraceView {
    let mut view = TraceView::default();
    let summary = SessionSummary { count: SESSIONS_PER_SHARD_MAX as u32 - room, ..SessionSummary::default() };
    view.rows.insert(Bytes::from_static(SESSION_SUMMARY_KEY), summary.encode());
    view
}

/// What a client does that never hears an answer.
#[derive(Clone, Debug)]
enum Step {
    /// Takes a new number, knowing the log up to so many entries before its end, and writes.
    Open { behind: u64 },
    /// One of the requests that were ever sent arrives again.
    Again { pick: usize },
    /// One of the clients writes once more.
    Next { pick: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..6u64).prop_map(|behind| Step::Open { behind }),
        4 => (0..1000usize).prop_map(|pick| Step::Again { pick }),
        2 => (0..1000usize).prop_map(|pick| Step::Next { pick }),
    ]
}

proptest! {
    #![proptest_config(Config {
        cases: 256, failure_persistence: None, rng_seed: RngSeed::Fixed(7), ..Config::default()
    })]

    /// SHARD-1, SHARD-2, SHARD-3, MACHINE-1
    #[test]
    fn a_write_of_a_session_is_applied_at_most_once(
        schedule in vec((session(), operation()), 1..60)
    ) {
        let (mut view, mut twin) = (TraceView::default(), TraceView::default());
        let mut model = Model::default();
        let mut applied: BTreeMap<(ClientId, u64), Reply> = BTreeMap::new();
        for (number, (session, operation)) in schedule.into_iter().enumerate() {
            let header = RequestHeader { session, ..RequestHeader::default() };
            let request = Request { header, operation };
            let reply = apply(&mut view, number + 1, &request);
            prop_assert_eq!(&apply(&mut twin, number + 1, &request), &reply, "SHARD-1");
            let first = session.map(|session| applied.get(&(session.client, session.sequence)));
            match (first, reply) {
                (Some(Some(first)), Ok(reply)) => prop_assert_eq!(&reply, first, "a repeated request: the same answer"),
                (Some(_), Err(error)) => {
                    let zero = session.is_some_and(|session| session.sequence == 0);
                    let (code, outcome) = match zero {
                        true => (ErrorCode::InvalidArgument, Outcome::NotApplied),
                        false => (ErrorCode::SessionExpired, Outcome::Unknown),
                    };
                    prop_assert_eq!((error.code, error.outcome), (code, outcome));
                }
                (_, reply) => {
                    let expected = model.apply(&request.operation, revision(number + 1));
                    prop_assert_eq!(&reply, &Ok(expected.clone()));
                    if let Some(session) = session {
                        applied.insert((session.client, session.sequence), expected);
                    }
                }
            }
            model.check(&view);
            check_sessions(&view);
        }
        prop_assert_eq!(view.rows, twin.rows, "SHARD-1");
    }

    /// SHARD-4: the shard has room for three sessions, so that most of them are forgotten while their requests, which
    /// never get an answer through, still arrive.
    #[test]
    fn a_write_of_a_forgotten_session_is_not_applied_again(schedule in vec(step(), 1..60)) {
        let mut view = crowded(3);
        let mut sent: Vec<SessionRequest> = Vec::new();
        let mut applied: BTreeMap<(ClientId, u64), Reply> = BTreeMap::new();
        let mut clients = 0;
        for (number, step) in schedule.into_iter().enumerate() {
            let index = number as u64 + 1;
            let session = match step {
                Step::Open { behind } => {
                    clients += 1;
                    let opened = LogIndex((index - 1).saturating_sub(behind));
                    SessionRequest { client: ClientId(clients), sequence: 1, floor: 1, opened }
                }
                Step::Again { .. } | Step::Next { .. } if sent.is_empty() => continue,
                Step::Again { pick } => sent[pick % sent.len()],
                Step::Next { pick } => {
                    let client = sent[pick % sent.len()].client;
                    let own = sent.iter().filter(|one| one.client == client);
                    let newest = *own.max_by_key(|one| one.sequence).unwrap();
                    SessionRequest { sequence: newest.sequence + 1, ..newest }
                }
            };
            let is_first = !sent.contains(&session);
            if is_first {
                sent.push(session);
            }
            let header = RequestHeader { session: Some(session), ..RequestHeader::default() };
            let operation = Operation::Put { key: Bytes::from_static(b"k"), value: Bytes::from_static(b"v") };
            match apply(&mut view, number + 1, &Request { header, operation }) {
                Ok(reply) if reply == (Reply::Put { revision: revision(number + 1) }) => {
                    let before = applied.insert((session.client, session.sequence), reply);
                    prop_assert_eq!(before, None, "applied twice: {:?}", session);
                }
                Ok(reply) => prop_assert_eq!(Some(&reply), applied.get(&(session.client, session.sequence))),
                Err(error) => {
                    prop_assert_eq!((error.code, error.outcome), (ErrorCode::SessionExpired, Outcome::Unknown));
                    prop_assert_eq!(error.position, Some(LogIndex(index)), "the next session can be opened");
                    let is_new = is_first && session.sequence == 1 && session.opened.0 + 1 == index;
                    prop_assert!(!is_new, "opened where the log is, and refused: {:?}", session);
                }
            }
            view.take_trace();
        }
    }
}

/// SHARD-5: more sessions than a shard remembers, used at random: those that remain are the ones used last.
#[test]
fn the_session_used_longest_ago_is_forgotten_first() {
    let mut view = TraceView::default();
    let mut by_use: BTreeMap<Revision, u64> = BTreeMap::new();
    let mut last: BTreeMap<u64, (Revision, u64)> = BTreeMap::new();
    let mut openings: BTreeMap<u64, LogIndex> = BTreeMap::new();
    let (mut state, mut clients) = (7u64, 0u64);
    for index in 1..=40_000 {
        // A linear congruential generator: the same schedule in every run.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let draw = state >> 33;
        let known =
            (!draw.is_multiple_of(3)).then(|| last.keys().nth(draw as usize % last.len().clamp(1, 64)).copied());
        let client = known.flatten().unwrap_or_else(|| {
            clients += 1;
            // Spread the ids, so that their order is not that of their arrival.
            clients.wrapping_mul(0x9e37_79b9_7f4a_7c15)
        });
        let (before, sequence) = last.get(&client).copied().map_or((None, 0), |(at, sequence)| (Some(at), sequence));
        let sequence = sequence + 1;
        let opened = *openings.entry(client).or_insert(LogIndex(index as u64 - 1));
        let session = Some(SessionRequest { client: ClientId(client), sequence, floor: sequence, opened });
        let header = RequestHeader { session, ..RequestHeader::default() };
        let operation = Operation::Put { key: Bytes::from_static(b"k"), value: Bytes::from_static(b"v") };
        let reply = apply(&mut view, index, &Request { header, operation });
        assert_eq!(reply, Ok(Reply::Put { revision: revision(index) }));
        view.take_trace();

        match before {
            Some(before) => drop(by_use.remove(&before)),
            None if last.len() == SESSIONS_PER_SHARD_MAX => {
                let (_, forgotten) = by_use.pop_first().unwrap();
                last.remove(&forgotten);
            }
            None => {}
        }
        by_use.insert(revision(index), client);
        last.insert(client, (revision(index), sequence));
    }
    assert!(clients as usize > SESSIONS_PER_SHARD_MAX + 1000, "sessions were forgotten: {clients}");
    let remaining: BTreeMap<_, _> = last.iter().map(|(client, (used, _))| (ClientId(*client), *used)).collect();
    assert_eq!(check_sessions(&view), remaining);
}
