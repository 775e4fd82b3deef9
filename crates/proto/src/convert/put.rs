//! PutRequest, PutReply.

use strata_types::{Error, Operation, Reply, Request, Timestamp};

use super::header::write_header;
use super::misfit;
use super::revision::revision_of;
use crate::v1;

impl TryFrom<v1::PutRequest> for Request {
    type Error = Error;

    fn try_from(request: v1::PutRequest) -> Result<Request, Error> {
        let header = write_header!(request);
        Ok(Request { header, operation: Operation::Put { key: request.key, value: request.value } })
    }
}

impl TryFrom<(Reply, Timestamp)> for v1::PutReply {
    type Error = Error;

    fn try_from((reply, time): (Reply, Timestamp)) -> Result<v1::PutReply, Error> {
        match reply {
            Reply::Put { revision } => Ok(v1::PutReply { revision: Some(revision.into()), timestamp: time.0 }),
            _ => Err(misfit("put")),
        }
    }
}

impl From<v1::PutReply> for Reply {
    fn from(reply: v1::PutReply) -> Reply {
        Reply::Put { revision: revision_of(reply.revision) }
    }
}
