//! ShardBatch: the hot path. Headers that are equal travel once, payloads are moved and never copied.

use std::time::Duration;

use strata_types::{Epoch, Error, ErrorCode, Request, RequestHeader, SessionRequest, ShardId, limits};

use super::invalid;
use super::operation::operation_of;
use crate::v1;

/// What a [`v1::ShardBatch`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardCall {
    /// Epoch of the shard map that routed the requests.
    pub epoch: Epoch,
    /// The shard of all of them.
    pub shard: ShardId,
    /// The requests, in order.
    pub requests: Vec<Request>,
    /// How long the sender waits; `None` when it does not say.
    pub deadline: Option<Duration>,
}

impl From<ShardCall> for v1::ShardBatch {
    fn from(call: ShardCall) -> v1::ShardBatch {
        let common = call.requests.first().map(|request| v1::BatchHeader::from(&request.header));
        let encode = |request: Request| {
            let header = v1::BatchHeader::from(&request.header);
            v1::Operation {
                session: request.header.session.map(v1::Session::from),
                header: (common != Some(header)).then_some(header),
                operation: Some(request.operation.into()),
            }
        };
        v1::ShardBatch {
            epoch: call.epoch.0,
            shard: call.shard.0,
            operations: call.requests.into_iter().map(encode).collect(),
            header: common,
            // A deadline that is over still is one: zero would mean that there is none.
            deadline_millis: call.deadline.map_or(0, |d| u32::try_from(d.as_millis()).unwrap_or(u32::MAX).max(1)),
        }
    }
}

impl TryFrom<v1::ShardBatch> for ShardCall {
    type Error = Error;

    fn try_from(batch: v1::ShardBatch) -> Result<ShardCall, Error> {
        let common = RequestHeader::try_from(batch.header.unwrap_or_default())?;
        let decode = |operation: v1::Operation| {
            let own = operation.header.map(RequestHeader::try_from).transpose()?;
            let session = operation.session.map(SessionRequest::from);
            let header = RequestHeader { session, ..own.unwrap_or_else(|| common.clone()) };
            Ok(Request { header, operation: operation_of(operation.operation)? })
        };
        let deadline = Duration::from_millis(batch.deadline_millis.into());
        if deadline > limits::REQUEST_DEADLINE_MAX {
            return Err(invalid(format!("a deadline of {deadline:?} is longer than a node will work on one request")));
        }
        let count = batch.operations.len();
        if count > limits::SHARD_BATCH_REQUESTS_MAX {
            let most = limits::SHARD_BATCH_REQUESTS_MAX;
            let message = format!("a batch of {count} requests is over the limit of {most}; nothing was applied");
            return Err(Error::not_applied(ErrorCode::TooLarge, message));
        }
        Ok(ShardCall {
            epoch: Epoch(batch.epoch),
            shard: ShardId(batch.shard),
            requests: batch.operations.into_iter().map(decode).collect::<Result<_, Error>>()?,
            deadline: (!deadline.is_zero()).then_some(deadline),
        })
    }
}
