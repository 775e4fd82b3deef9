//! `strata kv`, and the same operations in the shell.

mod pages;

use bytes::Bytes;
use serde_json::{Value, json};
use strata_proto::v1;
use strata_types::{Expected, limits};
use tokio::io::AsyncReadExt;

use crate::args::{KvArgs, KvCommand, ReadArgs, level_name};
use crate::encoding::Encoding;
use crate::failure::{Failure, STATUS_NEGATIVE};
use crate::output::{Answer, Format};
use crate::session::Session;

pub use pages::Pages;

/// Carries out one operation and prints the answer.
pub async fn run(args: KvArgs, format: Format) -> Result<(), Failure> {
    let session = Session::new(&args.connect)?;
    match args.command {
        // A scan is as long as the data: it is printed page by page.
        KvCommand::Scan { .. } => scan(&session, &args.command, args.encoding, format).await,
        command => format.print(&ask(&session, &command, args.encoding).await?),
    }
}

/// Carries out one operation. A scan is one answer here: a session prints one for each of its commands.
pub async fn ask(session: &Session, command: &KvCommand, encoding: Encoding) -> Result<Answer, Failure> {
    match command {
        KvCommand::Get { key, reads } => get(session, encoding.decode(key)?, reads, encoding).await,
        KvCommand::Put { key, value, stdin } => {
            let value = match value {
                Some(value) if !stdin => encoding.decode(value)?,
                _ => read_stdin().await?,
            };
            put(session, encoding.decode(key)?, value).await
        }
        KvCommand::Del { key } => delete(session, encoding.decode(key)?).await,
        KvCommand::Cas { key, value, if_value, if_revision, .. } => {
            let expected = match (if_value, if_revision) {
                (Some(value), _) => Expected::Value(encoding.decode(value)?),
                (None, Some(revision)) => Expected::Revision(*revision),
                (None, None) => Expected::Absent,
            };
            let value = value.as_ref().map(|value| encoding.decode(value)).transpose()?;
            compare_and_set(session, encoding.decode(key)?, expected, value, encoding).await
        }
        KvCommand::Scan { .. } => {
            let mut lines = Vec::new();
            let mut items = Vec::new();
            let mut pages = Pages::of(session, command, encoding)?;
            while let Some(page) = pages.next().await? {
                for item in page {
                    lines.push(pages.line(&item));
                    items.push(pages.json(&item));
                }
            }
            Ok(Answer::new(lines.join("\n"), Value::Array(items)))
        }
    }
}

async fn get(session: &Session, key: Bytes, reads: &ReadArgs, encoding: Encoding) -> Result<Answer, Failure> {
    let (level, max_staleness_millis) = reads.parts()?;
    let request = v1::GetRequest { key: key.clone(), level, max_staleness_millis, ..v1::GetRequest::default() };
    let reply = session.kv_read(request, |mut client, request| async move { client.get(request).await }).await?;
    get_answer(&key, &reply, reads, encoding)
}

fn get_answer(key: &[u8], reply: &v1::GetReply, reads: &ReadArgs, encoding: Encoding) -> Result<Answer, Failure> {
    let mut shown = item_json(key, reply.item.as_ref(), encoding);
    if reads.is_special() {
        shown["level"] = json!(level_name(reply.level));
        shown["staleness_millis"] = json!(staleness(reply));
    }
    match &reply.item {
        Some(item) => Ok(Answer::new(encoding.encode(&item.value), shown)),
        None => Err(Failure::new(no_key(key, encoding)).status(STATUS_NEGATIVE).details(shown)),
    }
}

/// How many milliseconds old the answer is at most, if anybody knows.
fn staleness(reply: &v1::GetReply) -> Option<u32> {
    match reply.level() {
        v1::ReadLevel::Linearizable | v1::ReadLevel::Lease | v1::ReadLevel::Bounded => Some(reply.staleness_millis),
        v1::ReadLevel::Local | v1::ReadLevel::Unspecified => None,
    }
}

async fn put(session: &Session, key: Bytes, value: Bytes) -> Result<Answer, Failure> {
    let request = v1::PutRequest { key, value, ..v1::PutRequest::default() };
    let reply = session.kv(request, |mut client, request| async move { client.put(request).await }).await?;
    let revision = revision_text(reply.revision.as_ref());
    Ok(Answer::new(format!("written at revision {revision}"), json!({ "revision": revision })))
}

async fn delete(session: &Session, key: Bytes) -> Result<Answer, Failure> {
    let request = v1::DeleteRequest { key, ..v1::DeleteRequest::default() };
    let reply = session.kv(request, |mut client, request| async move { client.delete(request).await }).await?;
    let revision = revision_text(reply.revision.as_ref());
    let text = if reply.existed { "removed" } else { "there was nothing to remove" };
    Ok(Answer::new(text, json!({ "existed": reply.existed, "revision": revision })))
}

async fn compare_and_set(
    session: &Session,
    key: Bytes,
    expected: Expected,
    value: Option<Bytes>,
    encoding: Encoding,
) -> Result<Answer, Failure> {
    let request = v1::CompareAndSetRequest {
        key,
        expected: Some(v1::Expected::from(expected)),
        value,
        ..v1::CompareAndSetRequest::default()
    };
    let reply = session.kv(request, |mut client, request| async move { client.compare_and_set(request).await }).await?;
    cas_answer(&reply, encoding)
}

fn cas_answer(reply: &v1::CompareAndSetReply, encoding: Encoding) -> Result<Answer, Failure> {
    let revision = revision_text(reply.revision.as_ref());
    if reply.succeeded {
        return Ok(Answer::new(
            format!("done at revision {revision}"),
            json!({ "succeeded": true, "revision": revision }),
        ));
    }
    let held = match &reply.current {
        Some(item) => {
            let value = encoding.encode_column(&item.value);
            format!("the key holds `{value}`, written at revision {}", revision_text(item.revision.as_ref()))
        }
        None => "there is no such key".to_owned(),
    };
    let current = reply.current.as_ref().map(|item| item_json(&item.key, Some(item), encoding));
    Err(Failure::new(format!("the condition does not hold: {held}"))
        .status(STATUS_NEGATIVE)
        .not_applied()
        .details(json!({ "succeeded": false, "revision": revision, "current": current })))
}

async fn scan(session: &Session, command: &KvCommand, encoding: Encoding, format: Format) -> Result<(), Failure> {
    let mut pages = Pages::of(session, command, encoding)?;
    while let Some(page) = pages.next().await? {
        for item in page {
            format.print(&Answer::new(pages.line(&item), pages.json(&item)))?;
        }
    }
    Ok(())
}

/// A key and what it holds, in a transaction and outside. What is not there is null.
pub fn item_json(key: &[u8], item: Option<&v1::Item>, encoding: Encoding) -> Value {
    // What a transaction itself has written has none yet.
    let revision = item.and_then(|item| item.revision.as_ref()).filter(|revision| revision.index > 0);
    json!({
        "key": encoding.to_json(key),
        "value": item.map(|item| encoding.to_json(&item.value)),
        "revision": revision.map(|revision| revision_text(Some(revision))),
    })
}

/// The sentence for people.
pub fn no_key(key: &[u8], encoding: Encoding) -> String {
    format!("there is no key `{}`", encoding.encode_column(key))
}

/// An item of a scan as a line.
pub fn line_of(item: &v1::Item, keys_only: bool, encoding: Encoding) -> String {
    let key = encoding.encode_column(&item.key);
    if keys_only { key } else { format!("{key}\t{}", encoding.encode_column(&item.value)) }
}

/// An item of a scan for scripts.
pub fn json_of(item: &v1::Item, keys_only: bool, encoding: Encoding) -> Value {
    if keys_only { json!({ "key": encoding.to_json(&item.key) }) } else { item_json(&item.key, Some(item), encoding) }
}

fn revision_text(revision: Option<&v1::Revision>) -> String {
    revision.map_or_else(String::new, |revision| format!("{}.{}", revision.index, revision.position))
}

/// First key and end of a scan, from what was typed.
pub fn bounds(
    encoding: Encoding,
    start: Option<&str>,
    end: Option<&str>,
    prefix: Option<&str>,
) -> Result<(Bytes, Option<Bytes>), Failure> {
    let decoded = |text: Option<&str>| text.map(|text| encoding.decode(text)).transpose();
    Ok(match decoded(prefix)? {
        Some(prefix) => (prefix.clone(), after_prefix(&prefix)),
        None => (decoded(start)?.unwrap_or_default(), decoded(end)?),
    })
}

/// The first key after all keys that begin with `prefix`; `None` when there is none.
fn after_prefix(prefix: &[u8]) -> Option<Bytes> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end.into())
}

pub async fn read_stdin() -> Result<Bytes, Failure> {
    let mut value = Vec::new();
    // One byte more than fits is enough to be refused with a sentence about the limit.
    let most = limits::VALUE_BYTES_MAX as u64 + 1;
    tokio::io::stdin().take(most).read_to_end(&mut value).await?;
    Ok(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_that_does_not_hold_tells_scripts_what_the_key_holds() {
        let at = |index| Some(v1::Revision { index, position: 1 });
        let item = v1::Item { key: "k".into(), value: "v".into(), revision: at(5), ..v1::Item::default() };
        let reply = |current| v1::CompareAndSetReply { revision: at(7), current, ..v1::CompareAndSetReply::default() };
        let json = |current| cas_answer(&reply(current), Encoding::default()).expect_err("it does not hold").to_json();
        let held = json(Some(item));
        assert_eq!((&held["succeeded"], &held["revision"]), (&json!(false), &json!("7.1")));
        assert_eq!(held["current"], json!({ "key": "k", "value": "v", "revision": "5.1" }));
        assert_eq!(held["outcome"], "not applied");
        assert_eq!(json(None)["current"], Value::Null);
        let done = v1::CompareAndSetReply { succeeded: true, ..reply(None) };
        let done = cas_answer(&done, Encoding::default()).expect("it holds").json;
        assert_eq!(done, json!({ "succeeded": true, "revision": "7.1" }));
    }

    #[test]
    fn a_get_says_how_old_its_answer_is_only_if_that_is_known() {
        let reply = |level: v1::ReadLevel, staleness_millis| v1::GetReply {
            item: Some(v1::Item { key: "k".into(), value: "v".into(), ..v1::Item::default() }),
            level: level.into(),
            staleness_millis,
            ..v1::GetReply::default()
        };
        let asked = ReadArgs { max_staleness: Some(std::time::Duration::from_secs(1)), ..ReadArgs::default() };
        let json = |reply| get_answer(b"k", &reply, &asked, Encoding::default()).expect("it is there").json;
        assert_eq!(json(reply(v1::ReadLevel::Bounded, 40))["staleness_millis"], 40);
        assert_eq!(json(reply(v1::ReadLevel::Linearizable, 0))["staleness_millis"], 0);
        let local = json(reply(v1::ReadLevel::Local, 0));
        assert_eq!((&local["level"], &local["staleness_millis"]), (&json!("local"), &Value::Null));
    }

    #[test]
    fn a_key_that_is_not_there_has_the_members_of_one_that_is() {
        let reply = v1::GetReply::default();
        let failure = get_answer(b"k", &reply, &ReadArgs::default(), Encoding::default()).expect_err("no such key");
        let json = failure.to_json();
        assert_eq!((failure.status, &json["error"]), (STATUS_NEGATIVE, &json!("there is no key `k`")));
        assert_eq!((&json["key"], &json["value"], &json["revision"]), (&json!("k"), &Value::Null, &Value::Null));
        assert!(json.as_object().is_some_and(|members| members.contains_key("value")), "{json}");
    }

    #[test]
    fn the_end_of_a_prefix() {
        assert_eq!(after_prefix(b"user:"), Some(Bytes::from_static(b"user;")));
        assert_eq!(after_prefix(b"a\xff\xff"), Some(Bytes::from_static(b"b")));
        assert_eq!(after_prefix(b"\xff"), None);
        assert_eq!(after_prefix(b""), None);
    }
}
