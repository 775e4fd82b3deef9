//! Keys, rows and replies as people read them.

use bytes::Bytes;
use strata_codec::{
    KeyKind, SessionRow, SessionSummary, StoredValue, decode_reply, session_use_client, user_key_slice,
};
use strata_types::{Error, Item, Reply};

pub(crate) fn key(key: &[u8]) -> String {
    let number = |at: usize| u32::from_be_bytes(key[at..at + 4].try_into().unwrap());
    match KeyKind::of(key) {
        Some(KeyKind::Data) if key.len() >= 9 => format!("d{}/k{}/{}", number(1), number(5), text(user_key_slice(key))),
        Some(KeyKind::Session) => format!("session c{}", u64::from_be_bytes(key[1..9].try_into().unwrap())),
        Some(KeyKind::SessionUse) => {
            let (used, client) = session_use_client(key).unwrap();
            format!("use {used} {client}")
        }
        Some(KeyKind::SessionSummary) if key.len() == 1 => "summary".to_owned(),
        _ => format!("{key:02x?}"),
    }
}

pub(crate) fn row(key: &[u8], value: &Bytes) -> String {
    match KeyKind::of(key) {
        Some(KeyKind::Data) => {
            let value = StoredValue::decode(value.clone()).unwrap();
            format!("{} at {}", text(&value.payload), value.revision)
        }
        Some(KeyKind::Session) => session(&SessionRow::decode(value.clone()).unwrap()),
        Some(KeyKind::SessionSummary) => {
            let summary = SessionSummary::decode(value.clone()).unwrap();
            format!("{} sessions, oldest {}", summary.count, summary.oldest)
        }
        _ => text(value),
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
        Err(Error { code, outcome, message, position }) => {
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
        reply => panic!("a reply that cannot be: {reply:?}"),
    }
}

fn optional_item(item: Option<&Item>) -> String {
    item.map_or("nothing".to_owned(), |item| format!("{}={} at {}", text(&item.key), text(&item.value), item.revision))
}

fn text(bytes: &[u8]) -> String {
    match bytes.len() {
        0..=40 => format!("\"{}\"", bytes.escape_ascii()),
        length => format!("\"{}...\" ({length} bytes)", bytes[..8].escape_ascii()),
    }
}
