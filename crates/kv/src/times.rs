//! Timestamps that clients name: whether they can be true.
//!
//! A wrong client must not push logical time: a shard's clock that is far ahead would be the end of order. So what was
//! not handed out yet, as far as this node knows, is checked before it is used (KV-6).

use std::sync::Arc;
use std::time::Duration;

use strata_cluster::{Begun, Node, TimeError};
use strata_raft::Group;
use strata_types::{Error, ErrorCode, Feature, Operation, ReadPreference, Request, Timestamp, TransactionCall};

/// How long the meta group may take to say how late it is: shorter than routers wait for a node, so that they are told.
const ASK_DEADLINE: Duration = Duration::from_millis(400);

/// The latest timestamp that must have been handed out for a request to be a right one.
fn claimed(request: &Request) -> Timestamp {
    // What one has seen may be one above what was handed out: writes are stamped so.
    let before = |timestamp: Timestamp| Timestamp(timestamp.0.saturating_sub(1));
    let header = request.header.at.unwrap_or_default().max(before(request.header.seen));
    let Operation::Transact(call) = &request.operation else { return header };
    let transaction = call.transaction();
    let named = header.max(transaction.read_timestamp).max(transaction.age);
    match &**call {
        TransactionCall::Commit(part) => named.max(before(part.prepared.at)),
        TransactionCall::Resolve { decision: strata_types::Decision::Committed(at), .. } => named.max(before(*at)),
        _ => named,
    }
}

/// Not before this may the entry be stamped that a request is carried out in.
pub(crate) fn not_before(request: &Request) -> Timestamp {
    let seen = request.header.seen;
    let Operation::Transact(call) = &request.operation else { return seen };
    match &**call {
        TransactionCall::Commit(part) | TransactionCall::Prepare(part) => {
            seen.max(part.transaction.read_timestamp.next()).max(part.prepared.at)
        }
        TransactionCall::Resolve { decision: strata_types::Decision::Committed(at), .. } => *at,
        _ => seen,
    }
}

/// The refusal for each request, by position, that names a timestamp from the future.
pub(crate) async fn check(node: &Node, requests: &[Request]) -> Vec<(usize, Error)> {
    let latest = requests.iter().map(claimed).max().unwrap_or_default();
    let Err(error) = node.check_handed_out(latest, ASK_DEADLINE).await else { return Vec::new() };
    let known = node.timestamps().known();
    let refused = |(position, request): (usize, &Request)| {
        let claimed = claimed(request);
        (claimed > known).then(|| (position, refusal(claimed, &error)))
    };
    requests.iter().enumerate().filter_map(refused).collect()
}

fn refusal(named: Timestamp, error: &TimeError) -> Error {
    match *error {
        TimeError::Future { last, .. } => {
            let future = TimeError::Future { named, last };
            Error::not_applied(ErrorCode::InvalidArgument, future.to_string())
        }
        _ => {
            let message = format!("timestamp {named} is new here, and nobody can be asked about it: {error}");
            Error::not_applied(ErrorCode::Unavailable, message)
        }
    }
}

/// Whether a request is to begin at a timestamp, and to be read where the shard is led.
pub(crate) fn begin_at_leader(requests: &[Request]) -> bool {
    requests.iter().any(|request| begins(request) && request.header.prefer == ReadPreference::Leader)
}

pub(crate) fn begins(request: &Request) -> bool {
    request.header.begins && request.operation.is_read()
}

/// Gives a new timestamp to the requests that begin with one: the same to all of them, for they all came before it was
/// asked for. Those that get none are refused. What was read at it may be told when it is confirmed.
pub(crate) async fn begin(
    node: &Node,
    group: &Group,
    mut requests: Arc<Vec<Request>>,
    refused: &mut Vec<(usize, Error)>,
) -> (Arc<Vec<Request>>, Option<Begun>) {
    if !requests.iter().any(begins) || !node.map().has(Feature::Transactions) {
        return (requests, None);
    }
    let begun = node.timestamps().begin_at_once(group.ballot(), ASK_DEADLINE).await;
    for (position, request) in Arc::make_mut(&mut requests).iter_mut().enumerate().filter(|(_, it)| begins(it)) {
        match (&begun, refused.binary_search_by_key(&position, |(refused, _)| *refused)) {
            (Ok(begun), _) => request.header.at = Some(begun.at()),
            (Err(error), Err(place)) => refused.insert(place, (position, no_timestamp(error))),
            (Err(_), Ok(_)) => {}
        }
    }
    (requests, begun.ok())
}

/// Why what began at a timestamp may not be answered, if it may not.
pub(crate) async fn confirm(node: &Node, begun: Option<&Begun>) -> Option<Error> {
    let begun = begun?;
    match node.env().timeout(ASK_DEADLINE, begun.is_confirmed()).await {
        Ok(true) => None,
        Ok(false) | Err(_) => Some(no_timestamp(&TimeError::unconfirmed())),
    }
}

/// Nobody has given a timestamp.
pub(crate) fn no_timestamp(error: &TimeError) -> Error {
    Error::not_applied(ErrorCode::Unavailable, error.to_string())
}

#[cfg(test)]
mod tests {
    use strata_types::{Decision, Part, Prepared, RequestHeader, Slot, Transaction, TransactionId};

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
        let prepared = Prepared { at: Timestamp(6), participants: vec![anchor] };
        let (reads, ranges, writes) = (Vec::new(), Vec::new(), Vec::new());
        let last = Part { transaction, slot: anchor, reads, ranges, writes, prepared };
        let last = TransactionCall::Commit(last);
        let abort = TransactionCall::Abort { transaction };
        let of = |call| claimed(&request(header(0, None), Some(call)));
        assert_eq!([of(resolve), of(last), of(abort)], [Timestamp(8), Timestamp(5), Timestamp(3)]);
    }
}
