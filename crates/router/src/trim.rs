//! Results that fit one message.

use strata_types::{Error, Item, Reply, Result, TransactionReply};

/// Bytes that a result takes in a message beside its keys and values: an upper bound of its framing.
pub const RESULT_OVERHEAD: usize = 64;

/// Takes results back, from the first on that does not fit, until what is left fits `bytes_max`: a batch of small
/// reads can ask for more than one message can hold. Only results that changed nothing are taken back, so that asking
/// again is harmless; the router does so by itself. Any single result fits
/// [`strata_types::limits::GRPC_MESSAGE_BYTES_MAX`]. Returns the bytes that are left.
pub fn fit_results(results: &mut [Result<Reply>], bytes_max: usize) -> usize {
    let mut bytes = 0;
    for result in results {
        let mut size = size_of_result(result);
        if bytes + size > bytes_max && can_be_asked_again(result) {
            *result = Err(Error::without_room());
            size = size_of_result(result);
        }
        bytes += size;
    }
    bytes
}

/// Upper bound of the bytes that a result takes in a message.
pub fn size_of_result(result: &Result<Reply>) -> usize {
    match result {
        Ok(reply) => size_of_reply(reply),
        Err(error) => RESULT_OVERHEAD + error.message.len(),
    }
}

/// The same of a reply.
pub fn size_of_reply(reply: &Reply) -> usize {
    let item = |item: &Item| item.key.len() + item.value.len() + RESULT_OVERHEAD;
    RESULT_OVERHEAD
        + match reply {
            Reply::Get { item: found, .. } | Reply::CompareAndSet { current: found, .. } => {
                found.as_ref().map_or(0, item)
            }
            Reply::Scan { items, resume, .. } => {
                items.iter().map(item).sum::<usize>() + resume.as_ref().map_or(0, |key| key.len())
            }
            Reply::Transact(reply) => reply.size(),
            Reply::Put { .. } | Reply::Delete { .. } | Reply::Batch { .. } | Reply::Blocked { .. } => 0,
        }
}

fn can_be_asked_again(result: &Result<Reply>) -> bool {
    match result {
        Ok(Reply::Get { .. } | Reply::Scan { .. }) => true,
        Ok(Reply::CompareAndSet { succeeded, .. }) => !succeeded,
        // Of all steps only this one is large and changes nothing. Another one would get its first answer again, but there
        // may be no time left to ask: then "not applied" would be the last word about a transaction that is committed.
        Ok(Reply::Transact(reply)) => matches!(reply, TransactionReply::Locked { item: Some(_), .. }),
        Ok(Reply::Put { .. } | Reply::Delete { .. } | Reply::Batch { .. } | Reply::Blocked { .. }) | Err(_) => false,
    }
}
