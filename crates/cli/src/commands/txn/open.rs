//! What a transaction that is open does with keys.

use bytes::Bytes;
use serde_json::{Value, json};
use strata_proto::v1;
use strata_types::{LockWait, Outcome};

use super::handle::settle_hint;
use crate::commands::kv::{item_json, json_of, line_of, no_key};
use crate::encoding::Encoding;
use crate::failure::Failure;
use crate::output::Answer;
use crate::session::Stay;

/// A transaction that is open on one node.
pub(super) struct Open {
    pub(super) stay: Stay,
    /// The transaction as the last answer told it.
    pub(super) handle: v1::TransactionHandle,
}

impl Open {
    /// Reads a key.
    pub(super) async fn get(&mut self, key: Bytes, encoding: Encoding) -> Result<Answer, Failure> {
        let request = v1::TxnGetRequest { id: self.handle.id.clone(), key: key.clone() };
        let reply = self.stay.txn(request, |mut client, request| async move { client.get(request).await });
        let reply = reply.await.map_err(Failure::of_read)?;
        self.told(reply.handle);
        Ok(item_answer(&key, reply.item, encoding))
    }

    /// Reads a key and locks it.
    pub(super) async fn lock(
        &mut self,
        key: Bytes,
        wait: LockWait,
        timeout_millis: u32,
        encoding: Encoding,
    ) -> Result<Answer, Failure> {
        let wait = v1::LockWait::from(wait).into();
        let id = self.handle.id.clone();
        let request = v1::TxnGetForUpdateRequest { id, key: key.clone(), wait, timeout_millis };
        let call = self.stay.txn(request, |mut client, request| async move { client.get_for_update(request).await });
        let reply = call.await.map_err(of_step)?;
        self.told(reply.handle);
        Ok(item_answer(&key, reply.item, encoding))
    }

    /// Keeps a write.
    pub(super) async fn put(&mut self, key: Bytes, value: Bytes) -> Result<Answer, Failure> {
        let request = v1::TxnPutRequest { id: self.handle.id.clone(), key, value };
        let call = self.stay.txn(request, |mut client, request| async move { client.put(request).await });
        let reply = call.await.map_err(of_step)?;
        self.told(reply.handle);
        Ok(Answer::new("written when it commits", json!({ "buffered": true })))
    }

    /// Keeps a removal.
    pub(super) async fn delete(&mut self, key: Bytes) -> Result<Answer, Failure> {
        let request = v1::TxnDeleteRequest { id: self.handle.id.clone(), key };
        let call = self.stay.txn(request, |mut client, request| async move { client.delete(request).await });
        let reply = call.await.map_err(of_step)?;
        self.told(reply.handle);
        Ok(Answer::new("removed when it commits", json!({ "buffered": true })))
    }

    /// Reads keys in order.
    pub(super) async fn scan(
        &mut self,
        start: Bytes,
        end: Option<Bytes>,
        limit: u64,
        keys_only: bool,
        encoding: Encoding,
    ) -> Result<Answer, Failure> {
        let request = v1::TxnScanRequest { id: self.handle.id.clone(), start, end, limit };
        let call = self.stay.txn(request, |mut client, request| async move { client.scan(request).await });
        let mut pages = call.await.map_err(Failure::of_read)?;
        let (mut lines, mut items) = (Vec::new(), Vec::new());
        while let Some(page) = self.stay.page(&mut pages).await? {
            lines.extend(page.items.iter().map(|item| line_of(item, keys_only, encoding)));
            items.extend(page.items.iter().map(|item| json_of(item, keys_only, encoding)));
        }
        Ok(Answer::new(lines.join("\n"), Value::Array(items)))
    }

    /// Marks the writes made so far.
    pub(super) async fn savepoint(&mut self) -> Result<Answer, Failure> {
        let request = v1::TxnSavepointRequest { id: self.handle.id.clone() };
        let call = self.stay.txn(request, |mut client, request| async move { client.savepoint(request).await });
        let number = call.await.map_err(of_step)?.savepoint;
        Ok(Answer::new(format!("savepoint {number}"), json!({ "savepoint": number })))
    }

    /// Takes back the writes made after a savepoint.
    pub(super) async fn rollback_to(&mut self, savepoint: u64) -> Result<Answer, Failure> {
        let request = v1::TxnRollbackToRequest { id: self.handle.id.clone(), savepoint };
        let call = self.stay.txn(request, |mut client, request| async move { client.rollback_to(request).await });
        call.await.map_err(of_step)?;
        Ok(Answer::new(format!("back at savepoint {savepoint}"), json!({ "savepoint": savepoint })))
    }

    /// Gives it up. After a commit without an answer this can fail because it is committed.
    pub(super) async fn roll_back(&self) -> Result<(), Failure> {
        let handle = &self.handle;
        // With the handle also a node that has forgotten the transaction finds out about that commit.
        let request = v1::TxnRollbackRequest { id: handle.id.clone(), handle: handle.anchor.map(|_| handle.clone()) };
        let call = self.stay.txn(request, |mut client, request| async move { client.rollback(request).await });
        call.await.map(drop).or_else(|failure| not_rolled_back(failure, handle))
    }

    fn told(&mut self, handle: Option<v1::TransactionHandle>) {
        if let Some(handle) = handle {
            self.handle = handle;
        }
    }
}

/// Of a step before the commit, when nobody knows whether it was made.
fn of_step(failure: Failure) -> Failure {
    match failure.outcome {
        Some(Outcome::Unknown) => failure.hint(
            "nothing is written before the commit, but nobody knows whether the transaction has this: `rollback`, and \
             begin anew",
        ),
        _ => failure,
    }
}

fn not_rolled_back(failure: Failure, handle: &v1::TransactionHandle) -> Result<(), Failure> {
    match (failure.outcome, handle.anchor) {
        (Some(Outcome::Unknown), Some(_)) => Err(failure.hint(settle_hint(handle))),
        // It has written nothing: whatever has become of it, there is nothing to roll back.
        (Some(Outcome::Unknown), None) => Ok(()),
        _ => Err(failure),
    }
}

fn item_answer(key: &[u8], item: Option<v1::Item>, encoding: Encoding) -> Answer {
    let text = match &item {
        Some(item) => encoding.encode(&item.value),
        // A script goes on: what to do about it is for the transaction to say.
        None => no_key(key, encoding).into_bytes(),
    };
    Answer::new(text, item_json(key, item.as_ref(), encoding))
}

#[cfg(test)]
mod tests {
    use strata_types::{Error, ErrorCode};

    use super::*;

    #[test]
    fn a_rollback_without_an_answer_says_how_to_get_one() {
        let id = Bytes::copy_from_slice(&7_u128.to_be_bytes());
        let handle = v1::TransactionHandle { id, anchor: Some(77), read_timestamp: 1_200, age: 0 };
        let hint = |error: Error, handle: &v1::TransactionHandle| {
            not_rolled_back(Failure::from(error), handle).err().map(|failure| failure.hint.unwrap_or_default())
        };
        let unknown = || Error::unknown(ErrorCode::Unavailable, "nobody could tell");
        let settle = format!("outcome --settle {:032x}:77:1200", 7);
        assert!(hint(unknown(), &handle).is_some_and(|hint| hint.contains(&settle)));
        let committed = Error::not_applied(ErrorCode::InvalidArgument, "it was committed");
        assert_eq!(hint(committed, &handle), Some(String::new()), "the sentence says it all");
        let no_writes = v1::TransactionHandle { anchor: None, ..handle };
        assert_eq!(hint(unknown(), &no_writes), None, "there was nothing to roll back");
    }

    #[test]
    fn a_key_that_is_not_there_is_an_answer() {
        let answer = item_answer(b"k", None, Encoding::default());
        assert_eq!((&answer.text[..], &answer.json["value"]), (&b"there is no key `k`"[..], &Value::Null));
        let none_yet = Some(v1::Revision::default());
        let item = v1::Item { value: "v".into(), revision: none_yet, ..v1::Item::default() };
        let own = item_answer(b"k", Some(item), Encoding::default()).json;
        assert_eq!(own, json!({ "key": "k", "value": "v", "revision": null }), "it has no revision before the commit");
    }

    #[test]
    fn a_step_without_an_answer_is_not_called_a_write() {
        let lost = of_step(Failure::from(Error::unknown(ErrorCode::DeadlineExceeded, "no answer")));
        assert_eq!(lost.outcome, Some(Outcome::Unknown), "of whether it is part of the transaction");
        let hint = lost.hint.expect("a hint");
        assert!(hint.starts_with("nothing is written") && hint.contains("`rollback`"), "{hint}");
        let refused = Failure::from(Error::not_applied(ErrorCode::TooLarge, "too large"));
        assert_eq!(of_step(refused.clone()), refused);
    }
}
