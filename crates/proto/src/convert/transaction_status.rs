//! Decision, TransactionStatus.

use strata_types::{Decision, Error, Timestamp, TransactionStatus};

use super::invalid;
use crate::v1::{self, decision, transaction_status};

impl From<Decision> for v1::Decision {
    fn from(decision: Decision) -> v1::Decision {
        let decision = match decision {
            Decision::Committed(at) => decision::Decision::Committed(at.0),
            Decision::Aborted => decision::Decision::Aborted(decision::Aborted {}),
        };
        v1::Decision { decision: Some(decision) }
    }
}

/// A decision that says nothing must never be taken for one.
impl TryFrom<v1::Decision> for Decision {
    type Error = Error;

    fn try_from(decision: v1::Decision) -> Result<Decision, Error> {
        match decision.decision {
            Some(decision::Decision::Committed(at)) => Ok(Decision::Committed(Timestamp(at))),
            Some(decision::Decision::Aborted(decision::Aborted {})) => Ok(Decision::Aborted),
            None => Err(invalid("a decision must say whether the transaction was committed or aborted")),
        }
    }
}

impl From<TransactionStatus> for v1::TransactionStatus {
    fn from(status: TransactionStatus) -> v1::TransactionStatus {
        use transaction_status::{Pending, Status, Unknown};
        let status = match status {
            TransactionStatus::Pending => Status::Pending(Pending {}),
            TransactionStatus::Decided(decision) => Status::Decided(decision.into()),
            TransactionStatus::Unknown => Status::Unknown(Unknown {}),
        };
        v1::TransactionStatus { status: Some(status) }
    }
}

impl TryFrom<v1::TransactionStatus> for TransactionStatus {
    type Error = Error;

    fn try_from(status: v1::TransactionStatus) -> Result<TransactionStatus, Error> {
        use transaction_status::Status;
        match status.status {
            Some(Status::Pending(_)) => Ok(TransactionStatus::Pending),
            Some(Status::Decided(decision)) => Ok(TransactionStatus::Decided(decision.try_into()?)),
            Some(Status::Unknown(_)) => Ok(TransactionStatus::Unknown),
            None => Err(invalid("the status of a transaction is none that is known here")),
        }
    }
}
