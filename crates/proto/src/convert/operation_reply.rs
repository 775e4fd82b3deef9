//! OperationReply.

use strata_types::{Error, ErrorCode, Item, Reply, TransactionReply};

use super::freshness::{freshness_of, parts_of, read_at};
use super::revision::revision_of;
use crate::v1::{self, operation_reply};

impl From<Result<Reply, Error>> for v1::OperationReply {
    fn from(result: Result<Reply, Error>) -> v1::OperationReply {
        let reply = match result {
            Ok(reply) => reply.into(),
            Err(error) => operation_reply::Reply::Error(v1::ErrorDetail::from(&error)),
        };
        v1::OperationReply { timestamp: 0, reply: Some(reply) }
    }
}

impl From<Reply> for operation_reply::Reply {
    fn from(reply: Reply) -> operation_reply::Reply {
        match reply {
            Reply::Get { item, freshness } => {
                let (level, staleness_millis, applied) = parts_of(freshness);
                let (item, at) = (item.map(v1::Item::from), read_at(freshness));
                operation_reply::Reply::Get(operation_reply::Get { item, level, staleness_millis, applied, at })
            }
            Reply::Put { revision } => {
                operation_reply::Reply::Put(operation_reply::Written { revision: Some(revision.into()) })
            }
            Reply::Delete { existed, revision } => {
                operation_reply::Reply::Delete(operation_reply::Delete { revision: Some(revision.into()), existed })
            }
            Reply::CompareAndSet { succeeded, revision, current } => {
                operation_reply::Reply::CompareAndSet(operation_reply::CompareAndSet {
                    revision: Some(revision.into()),
                    succeeded,
                    current: current.map(v1::Item::from),
                })
            }
            Reply::Batch { revision } => {
                operation_reply::Reply::Batch(operation_reply::Written { revision: Some(revision.into()) })
            }
            Reply::Scan { items, resume, freshness } => {
                let (level, staleness_millis, applied) = parts_of(freshness);
                let items = items.into_iter().map(v1::Item::from).collect();
                let at = read_at(freshness);
                operation_reply::Reply::Scan(operation_reply::Scan {
                    items,
                    resume,
                    level,
                    staleness_millis,
                    applied,
                    at,
                })
            }
            Reply::Transact(reply) => operation_reply::Reply::Transact(reply.into()),
            // Nodes deal with it themselves. Nothing was done, so asking again does no harm.
            Reply::Blocked { by } => {
                let sentence =
                    format!("a node passed on that it is blocked, which it must not: transaction=`{}`", by.id);
                operation_reply::Reply::Error(v1::ErrorDetail::from(&Error::not_applied(ErrorCode::Internal, sentence)))
            }
        }
    }
}

impl From<v1::OperationReply> for Result<Reply, Error> {
    fn from(reply: v1::OperationReply) -> Result<Reply, Error> {
        use operation_reply::Reply as Wire;
        Ok(match reply.reply {
            Some(Wire::Get(get)) => Reply::Get {
                item: get.item.map(Item::from),
                freshness: freshness_of(get.level, get.staleness_millis, get.applied, get.at),
            },
            Some(Wire::Put(put)) => Reply::Put { revision: revision_of(put.revision) },
            Some(Wire::Delete(delete)) => {
                Reply::Delete { existed: delete.existed, revision: revision_of(delete.revision) }
            }
            Some(Wire::CompareAndSet(cas)) => Reply::CompareAndSet {
                succeeded: cas.succeeded,
                revision: revision_of(cas.revision),
                current: cas.current.map(Item::from),
            },
            Some(Wire::Batch(batch)) => Reply::Batch { revision: revision_of(batch.revision) },
            Some(Wire::Scan(scan)) => Reply::Scan {
                items: scan.items.into_iter().map(Item::from).collect(),
                resume: scan.resume,
                freshness: freshness_of(scan.level, scan.staleness_millis, scan.applied, scan.at),
            },
            Some(Wire::Transact(reply)) => Reply::Transact(TransactionReply::try_from(reply)?),
            Some(Wire::Error(detail)) => return Err(detail.into()),
            None => return Err(Error::unknown(ErrorCode::Internal, "the node answered with a reply of no known kind")),
        })
    }
}
