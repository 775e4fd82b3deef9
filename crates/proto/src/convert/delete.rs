//! DeleteRequest, DeleteReply.

use strata_types::{Error, Operation, Reply, Request, Timestamp};

use super::header::write_header;
use super::misfit;
use super::revision::revision_of;
use crate::v1;

impl TryFrom<v1::DeleteRequest> for Request {
    type Error = Error;

    fn try_from(request: v1::DeleteRequest) -> Result<Request, Error> {
        Ok(Request { header: write_header!(request), operation: Operation::Delete { key: request.key } })
    }
}

impl TryFrom<(Reply, Timestamp)> for v1::DeleteReply {
    type Error = Error;

    fn try_from((reply, time): (Reply, Timestamp)) -> Result<v1::DeleteReply, Error> {
        match reply {
            Reply::Delete { existed, revision } => {
                Ok(v1::DeleteReply { revision: Some(revision.into()), timestamp: time.0, existed })
            }
            _ => Err(misfit("delete")),
        }
    }
}

impl From<v1::DeleteReply> for Reply {
    fn from(reply: v1::DeleteReply) -> Reply {
        Reply::Delete { existed: reply.existed, revision: revision_of(reply.revision) }
    }
}
