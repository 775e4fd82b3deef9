//! BatchRequest, BatchReply.

use strata_types::{Error, Operation, Reply, Request, Timestamp};

use super::header::write_header;
use super::misfit;
use super::mutation::mutations_of;
use super::revision::revision_of;
use crate::v1;

impl TryFrom<v1::BatchRequest> for Request {
    type Error = Error;

    fn try_from(request: v1::BatchRequest) -> Result<Request, Error> {
        let header = write_header!(request);
        Ok(Request { header, operation: Operation::Batch { mutations: mutations_of(request.mutations)? } })
    }
}

impl TryFrom<(Reply, Timestamp)> for v1::BatchReply {
    type Error = Error;

    fn try_from((reply, time): (Reply, Timestamp)) -> Result<v1::BatchReply, Error> {
        match reply {
            Reply::Batch { revision } => Ok(v1::BatchReply { revision: Some(revision.into()), timestamp: time.0 }),
            _ => Err(misfit("batch")),
        }
    }
}

impl From<v1::BatchReply> for Reply {
    fn from(reply: v1::BatchReply) -> Reply {
        Reply::Batch { revision: revision_of(reply.revision) }
    }
}
