//! Conversions, one file a message. What came from outside is never trusted: whatever is wrong with it is an error and
//! not a panic (PROTO-1).

mod admin;
mod batch;
mod compare_and_set;
mod conflict;
mod delete;
mod error;
mod expected;
mod freshness;
mod get;
mod header;
mod item;
mod lock_wait;
mod mutation;
mod operation;
mod operation_reply;
mod peer;
mod put;
mod revision;
mod scan;
mod session;
mod shard_batch;
mod shard_map;
mod shard_reply;
mod transaction;
mod transaction_call;
mod transaction_reply;
mod transaction_status;

pub use freshness::level_parts;
pub use lock_wait::lock_wait_of;
pub use shard_batch::ShardCall;
pub use shard_reply::ShardAnswer;
use strata_types::{ClusterId, Error, ErrorCode};
pub use transaction::{slot_of, transaction_id_bytes, transaction_id_of};

fn invalid(message: impl Into<String>) -> Error {
    Error::not_applied(ErrorCode::InvalidArgument, message)
}

/// A reply that does not fit its request: whatever the request did is done.
fn misfit(expected: &str) -> Error {
    Error::unknown(ErrorCode::Internal, format!("the reply is not one to a {expected}"))
}

fn cluster_of(text: &str) -> Result<ClusterId, Error> {
    let hexadecimal = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match u128::from_str_radix(text, 16) {
        Ok(number) if hexadecimal => Ok(ClusterId(number)),
        _ => Err(invalid(format!("a cluster id has 32 hexadecimal digits, not `{text}`"))),
    }
}
