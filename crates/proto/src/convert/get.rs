//! GetRequest, GetReply.

use strata_types::{Error, Item, Operation, Reply, Request, Timestamp};

use super::freshness::{freshness_of, parts_of};
use super::header::read_header;
use super::misfit;
use crate::v1;

impl TryFrom<v1::GetRequest> for Request {
    type Error = Error;

    fn try_from(request: v1::GetRequest) -> Result<Request, Error> {
        Ok(Request { header: read_header!(request), operation: Operation::Get { key: request.key } })
    }
}

impl TryFrom<(Reply, Timestamp)> for v1::GetReply {
    type Error = Error;

    fn try_from((reply, time): (Reply, Timestamp)) -> Result<v1::GetReply, Error> {
        match reply {
            Reply::Get { item, freshness } => {
                let (level, staleness_millis, applied) = parts_of(freshness);
                let item = item.map(v1::Item::from);
                Ok(v1::GetReply { item, timestamp: time.0, level, staleness_millis, applied })
            }
            _ => Err(misfit("get")),
        }
    }
}

impl From<v1::GetReply> for Reply {
    fn from(reply: v1::GetReply) -> Reply {
        let freshness = freshness_of(reply.level, reply.staleness_millis, reply.applied, 0);
        Reply::Get { item: reply.item.map(Item::from), freshness }
    }
}
