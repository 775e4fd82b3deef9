//! ScanRequest, ScanReply.

use strata_types::{Error, Item, Operation, Reply, Request, RequestHeader, Timestamp, limits};

use super::freshness::{freshness_of, level_parts};
use super::header::read_header;
use super::misfit;
use crate::v1;

impl TryFrom<&v1::ScanRequest> for RequestHeader {
    type Error = Error;

    fn try_from(request: &v1::ScanRequest) -> Result<RequestHeader, Error> {
        Ok(read_header!(request))
    }
}

/// The request for the first page: its limit is that of a page, not of the whole scan.
impl TryFrom<v1::ScanRequest> for Request {
    type Error = Error;

    fn try_from(request: v1::ScanRequest) -> Result<Request, Error> {
        let header = RequestHeader::try_from(&request)?;
        let page = limits::SCAN_PAGE_ITEMS_MAX;
        let limit = match u32::try_from(request.limit) {
            Ok(1..) => (request.limit as u32).min(page),
            Ok(0) | Err(_) => page,
        };
        Ok(Request { header, operation: Operation::Scan { start: request.start, end: request.end, limit } })
    }
}

impl TryFrom<(Reply, Timestamp)> for v1::ScanReply {
    type Error = Error;

    fn try_from((reply, time): (Reply, Timestamp)) -> Result<v1::ScanReply, Error> {
        match reply {
            Reply::Scan { items, resume, freshness } => {
                let (level, staleness_millis) = level_parts(freshness);
                let items = items.into_iter().map(v1::Item::from).collect();
                Ok(v1::ScanReply { items, resume, timestamp: time.0, level, staleness_millis })
            }
            _ => Err(misfit("scan")),
        }
    }
}

impl From<v1::ScanReply> for Reply {
    fn from(reply: v1::ScanReply) -> Reply {
        let freshness = freshness_of(reply.level, reply.staleness_millis, 0, 0);
        Reply::Scan { items: reply.items.into_iter().map(Item::from).collect(), resume: reply.resume, freshness }
    }
}
