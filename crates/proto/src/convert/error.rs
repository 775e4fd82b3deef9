//! ErrorDetail.

use strata_types::{Conflict, Error, ErrorCode, LogIndex, Outcome, Retry};

use crate::v1;

impl From<&Error> for v1::ErrorDetail {
    fn from(error: &Error) -> v1::ErrorDetail {
        v1::ErrorDetail {
            code: error.code.name().to_owned(),
            outcome: v1::Outcome::from(error.outcome).into(),
            message: error.message.clone(),
            retry: v1::Retry::from(error.retry()).into(),
            position: error.position.map(|position| position.0),
            conflict: error.conflict.as_deref().map(|conflict| conflict.clone().into()),
        }
    }
}

impl From<v1::ErrorDetail> for Error {
    fn from(detail: v1::ErrorDetail) -> Error {
        Error {
            code: ErrorCode::from_name(&detail.code).unwrap_or(ErrorCode::Internal),
            outcome: detail.outcome().into(),
            message: detail.message,
            position: detail.position.map(LogIndex),
            // What cannot be read of it is in the sentence.
            conflict: detail.conflict.and_then(|conflict| Conflict::try_from(conflict).ok()).map(Box::new),
        }
    }
}

impl From<Outcome> for v1::Outcome {
    fn from(outcome: Outcome) -> v1::Outcome {
        match outcome {
            Outcome::Applied => v1::Outcome::Applied,
            Outcome::NotApplied => v1::Outcome::NotApplied,
            Outcome::Unknown => v1::Outcome::Unknown,
        }
    }
}

impl From<v1::Outcome> for Outcome {
    fn from(outcome: v1::Outcome) -> Outcome {
        match outcome {
            v1::Outcome::Applied => Outcome::Applied,
            v1::Outcome::NotApplied => Outcome::NotApplied,
            v1::Outcome::Unknown | v1::Outcome::Unspecified => Outcome::Unknown,
        }
    }
}

impl From<Retry> for v1::Retry {
    fn from(retry: Retry) -> v1::Retry {
        match retry {
            Retry::No => v1::Retry::No,
            Retry::Restart => v1::Retry::Restart,
            Retry::Reroute => v1::Retry::Reroute,
            Retry::Backoff => v1::Retry::Backoff,
        }
    }
}
