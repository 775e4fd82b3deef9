//! Keys, rows and replies as people read them.

use bytes::Bytes;
use strata_codec::{
    Intent, KeyKind, KeyLocks, Participant, RangeLocks, RecordState, SessionRow, SessionSummary, ShardState,
    StoredValue, TransactionRecord, Version, decode_reply, history_entry, intent_user_key, session_use_client,
    user_key_slice,
};
use strata_shard::Obstacle;
use strata_types::{
    Conflict, Decision, Error, Item, Reply, Slot, SpaceKey, SpaceRange, Timestamp, Transaction, TransactionId,
    TransactionReply, TransactionStatus,
};

pub(crate) fn key(key: &[u8]) -> String {
    let number = |at: usize| u32::from_be_bytes(key[at..at + 4].try_into().unwrap());
    match KeyKind::of(key) {
        Some(KeyKind::Data) if key.len() >= 9 => format!("d{}/k{}/{}", number(1), number(5), text(user_key_slice(key))),
        Some(KeyKind::Session) if key.len() == 9 => {
            format!("session c{}", u64::from_be_bytes(key[1..9].try_into().unwrap()))
        }
        Some(KeyKind::SessionUse) if key.len() == 21 => {
            let (used, client) = session_use_client(key).unwrap();
            format!("use {used} {client}")
        }
        Some(KeyKind::SessionSummary) if key.len() == 1 => "summary".to_owned(),
        Some(KeyKind::History) if key.len() > 9 => match history_entry(key) {
            Ok((of, at)) => format!("history {}{at}", space_key(&of)),
            Err(_) => format!("history d{}/k{}/{}..", number(1), number(5), text(&key[9..])),
        },
        Some(KeyKind::Intent) if key.len() >= 9 => {
            format!("lock d{}/k{}/{}", number(1), number(5), text(intent_user_key(key)))
        }
        Some(KeyKind::TransactionRecord) if key.len() == 17 => format!("record {}", id_of(key)),
        Some(KeyKind::ClosedRecord) if key.len() == 17 => format!("closed {}", id_of(key)),
        Some(KeyKind::Participant) if key.len() == 17 => format!("prepared {}", id_of(key)),
        Some(KeyKind::ResolvedParticipant) if key.len() == 17 => format!("resolved {}", id_of(key)),
        Some(KeyKind::RangeLocks) if key.len() == 17 => format!("ranges {}", id_of(key)),
        Some(KeyKind::ShardState) if key.len() == 1 => "state".to_owned(),
        _ => format!("{key:02x?}"),
    }
}

pub(crate) fn row(key: &[u8], value: &Bytes) -> String {
    match KeyKind::of(key) {
        Some(KeyKind::Data) => {
            let value = StoredValue::decode(value.clone()).unwrap();
            stored(&value)
        }
        Some(KeyKind::History) => match Version::decode(value.clone()).unwrap() {
            Version::Value(value) => stored(&value),
            Version::Tombstone => "removed".to_owned(),
        },
        Some(KeyKind::Intent) => locks(&KeyLocks::decode(value.clone()).unwrap()),
        Some(KeyKind::TransactionRecord | KeyKind::ClosedRecord) => {
            record(&TransactionRecord::decode(value.clone()).unwrap().state)
        }
        Some(KeyKind::Participant) => {
            let row = Participant::decode(value.clone()).unwrap();
            let keys = row.keys.iter().map(space_key).collect::<Vec<_>>().join(" ");
            format!("{} [{keys}]{}", row.stamp, if row.has_ranges { " and ranges" } else { "" })
        }
        Some(KeyKind::ResolvedParticipant) => "not again".to_owned(),
        Some(KeyKind::RangeLocks) => {
            RangeLocks::decode(value.clone()).unwrap().ranges.iter().map(range).collect::<Vec<_>>().join(" ")
        }
        Some(KeyKind::ShardState) => {
            let state = ShardState::decode(value.clone()).unwrap();
            format!("horizon {} prepared {} ranged {}", state.horizon, state.prepared, state.ranged)
        }
        Some(KeyKind::Session) => session(&SessionRow::decode(value.clone()).unwrap()),
        Some(KeyKind::SessionSummary) => {
            let summary = SessionSummary::decode(value.clone()).unwrap();
            format!("{} sessions, oldest {}", summary.count, summary.oldest)
        }
        _ => text(value),
    }
}

fn stored(value: &StoredValue) -> String {
    format!("{} at {}{}", text(&value.payload), value.revision, when(value.timestamp))
}

/// Nothing for what is from before there were timestamps.
fn when(at: Timestamp) -> String {
    if at == Timestamp(0) { String::new() } else { format!(" {at}") }
}

fn id_of(key: &[u8]) -> String {
    name(TransactionId(u128::from_be_bytes(key[1..17].try_into().unwrap())))
}

fn name(id: TransactionId) -> String {
    format!("T{}", id.0)
}

fn space_key(key: &SpaceKey) -> String {
    format!("{}/{}/{}", key.space.database, key.space.key_space, text(&key.key))
}

fn range(range: &SpaceRange) -> String {
    let end = range.end.as_ref().map_or(String::new(), |end| text(end));
    format!("{}/{}/{}..{end}", range.space.database, range.space.key_space, text(&range.start))
}

fn locks(locks: &KeyLocks) -> String {
    let writer = locks.writer.as_ref().map(|Intent { transaction, stamp, value }| {
        let value = value.as_ref().map_or("nothing".to_owned(), |value| text(value));
        format!("{} writes {value} {stamp}", name(transaction.id))
    });
    let readers = locks.readers.iter().map(|reader| format!("{} has read", name(reader.id)));
    writer.into_iter().chain(readers).collect::<Vec<_>>().join(", ")
}

fn record(state: &RecordState) -> String {
    match state {
        RecordState::Aborted => "aborted".to_owned(),
        RecordState::Committed { at, acknowledged, participants } => {
            let acknowledged = if *acknowledged { " acknowledged" } else { "" };
            format!("committed {at} on {}{acknowledged}", slots(participants))
        }
    }
}

pub(crate) fn slots(slots: &[Slot]) -> String {
    format!("{:?}", slots.iter().map(|slot| slot.number()).collect::<Vec<_>>())
}

pub(crate) fn transaction(transaction: &Transaction) -> String {
    let Transaction { id, anchor, read_timestamp, age } = transaction;
    format!("{} reading {read_timestamp} age {age} anchor {anchor}", name(*id))
}

pub(crate) fn obstacle(obstacle: &Obstacle) -> String {
    match obstacle {
        Obstacle::Blocked(by) => format!("blocked by {}", name(by.id)),
        Obstacle::TooOld { horizon } => format!("too old: horizon {horizon}"),
    }
}

pub(crate) fn status(status: &TransactionStatus) -> String {
    match status {
        TransactionStatus::Pending => "pending".to_owned(),
        TransactionStatus::Decided(Decision::Committed(at)) => format!("committed {at}"),
        TransactionStatus::Decided(Decision::Aborted) => "aborted".to_owned(),
        TransactionStatus::Unknown => "unknown".to_owned(),
    }
}

fn transact(reply: &TransactionReply) -> String {
    match reply {
        TransactionReply::Committed { at } => format!("committed {at}"),
        TransactionReply::Prepared { at } => format!("prepared {at}"),
        TransactionReply::Conflict(Conflict { reason, key, at, .. }) => {
            let key = key.as_ref().map_or(String::new(), |key| format!(" {}", space_key(key)));
            format!("conflict: {reason:?}{key} {at}")
        }
        TransactionReply::Status(known) => format!("status: {}", status(known)),
        TransactionReply::Done => "done".to_owned(),
        reply => panic!("a reply that cannot be: {reply:?}"),
    }
}

fn session(row: &SessionRow) -> String {
    let shown = |at: usize| format!("{}: {}", row.results[at].sequence, reply(&row.results[at].reply));
    let results = match row.results.len() {
        count @ 0..=4 => (0..count).map(shown).collect::<Vec<_>>().join(", "),
        count => format!("{} ... {} ({count} results)", shown(0), shown(count - 1)),
    };
    format!("used {} stands {} floor {} [{results}]", row.used, row.indexed, row.floor)
}

pub(crate) fn reply(encoded: &Bytes) -> String {
    match decode_reply(encoded.clone()).unwrap() {
        Ok(reply) => result(&reply),
        Err(Error { code, outcome, message, position, .. }) => {
            let position = position.map_or(String::new(), |position| format!(" at {position}"));
            format!("{} ({outcome}){position}: {message}", code.name())
        }
    }
}

pub(crate) fn result(reply: &Reply) -> String {
    match reply {
        Reply::Put { revision } => format!("put {revision}"),
        Reply::Delete { existed: true, revision } => format!("deleted {revision}"),
        Reply::Delete { existed: false, revision } => format!("nothing to delete {revision}"),
        Reply::CompareAndSet { succeeded: true, revision, current: None } => format!("set {revision}"),
        Reply::CompareAndSet { succeeded: false, revision, current } => {
            format!("not set {revision}, holds {}", optional_item(current.as_ref()))
        }
        Reply::Batch { revision } => format!("batch {revision}"),
        Reply::Get { item, .. } => optional_item(item.as_ref()),
        Reply::Scan { items, resume, .. } => {
            let items: Vec<String> = items.iter().map(|item| optional_item(Some(item))).collect();
            let resume = resume.as_ref().map_or("end".to_owned(), |key| format!("resume at {}", text(key)));
            format!("[{}] {resume}", items.join(", "))
        }
        Reply::Transact(reply) => transact(reply),
        Reply::Blocked { by } => format!("blocked by {}", name(by.id)),
        reply => panic!("a reply that cannot be: {reply:?}"),
    }
}

pub(crate) fn optional_item(item: Option<&Item>) -> String {
    item.map_or("nothing".to_owned(), |item| {
        format!("{}={} at {}{}", text(&item.key), text(&item.value), item.revision, when(item.timestamp))
    })
}

pub(crate) fn text(bytes: &[u8]) -> String {
    match bytes.len() {
        0..=40 => format!("\"{}\"", bytes.escape_ascii()),
        length => format!("\"{}...\" ({length} bytes)", bytes[..8].escape_ascii()),
    }
}
