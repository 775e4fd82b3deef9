//! CompareAndSetRequest, CompareAndSetReply.

use strata_types::{Error, Item, Operation, Reply, Request, Timestamp};

use super::expected::expected_of;
use super::header::write_header;
use super::misfit;
use super::revision::revision_of;
use crate::v1;

impl TryFrom<v1::CompareAndSetRequest> for Request {
    type Error = Error;

    fn try_from(request: v1::CompareAndSetRequest) -> Result<Request, Error> {
        let header = write_header!(request);
        let expected = expected_of(request.expected)?;
        Ok(Request { header, operation: Operation::CompareAndSet { key: request.key, expected, value: request.value } })
    }
}

impl TryFrom<(Reply, Timestamp)> for v1::CompareAndSetReply {
    type Error = Error;

    fn try_from((reply, time): (Reply, Timestamp)) -> Result<v1::CompareAndSetReply, Error> {
        match reply {
            Reply::CompareAndSet { succeeded, revision, current } => Ok(v1::CompareAndSetReply {
                revision: Some(revision.into()),
                timestamp: time.0,
                succeeded,
                current: current.map(v1::Item::from),
            }),
            _ => Err(misfit("compare-and-set")),
        }
    }
}

impl From<v1::CompareAndSetReply> for Reply {
    fn from(reply: v1::CompareAndSetReply) -> Reply {
        Reply::CompareAndSet {
            succeeded: reply.succeeded,
            revision: revision_of(reply.revision),
            current: reply.current.map(Item::from),
        }
    }
}
