//! Handles of transactions as text, and what has become of the one that a handle names.

use serde_json::json;
use strata_proto::v1::{self, decision, transaction_status::Status};

use crate::failure::{Failure, STATUS_NEGATIVE};
use crate::output::Answer;
use crate::session::Session;

/// Asks what has become of a transaction.
pub(super) async fn outcome(session: &Session, handle: &str, settle: bool) -> Result<Answer, Failure> {
    let request = v1::TxnOutcomeRequest { handle: Some(handle_of(handle)?), settle };
    let stay = session.stay().await?;
    let reply = stay.txn(request, |mut client, request| async move { client.outcome(request).await }).await?;
    let negative = |sentence: &str| {
        let failure = Failure::new(sentence).status(STATUS_NEGATIVE);
        Err(if settle {
            failure
        } else {
            failure.hint("`outcome --settle` decides it: if it is not committed, it never will be")
        })
    };
    match reply.status.and_then(|status| status.status) {
        Some(Status::Decided(v1::Decision { decision: Some(decision::Decision::Committed(at)) })) => {
            Ok(Answer::new(format!("committed at @{at}"), json!({ "status": "committed", "at": at })))
        }
        Some(Status::Decided(v1::Decision { decision: Some(decision::Decision::Aborted(_)) })) => {
            Ok(Answer::new("aborted: nothing was written", json!({ "status": "aborted" })))
        }
        Some(Status::Pending(_)) => negative("it is not decided yet"),
        _ if settle => negative("it ended so long ago that this was forgotten"),
        _ => negative("there is no trace of it: it did not get as far as that, or it ended long ago"),
    }
}

/// The id as people write it.
pub(super) fn id_text(handle: &v1::TransactionHandle) -> String {
    strata_proto::transaction_id_of(&handle.id).map_or_else(|_| "?".to_owned(), |id| id.to_string())
}

/// `ID:SLOT:TIMESTAMP`.
pub(super) fn handle_text(handle: &v1::TransactionHandle) -> String {
    format!("{}:{}:{}", id_text(handle), handle.anchor.unwrap_or_default(), handle.read_timestamp)
}

/// The next step when nobody knows how the transaction ended.
pub(super) fn settle_hint(handle: &v1::TransactionHandle) -> String {
    format!("at any node, `outcome --settle {}` decides it", handle_text(handle))
}

fn handle_of(text: &str) -> Result<v1::TransactionHandle, Failure> {
    let parse = || {
        let mut parts = text.splitn(3, ':');
        let id = parts.next()?.parse().ok()?;
        let anchor = parts.next()?.parse().ok()?;
        let read_timestamp = parts.next()?.parse().ok()?;
        let id = strata_proto::transaction_id_bytes(id);
        Some(v1::TransactionHandle { id, anchor: Some(anchor), read_timestamp, age: 0 })
    };
    let wrong = || Failure::usage(format!("not the handle of a transaction: `{text}`"));
    parse().ok_or_else(|| wrong().hint("it looks like ID:SLOT:TIMESTAMP, as a commit without an answer shows it"))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_handle_survives_as_text() {
        let id = Bytes::copy_from_slice(&7_u128.to_be_bytes());
        let handle = v1::TransactionHandle { id, anchor: Some(77), read_timestamp: 1_200, age: 0 };
        assert_eq!(handle_of(&handle_text(&handle)), Ok(handle));
        for wrong in ["", "7:77:1", "00000000000000000000000000000007", "x:y:z"] {
            assert!(handle_of(wrong).is_err(), "{wrong}");
        }
    }
}
