//! What a transaction that is open does with keys.

use bytes::Bytes;
use serde_json::{Value, json};
use strata_proto::v1;
use strata_types::LockWait;

use crate::encoding::Encoding;
use crate::failure::Failure;
use crate::output::Answer;
use crate::session::{Stay, failure_of};

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
        let reply = self.stay.txn(request, |mut client, request| async move { client.get(request).await }).await?;
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
        let reply = call.await?;
        self.told(reply.handle);
        Ok(item_answer(&key, reply.item, encoding))
    }

    /// Keeps a write.
    pub(super) async fn put(&mut self, key: Bytes, value: Bytes) -> Result<Answer, Failure> {
        let request = v1::TxnPutRequest { id: self.handle.id.clone(), key, value };
        let reply = self.stay.txn(request, |mut client, request| async move { client.put(request).await }).await?;
        self.told(reply.handle);
        Ok(Answer::new("written when it commits", json!({ "buffered": true })))
    }

    /// Keeps a removal.
    pub(super) async fn delete(&mut self, key: Bytes) -> Result<Answer, Failure> {
        let request = v1::TxnDeleteRequest { id: self.handle.id.clone(), key };
        let reply = self.stay.txn(request, |mut client, request| async move { client.delete(request).await }).await?;
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
        let mut pages = call.await?;
        let (mut lines, mut items) = (Vec::new(), Vec::new());
        while let Some(page) = pages.message().await.map_err(|status| failure_of(&status, "the node"))? {
            for item in page.items {
                let key = encoding.encode_column(&item.key);
                let line = if keys_only { key } else { format!("{key}\t{}", encoding.encode_column(&item.value)) };
                lines.push(line);
                let mut shown = json!({ "key": encoding.to_json(&item.key) });
                if !keys_only {
                    shown["value"] = encoding.to_json(&item.value);
                }
                items.push(shown);
            }
        }
        Ok(Answer::new(lines.join("\n"), Value::Array(items)))
    }

    /// Marks the writes made so far.
    pub(super) async fn savepoint(&mut self) -> Result<Answer, Failure> {
        let request = v1::TxnSavepointRequest { id: self.handle.id.clone() };
        let call = self.stay.txn(request, |mut client, request| async move { client.savepoint(request).await });
        let number = call.await?.savepoint;
        Ok(Answer::new(format!("savepoint {number}"), json!({ "savepoint": number })))
    }

    /// Takes back the writes made after a savepoint.
    pub(super) async fn rollback_to(&mut self, savepoint: u64) -> Result<Answer, Failure> {
        let request = v1::TxnRollbackToRequest { id: self.handle.id.clone(), savepoint };
        self.stay.txn(request, |mut client, request| async move { client.rollback_to(request).await }).await?;
        Ok(Answer::new(format!("back at savepoint {savepoint}"), json!({ "savepoint": savepoint })))
    }

    fn told(&mut self, handle: Option<v1::TransactionHandle>) {
        if let Some(handle) = handle {
            self.handle = handle;
        }
    }
}

fn item_answer(key: &[u8], item: Option<v1::Item>, encoding: Encoding) -> Answer {
    let (name, value) = (encoding.to_json(key), item.as_ref().map(|item| encoding.to_json(&item.value)));
    let text = match item {
        Some(item) => encoding.encode(&item.value),
        // A script goes on: what to do about it is for the transaction to say.
        None => format!("there is no key `{}`", encoding.encode_column(key)).into_bytes(),
    };
    Answer::new(text, json!({ "key": name, "value": value }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_not_there_is_an_answer() {
        let answer = item_answer(b"k", None, Encoding::default());
        assert_eq!((&answer.text[..], &answer.json["value"]), (&b"there is no key `k`"[..], &Value::Null));
        let item = v1::Item { value: "v".into(), ..v1::Item::default() };
        assert_eq!(item_answer(b"k", Some(item), Encoding::default()).json, json!({ "key": "k", "value": "v" }));
    }
}
