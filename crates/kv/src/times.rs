//! Timestamps that clients name: whether they can be true.
//!
//! A wrong client must not push logical time: a shard's clock that is far ahead would be the end of order. So what was
//! not handed out yet, as far as this node knows, is checked with the meta group before it is used (KV-6).

use std::time::Duration;

use strata_cluster::Node;
use strata_types::{Error, ErrorCode, Operation, Request, Result, Timestamp, TransactionCall};

/// How long the meta group may take to say how late it is.
const ASK_DEADLINE: Duration = Duration::from_secs(2);

/// The latest timestamp that must have been handed out for a request to be a right one.
fn claimed(request: &Request) -> Timestamp {
    // What one has seen may be one above what was handed out: writes are stamped so.
    let before = |timestamp: Timestamp| Timestamp(timestamp.0.saturating_sub(1));
    let header = request.header.at.unwrap_or_default().max(before(request.header.seen));
    let Operation::Transact(call) = &request.operation else { return header };
    let transaction = call.transaction();
    let named = header.max(transaction.read_timestamp).max(transaction.age);
    match &**call {
        TransactionCall::Decide { commit_at, .. } => named.max(before(*commit_at)),
        TransactionCall::Resolve { decision: strata_types::Decision::Committed(at), .. } => named.max(before(*at)),
        _ => named,
    }
}

/// Not before this may the entry be stamped that a request is carried out in.
pub(crate) fn not_before(request: &Request) -> Timestamp {
    let seen = request.header.seen;
    let Operation::Transact(call) = &request.operation else { return seen };
    match &**call {
        TransactionCall::Commit(part) | TransactionCall::Prepare(part) => part.transaction.read_timestamp.next(),
        TransactionCall::Resolve { decision: strata_types::Decision::Committed(at), .. } => *at,
        _ => seen,
    }
}

/// What must have been handed out, judging by what this node's replicas have applied and served: so a node learns of the
/// time without asking for it.
fn told_by_groups(node: &Node) -> Timestamp {
    let heard = node.host().groups().iter().map(|group| group.heard()).max().unwrap_or_default();
    Timestamp(heard.0.saturating_sub(1))
}

/// The refusal for each request, by position, that names a timestamp from the future.
pub(crate) async fn check(node: &Node, requests: &[Request]) -> Vec<(usize, Error)> {
    let timestamps = node.timestamps();
    let latest = requests.iter().map(claimed).max().unwrap_or_default();
    if latest <= timestamps.known() || latest <= told_by_groups(node) {
        return Vec::new();
    }
    let asked = timestamps.floor(ASK_DEADLINE).await;
    let refusal = |claimed: Timestamp| -> Result<()> {
        if claimed <= timestamps.known() || claimed <= told_by_groups(node) {
            return Ok(());
        }
        Err(match &asked {
            Ok(floor) => Error::not_applied(
                ErrorCode::InvalidArgument,
                format!("timestamp {claimed} is from the future: the latest one handed out is {floor}"),
            ),
            Err(error) => Error::not_applied(
                ErrorCode::Unavailable,
                format!("timestamp {claimed} is new here, and the meta group cannot be asked about it: {error}"),
            ),
        })
    };
    let refused = |(position, request)| refusal(claimed(request)).err().map(|error| (position, error));
    requests.iter().enumerate().filter_map(refused).collect()
}

#[cfg(test)]
mod tests {
    use strata_types::{Decision, RequestHeader, Slot, Transaction, TransactionId};

    use super::*;

    fn request(header: RequestHeader, call: Option<TransactionCall>) -> Request {
        let operation = match call {
            Some(call) => Operation::Transact(Box::new(call)),
            None => Operation::Get { key: "k".into() },
        };
        Request { header, operation }
    }

    /// KV-6
    #[test]
    fn every_timestamp_that_a_client_names_is_looked_at() {
        let header = |seen, at| RequestHeader { seen: Timestamp(seen), at, ..RequestHeader::default() };
        assert_eq!(claimed(&request(header(0, None), None)), Timestamp(0));
        assert_eq!(claimed(&request(header(8, None), None)), Timestamp(7), "writes are stamped one above");
        assert_eq!(claimed(&request(header(0, Some(Timestamp(8))), None)), Timestamp(8));
        let anchor = Slot::new(0).expect("a slot");
        let transaction = Transaction { id: TransactionId(1), anchor, read_timestamp: Timestamp(3), age: Timestamp(2) };
        let decision = Decision::Committed(Timestamp(9));
        let resolve = TransactionCall::Resolve { transaction, slot: anchor, decision };
        let decide = TransactionCall::Decide { transaction, commit_at: Timestamp(6), participants: Vec::new() };
        let abort = TransactionCall::Abort { transaction };
        let of = |call| claimed(&request(header(0, None), Some(call)));
        assert_eq!([of(resolve), of(decide), of(abort)], [Timestamp(8), Timestamp(5), Timestamp(3)]);
    }
}
