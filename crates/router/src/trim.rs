//! Results that fit one message.

use strata_types::{Error, ErrorCode, Item, Reply, Result};

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
            *result = Err(Error::not_applied(
                ErrorCode::Overloaded,
                "the answers of the batch do not fit; ask again for this one",
            ));
            size = size_of_result(result);
        }
        bytes += size;
    }
    bytes
}

/// Upper bound of the bytes that a result takes in a message.
pub fn size_of_result(result: &Result<Reply>) -> usize {
    let item = |item: &Item| item.key.len() + item.value.len() + RESULT_OVERHEAD;
    RESULT_OVERHEAD
        + match result {
            Ok(Reply::Get { item: found, .. }) | Ok(Reply::CompareAndSet { current: found, .. }) => {
                found.as_ref().map_or(0, item)
            }
            Ok(Reply::Scan { items, resume, .. }) => {
                items.iter().map(item).sum::<usize>() + resume.as_ref().map_or(0, |key| key.len())
            }
            Ok(Reply::Transact(reply)) => reply.size(),
            Ok(Reply::Put { .. } | Reply::Delete { .. } | Reply::Batch { .. } | Reply::Blocked { .. }) => 0,
            Err(error) => error.message.len(),
        }
}

fn can_be_asked_again(result: &Result<Reply>) -> bool {
    match result {
        Ok(Reply::Get { .. } | Reply::Scan { .. }) => true,
        Ok(Reply::CompareAndSet { succeeded, .. }) => !succeeded,
        // The second answer is the first one again.
        Ok(Reply::Transact(_) | Reply::Blocked { .. }) => true,
        Ok(Reply::Put { .. } | Reply::Delete { .. } | Reply::Batch { .. }) | Err(_) => false,
    }
}
