//! TransactionReply.

use strata_types::{Error, ErrorCode, Item, Timestamp, TransactionReply};

use crate::v1::{self, transaction_reply as wire};

impl From<TransactionReply> for v1::TransactionReply {
    fn from(reply: TransactionReply) -> v1::TransactionReply {
        let reply = match reply {
            TransactionReply::Committed { at } => wire::Reply::Committed(at.0),
            TransactionReply::Prepared { at } => wire::Reply::Prepared(at.0),
            TransactionReply::Conflict(conflict) => wire::Reply::Conflict(conflict.into()),
            TransactionReply::Status(status) => wire::Reply::Status(status.into()),
            TransactionReply::Done => wire::Reply::Done(wire::Done {}),
            TransactionReply::Locked { item, changed } => {
                wire::Reply::Locked(wire::Locked { item: item.map(v1::Item::from), changed: changed.0 })
            }
            TransactionReply::Skipped => wire::Reply::Skipped(wire::Skipped {}),
        };
        v1::TransactionReply { reply: Some(reply) }
    }
}

/// Whatever an unreadable reply says, the step may have been carried out.
impl TryFrom<v1::TransactionReply> for TransactionReply {
    type Error = Error;

    fn try_from(reply: v1::TransactionReply) -> Result<TransactionReply, Error> {
        let unreadable = |error: Error| Error::unknown(ErrorCode::Internal, error.message);
        Ok(match reply.reply {
            Some(wire::Reply::Committed(at)) => TransactionReply::Committed { at: Timestamp(at) },
            Some(wire::Reply::Prepared(at)) => TransactionReply::Prepared { at: Timestamp(at) },
            Some(wire::Reply::Conflict(conflict)) => {
                TransactionReply::Conflict(conflict.try_into().map_err(unreadable)?)
            }
            Some(wire::Reply::Status(status)) => TransactionReply::Status(status.try_into().map_err(unreadable)?),
            Some(wire::Reply::Done(wire::Done {})) => TransactionReply::Done,
            Some(wire::Reply::Locked(locked)) => {
                TransactionReply::Locked { item: locked.item.map(Item::from), changed: Timestamp(locked.changed) }
            }
            Some(wire::Reply::Skipped(wire::Skipped {})) => TransactionReply::Skipped,
            None => {
                let sentence = "the node answered a step of a transaction with a reply of no known kind";
                return Err(Error::unknown(ErrorCode::Internal, sentence));
            }
        })
    }
}
