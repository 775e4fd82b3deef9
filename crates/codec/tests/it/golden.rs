//! Pins the bytes of each format (CODEC-1). Each golden file lists examples field by field; the bytes in the file must
//! decode, and encode again to the same. `UPDATE_GOLDENFILES=1 cargo test -p strata-codec` writes the files anew: an
//! example that is already there must not change, unless nothing was ever released with it.

use std::fmt::Write as _;
use std::path::PathBuf;

use bytes::Bytes;
use strata_codec::{
    APPLIED_KEY, AppliedState, Command, CommandBody, CommandHeader, DecodeError, EntryPayload, KeyKind,
    SESSION_SUMMARY_KEY, SessionResult, SessionRow, SessionSummary, StoredValue, data_key, data_range, decode_reply,
    encode_command, encode_reply, session_key, session_use_key,
};
use strata_types::{
    ClientId, DatabaseId, Durability, Error, ErrorCode, Expected, Item, KeySpaceId, LogIndex, Mutation, Operation,
    Outcome, ReadLevel, ReadPreference, Reply, Request, RequestHeader, Revision, SchemaVersion, SessionRequest, Term,
    Timestamp,
};

/// Decodes and encodes again.
pub(crate) type RoundTrip = fn(Bytes) -> Result<Bytes, DecodeError>;

/// One file: its examples and how its format is decoded.
pub(crate) struct Golden {
    file: &'static str,
    round_trip: RoundTrip,
    text: String,
}

impl Golden {
    pub(crate) fn new(file: &'static str, round_trip: RoundTrip) -> Golden {
        Golden { file, round_trip, text: String::new() }
    }

    /// Adds an example whose fields are `name:bytes`, in order; `name:*` takes all that is left.
    pub(crate) fn example(&mut self, name: &str, bytes: &[u8], layout: &str) -> &mut Golden {
        writeln!(self.text, "# {name}").unwrap();
        let mut rest = bytes;
        for field in layout.split_whitespace() {
            let (field, length) = field.split_once(':').unwrap();
            let length = if length == "*" { rest.len() } else { length.parse().unwrap() };
            assert!(length <= rest.len(), "{name}: the layout is longer than the bytes at {field}");
            let (taken, left) = rest.split_at(length);
            writeln!(self.text, "{field:<18} {}", hex(taken)).unwrap();
            rest = left;
        }
        assert!(rest.is_empty(), "{name}: the layout leaves bytes: {}", hex(rest));
        self.text.push('\n');
        self
    }

    pub(crate) fn check(&self) {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(self.file);
        if std::env::var_os("UPDATE_GOLDENFILES").is_some_and(|value| value == "1") {
            std::fs::write(&path, &self.text).unwrap();
        }
        let pinned = std::fs::read_to_string(&path).unwrap();
        assert_eq!(self.text, pinned, "{} differs from the pinned bytes", self.file);
        for (name, bytes) in parse(&pinned) {
            assert_eq!((self.round_trip)(bytes.clone()), Ok(bytes), "{}: {name}", self.file);
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "-".to_owned();
    }
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// The examples of a golden file.
fn parse(text: &str) -> Vec<(String, Bytes)> {
    let mut examples: Vec<(String, Vec<u8>)> = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(name) = line.strip_prefix("# ") {
            examples.push((name.to_owned(), Vec::new()));
            continue;
        }
        let digits = line.split_whitespace().last().unwrap().trim_matches('-');
        let bytes = &mut examples.last_mut().unwrap().1;
        bytes.extend((0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()));
    }
    examples.into_iter().map(|(name, bytes)| (name, Bytes::from(bytes))).collect()
}

pub(crate) fn revision(index: u64, position: u32) -> Revision {
    Revision { index: LogIndex(index), position }
}

pub(crate) fn item() -> Item {
    Item {
        key: Bytes::from_static(b"key"),
        value: Bytes::from_static(b"value"),
        revision: revision(17, 2),
        timestamp: Timestamp(9),
    }
}

pub(crate) fn request(session: Option<SessionRequest>, operation: Operation) -> Request {
    let header = RequestHeader {
        database: DatabaseId(1),
        key_space: KeySpaceId(2),
        session,
        seen: Timestamp(3),
        durability: Durability::Majority,
        schema: SchemaVersion(4),
        level: ReadLevel::Linearizable,
        prefer: ReadPreference::Leader,
        at: None,
        begins: false,
    };
    Request { header, operation }
}

#[test]
fn key() {
    let mut golden = Golden::new("key.golden", Ok);
    let (database, key_space) = (DatabaseId(1), KeySpaceId(2));
    let (start, end) = data_range(database, key_space, b"a", None);
    golden
        .example("applied", APPLIED_KEY, "kind:1")
        .example("session", &session_key(ClientId(7)), "kind:1 client:8")
        .example("data", &data_key(database, key_space, b"key"), "kind:1 database:4 key_space:4 user_key:*")
        .example("start of a range without end", &start, "kind:1 database:4 key_space:4 user_key:*")
        .example("end of a range without end", &end, "kind:1 database:4 key_space:4")
        .example(
            "end of the last key space",
            &data_range(database, KeySpaceId(u32::MAX), b"", None).1,
            "kind:1 database:4 key_space:4",
        )
        .example("session use", &session_use_key(revision(17, 2), ClientId(7)), "kind:1 index:8 position:4 client:8")
        .example("session summary", SESSION_SUMMARY_KEY, "kind:1");
    for kind in KeyKind::ALL {
        golden.example(&format!("kind {kind:?}"), &[kind as u8], "kind:1");
    }
    golden.check();
}

#[test]
fn value() {
    let round_trip: RoundTrip = |bytes| StoredValue::decode(bytes).map(|value| value.encode());
    let layout = "format:1 flags:1 timestamp:8 index:8 position:4 expiry:8 payload:*";
    let full = StoredValue {
        flags: 1,
        timestamp: Timestamp(9),
        revision: revision(17, 2),
        expiry_millis: 1_700_000_000_000,
        payload: Bytes::from_static(b"value"),
    };
    Golden::new("value.golden", round_trip)
        .example("plain", &StoredValue::encode_plain(Timestamp(0), revision(17, 2), b"value"), layout)
        .example("empty", &StoredValue::encode_plain(Timestamp(0), revision(1, 0), b""), layout)
        .example("all fields", &full.encode(), layout)
        .check();
}

#[test]
fn command() {
    const HEAD: &str = "version:1 tag:1 length:4 database:4 key_space:4 seen:8 schema:4 durability:1 has_session:1";
    const KEY: &str = "key_length:4 key:3";
    const VALUE: &str = "value_length:4 value:5";
    let key = || Bytes::from_static(b"key");
    let value = || Bytes::from_static(b"value");
    let mut golden = Golden::new("command.golden", |bytes| Command::decode(bytes).map(|command| command.encode()));
    let mut add = |name: &str, session: Option<SessionRequest>, operation: Operation, body: String| {
        let session_layout = session.map_or("", |_| "client:8 sequence:8 floor:8");
        let bytes = encode_command(&request(session, operation)).unwrap();
        golden.example(name, &bytes, &format!("{HEAD} {session_layout} {body}"));
    };
    let session = SessionRequest { client: ClientId(7), sequence: 8, floor: 6, opened: LogIndex(0) };
    let opened = SessionRequest { opened: LogIndex(5), ..session };
    add("put", None, Operation::Put { key: key(), value: value() }, format!("{KEY} {VALUE}"));
    add("put with a session", Some(session), Operation::Put { key: key(), value: value() }, format!("{KEY} {VALUE}"));
    add("delete", None, Operation::Delete { key: key() }, KEY.to_owned());
    let compare = |expected, value| Operation::CompareAndSet { key: key(), expected, value };
    add(
        "compare-and-set of an absent key",
        None,
        compare(Expected::Absent, Some(value())),
        format!("{KEY} expected:1 has_value:1 {VALUE}"),
    );
    add(
        "compare-and-set of a value",
        None,
        compare(Expected::Value(Bytes::from_static(b"old")), Some(value())),
        format!("{KEY} expected:1 old_length:4 old:3 has_value:1 {VALUE}"),
    );
    add(
        "compare-and-set of a revision, removing",
        None,
        compare(Expected::Revision(revision(17, 2)), None),
        format!("{KEY} expected:1 index:8 position:4 has_value:1"),
    );
    let mutations = vec![Mutation::Put { key: key(), value: value() }, Mutation::Delete { key: key() }];
    add("batch", None, Operation::Batch { mutations }, format!("count:4 put:1 {KEY} {VALUE} delete:1 {KEY}"));
    let noop = Command { header: CommandHeader::default(), body: CommandBody::Noop };
    golden.example("noop", &noop.encode(), HEAD);
    let put = encode_command(&request(Some(opened), Operation::Put { key: key(), value: value() })).unwrap();
    let layout = format!("{HEAD} client:8 sequence:8 floor:8 opened:8 {KEY} {VALUE}");
    golden.example("put with a session that was opened at an entry", &put, &layout);
    golden.check();
}

#[test]
fn reply() {
    const REVISION: &str = "index:8 position:4";
    const ITEM: &str = "index:8 position:4 timestamp:8 key_length:4 key:3 value_length:4 value:5";
    let mut golden = Golden::new("reply.golden", |bytes| decode_reply(bytes).map(|reply| encode_reply(&reply)));
    let mut add = |name: &str, reply: Result<Reply, Error>, body: &str| {
        golden.example(name, &encode_reply(&reply), &format!("version:1 tag:1 {body}"));
    };
    let revision = revision(18, 3);
    add("put", Ok(Reply::Put { revision }), REVISION);
    add("delete", Ok(Reply::Delete { existed: true, revision }), &format!("existed:1 {REVISION}"));
    add("batch", Ok(Reply::Batch { revision }), REVISION);
    add(
        "compare-and-set that succeeded",
        Ok(Reply::CompareAndSet { succeeded: true, revision, current: None }),
        &format!("succeeded:1 {REVISION} has_item:1"),
    );
    add(
        "compare-and-set that failed",
        Ok(Reply::CompareAndSet { succeeded: false, revision, current: Some(item()) }),
        &format!("succeeded:1 {REVISION} has_item:1 {ITEM}"),
    );
    add("get of nothing", Ok(Reply::Get { item: None, freshness: None }), "has_item:1");
    add("get", Ok(Reply::Get { item: Some(item()), freshness: None }), &format!("has_item:1 {ITEM}"));
    add(
        "scan",
        Ok(Reply::Scan { items: vec![item()], resume: Some(Bytes::from_static(b"next")), freshness: None }),
        &format!("count:4 {ITEM} has_resume:1 resume_length:4 resume:4"),
    );
    for (outcome, name) in [(Outcome::Applied, "applied"), (Outcome::NotApplied, "not"), (Outcome::Unknown, "unknown")]
    {
        let error = Error::new(ErrorCode::SessionExpired, outcome, "why");
        add(&format!("error, {name}"), Err(error), "code_length:4 code:15 outcome:1 message_length:4 message:3");
    }
    for code in ErrorCode::ALL {
        let layout = format!("code_length:4 code:{} outcome:1 message_length:4", code.name().len());
        add(&format!("error {}", code.name()), Err(Error::not_applied(code, "")), &layout);
    }
    let expired = Error::unknown(ErrorCode::SessionExpired, "why").at(LogIndex(18));
    let layout = "position:8 code_length:4 code:15 outcome:1 message_length:4 message:3";
    add("error that says how far the log is", Err(expired), layout);
    golden.check();
}

#[test]
fn entry() {
    let round_trip: RoundTrip = |bytes| EntryPayload::decode(bytes).map(|entry| entry.encode());
    let head = "format:1 stamp:8 stamped_term:8 count:4";
    let commands = vec![Bytes::from_static(b"one"), Bytes::from_static(b"three")];
    let entry = EntryPayload { stamp: Timestamp(5), stamped_term: Term(6), commands };
    Golden::new("entry.golden", round_trip)
        .example("two commands", &entry.encode(), &format!("{head} length:4 command:3 length:4 command:5"))
        .example("no command", &EntryPayload::default().encode(), head)
        .check();
}

#[test]
fn session() {
    let round_trip: RoundTrip = |bytes| SessionRow::decode(bytes).map(|row| row.encode());
    let head = "format:1 used_index:8 used_position:4 indexed_index:8 indexed_position:4 floor:8 count:4";
    let result =
        |sequence, reply: &'static str| SessionResult { sequence, reply: Bytes::from_static(reply.as_bytes()) };
    let row = SessionRow {
        used: revision(17, 2),
        indexed: revision(16, 1),
        floor: 4,
        results: vec![result(4, "one"), result(6, "three")],
    };
    let results = "sequence:8 length:4 reply:3 sequence:8 length:4 reply:5";
    Golden::new("session.golden", round_trip)
        .example("two results", &row.encode(), &format!("{head} {results}"))
        .example("no result", &SessionRow::default().encode(), head)
        .check();
}

#[test]
fn session_summary() {
    let round_trip: RoundTrip = |bytes| SessionSummary::decode(bytes).map(|summary| summary.encode());
    let summary = SessionSummary { count: 3, oldest: revision(16, 1) };
    Golden::new("session_summary.golden", round_trip)
        .example("three sessions", &summary.encode(), "format:1 count:4 oldest_index:8 oldest_position:4")
        .check();
}

#[test]
fn applied() {
    let round_trip: RoundTrip = |bytes| AppliedState::decode(bytes).map(|state| state.encode());
    let state = AppliedState {
        log_id: Bytes::from_static(b"log"),
        membership: Bytes::from_static(b"members"),
        chain: 0x0123_4567_89ab_cdef,
        stamp: Timestamp(0),
    };
    let stamped = AppliedState { stamp: Timestamp(0x77), ..state.clone() };
    Golden::new("applied.golden", round_trip)
        .example(
            "all fields",
            &state.encode(),
            "format:1 chain:8 log_id_length:4 log_id:3 membership_length:4 membership:7",
        )
        .example(
            "nothing applied",
            &AppliedState::default().encode(),
            "format:1 chain:8 log_id_length:4 membership_length:4",
        )
        .example(
            "with a stamp",
            &stamped.encode(),
            "format:1 chain:8 log_id_length:4 log_id:3 membership_length:4 membership:7 stamp:8",
        )
        .check();
}

#[test]
fn a_read_is_not_a_command() {
    let read = request(None, Operation::Get { key: Bytes::from_static(b"key") });
    assert_eq!(encode_command(&read).unwrap_err().code, ErrorCode::InvalidArgument);
}

#[test]
fn a_newer_format_is_refused_by_name() {
    let mut stored = StoredValue::default().encode().to_vec();
    stored[0] = 2;
    let error = StoredValue::decode(Bytes::from(stored)).unwrap_err();
    assert_eq!(error, DecodeError::BadValue { field: "value format", value: 2 });
}
