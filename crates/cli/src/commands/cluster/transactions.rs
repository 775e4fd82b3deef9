//! `strata cluster transactions`.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use strata_proto::v1::{self, decision, transaction_status::Status};
use strata_types::{ErrorCode, Outcome, TransactionId};

use super::name_of;
use super::operate::explain;
use crate::failure::{Failure, STATUS_NEGATIVE};
use crate::output::{Answer, table};
use crate::session::Session;

/// What helps who has named one that is not open.
const WHICH_ARE_OPEN: &str = "`strata cluster transactions` lists those that are open";

/// Lists what is open, or ends one.
pub async fn transactions(session: &Session, abort: Option<TransactionId>) -> Result<Answer, Failure> {
    let Some(id) = abort else {
        let request = v1::ListTransactionsRequest {};
        let call =
            session.admin_read(request, |mut client, request| async move { client.list_transactions(request).await });
        return Ok(answer(&call.await?));
    };
    let request = v1::AbortTransactionRequest { id: Bytes::copy_from_slice(&id.0.to_be_bytes()) };
    let call = session.admin(request, |mut client, request| async move { client.abort_transaction(request).await });
    aborted(id, &call.await.map_err(not_aborted)?)
}

/// A line for each transaction and place.
fn answer(reply: &v1::ListTransactionsReply) -> Answer {
    let json = json!({
        "transactions": reply.transactions.iter().map(json_of).collect::<Vec<_>>(),
        "problems": reply.problems,
    });
    let mut text = match reply.transactions.is_empty() {
        true => "no transaction is open".to_owned(),
        false => {
            let head = ["transaction", "state", "at", "for", "age", "reads at", "anchor", "locks", "waits for"];
            table(&head, &reply.transactions.iter().map(row).collect::<Vec<_>>())
        }
    };
    text.extend(reply.problems.iter().map(|problem| format!("\n! {problem}")));
    Answer::new(text, json)
}

fn row(open: &v1::OpenTransaction) -> Vec<String> {
    let handle = open.handle.clone().unwrap_or_default();
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    // A node keeps what a client has open; a shard has a part of it, on the node that leads it.
    let place = match open.shard {
        Some(shard) => format!("{} on n{}", name_of(Some(shard)), open.node),
        None => format!("n{}", open.node),
    };
    vec![
        or_dash(id_text(&handle.id)),
        phase_name(open.phase()).to_owned(),
        place,
        format!("{:.1} s", Duration::from_millis(open.elapsed_millis).as_secs_f64()),
        format!("@{}", handle.age),
        format!("@{}", handle.read_timestamp),
        or_dash(handle.anchor.map(|slot| slot.to_string())),
        open.locks.to_string(),
        or_dash(id_text(&open.waits_for)),
    ]
}

fn json_of(open: &v1::OpenTransaction) -> Value {
    let handle = open.handle.clone().unwrap_or_default();
    json!({
        "id": id_text(&handle.id),
        "state": phase_name(open.phase()),
        "node": open.node,
        "shard": open.shard,
        "elapsed_millis": open.elapsed_millis,
        "age": handle.age,
        "read_timestamp": handle.read_timestamp,
        "anchor": handle.anchor,
        "locks": open.locks,
        "waits_for": id_text(&open.waits_for),
    })
}

fn phase_name(phase: v1::TransactionPhase) -> &'static str {
    match phase {
        v1::TransactionPhase::Active => "active",
        v1::TransactionPhase::Waiting => "waiting",
        v1::TransactionPhase::Prepared => "prepared",
        v1::TransactionPhase::Committed => "committed",
        v1::TransactionPhase::Committing => "committing",
        v1::TransactionPhase::Unspecified => "unknown",
    }
}

/// 32 hexadecimal digits, if there is an id.
fn id_text(bytes: &[u8]) -> Option<String> {
    strata_proto::transaction_id_of(bytes).ok().map(|id| id.to_string())
}

fn aborted(id: TransactionId, reply: &v1::AbortTransactionReply) -> Result<Answer, Failure> {
    let status = reply.status.and_then(|status| status.status);
    match status {
        Some(Status::Decided(v1::Decision { decision: Some(decision::Decision::Aborted(_)) })) => {
            let json = json!({ "id": id.to_string(), "status": "aborted" });
            Ok(Answer::new(format!("transaction {id} is aborted: none of its writes will be seen"), json))
        }
        Some(Status::Decided(v1::Decision { decision: Some(decision::Decision::Committed(at)) })) => {
            let sentence = format!("transaction {id} was committed already, at @{at}");
            Err(Failure::new(sentence).status(STATUS_NEGATIVE))
        }
        _ => Err(Failure::new(format!("it is not known what became of transaction {id}")).hint(WHICH_ARE_OPEN)),
    }
}

/// The next step where nothing was ended.
fn not_aborted(failure: Failure) -> Failure {
    match (failure.outcome, failure.code) {
        (Some(Outcome::NotApplied), Some(ErrorCode::InvalidArgument)) => failure.hint(WHICH_ARE_OPEN),
        _ => explain(failure),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(id: u128, phase: v1::TransactionPhase, shard: Option<u32>) -> v1::OpenTransaction {
        v1::OpenTransaction {
            handle: Some(v1::TransactionHandle {
                id: Bytes::copy_from_slice(&id.to_be_bytes()),
                anchor: shard.map(|_| 77),
                read_timestamp: 12,
                age: 11,
            }),
            phase: phase.into(),
            node: 2,
            shard,
            elapsed_millis: 1_540,
            locks: 3,
            waits_for: Bytes::new(),
        }
    }

    #[test]
    fn a_transaction_has_a_line_for_each_place() {
        let waiting = v1::OpenTransaction {
            waits_for: Bytes::copy_from_slice(&1_u128.to_be_bytes()),
            ..open(2, v1::TransactionPhase::Waiting, None)
        };
        let transactions = vec![open(1, v1::TransactionPhase::Prepared, Some(4)), waiting];
        let reply = v1::ListTransactionsReply { transactions, problems: vec!["node n3 does not answer".to_owned()] };
        let answer = answer(&reply);
        let (one, two) = (format!("{:032x}", 1), format!("{:032x}", 2));
        let text = String::from_utf8(answer.text).expect("text");
        let lines: Vec<_> = text.lines().collect();
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ");
        assert_eq!(words(lines[1]), format!("{one} prepared s4 on n2 1.5 s @11 @12 77 3 -"));
        assert_eq!(words(lines[2]), format!("{two} waiting n2 1.5 s @11 @12 - 3 {one}"));
        assert_eq!(lines[3], "! node n3 does not answer");
        assert_eq!(answer.json["transactions"][1]["waits_for"], json!(one));
        assert_eq!(answer.json["transactions"][0]["anchor"], json!(77));
        let nothing = super::answer(&v1::ListTransactionsReply::default());
        assert_eq!(nothing.text, b"no transaction is open");
        assert_eq!(nothing.json, json!({ "transactions": [], "problems": [] }));
    }

    /// CLI-1
    #[test]
    fn only_an_aborted_transaction_is_a_success() {
        let id = TransactionId(5);
        let reply = |status| v1::AbortTransactionReply { status };
        let of = |decision: strata_types::Decision| {
            reply(Some(v1::TransactionStatus::from(strata_types::TransactionStatus::Decided(decision))))
        };
        let done = aborted(id, &of(strata_types::Decision::Aborted)).expect("aborted");
        assert_eq!(done.json["status"], "aborted");
        let late = aborted(id, &of(strata_types::Decision::Committed(strata_types::Timestamp(9)))).expect_err("late");
        assert!(late.status == STATUS_NEGATIVE && late.message.contains("@9"), "{late}");
        assert!(aborted(id, &reply(None)).is_err());
        let unknown = strata_types::Error::not_applied(ErrorCode::InvalidArgument, "nobody knows that transaction");
        assert_eq!(not_aborted(Failure::from(unknown)).hint.as_deref(), Some(WHICH_ARE_OPEN));
    }
}
