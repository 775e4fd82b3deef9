//! Errors as gRPC statuses: the only place where one becomes the other.

use bytes::Bytes;
use prost::Message;
use strata_types::{Error, ErrorCode, Outcome};
use tonic::{Code, Status};

use crate::v1;

/// How google.protobuf.Any names our detail.
const DETAIL_TYPE_URL: &str = "type.googleapis.com/strata.v1.ErrorDetail";

/// google.rpc.Status, as the trailer `grpc-status-details-bin` holds it.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// google.protobuf.Any.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// The status that tells a client about an error.
pub fn status_of(error: &Error) -> Status {
    let code = grpc_code(error);
    let detail =
        Any { type_url: DETAIL_TYPE_URL.to_owned(), value: v1::ErrorDetail::from(error).encode_to_vec().into() };
    let rich = RpcStatus { code: code.into(), message: error.message.clone(), details: vec![detail] };
    Status::with_details(code, error.message.clone(), rich.encode_to_vec().into())
}

/// The error that a status tells about, also when it comes from tonic, a proxy or a server of another make. Where the
/// outcome was not said it is unknown (PROTO-2).
pub fn error_of(status: &Status) -> Error {
    detail_of(status).unwrap_or_else(|| bare_error_of(status))
}

fn detail_of(status: &Status) -> Option<Error> {
    let rich = RpcStatus::decode(status.details()).ok()?;
    let detail = rich.details.into_iter().find(|detail| detail.type_url == DETAIL_TYPE_URL)?;
    v1::ErrorDetail::decode(detail.value).ok().map(Error::from)
}

fn bare_error_of(status: &Status) -> Error {
    // The outcome is known only where the request was refused before anything could look at it.
    let (code, outcome) = match status.code() {
        Code::InvalidArgument | Code::OutOfRange | Code::Unimplemented | Code::NotFound | Code::AlreadyExists => {
            (ErrorCode::InvalidArgument, Outcome::NotApplied)
        }
        Code::PermissionDenied | Code::Unauthenticated => (ErrorCode::IdentityRefused, Outcome::NotApplied),
        Code::FailedPrecondition => (ErrorCode::InvalidArgument, Outcome::NotApplied),
        Code::ResourceExhausted => (ErrorCode::Overloaded, Outcome::Unknown),
        Code::DeadlineExceeded | Code::Cancelled => (ErrorCode::DeadlineExceeded, Outcome::Unknown),
        Code::Unavailable | Code::Aborted | Code::Unknown => (ErrorCode::Unavailable, Outcome::Unknown),
        Code::DataLoss => (ErrorCode::Corrupt, Outcome::Unknown),
        Code::Ok | Code::Internal => (ErrorCode::Internal, Outcome::Unknown),
    };
    let message = match (status.code(), status.message()) {
        // The second is what tonic says of a deadline that passed on this side.
        (Code::Cancelled | Code::DeadlineExceeded, "" | "Timeout expired") => "no answer by the deadline".to_owned(),
        (code, "") => code.description().to_owned(),
        (_, message) => message.to_owned(),
    };
    Error::new(code, outcome, message)
}

/// gRPC libraries repeat calls by themselves on UNAVAILABLE, so a write that may have been applied must not say that.
fn grpc_code(error: &Error) -> Code {
    match error.code {
        ErrorCode::InvalidArgument | ErrorCode::TooLarge | ErrorCode::CrossShard => Code::InvalidArgument,
        ErrorCode::StaleRoute | ErrorCode::NotLeader | ErrorCode::SessionExpired => Code::FailedPrecondition,
        ErrorCode::Refused | ErrorCode::MajorityAtRisk | ErrorCode::ChangeUnderWay => Code::FailedPrecondition,
        ErrorCode::Unavailable | ErrorCode::NotReady | ErrorCode::Blocked => match error.outcome {
            Outcome::NotApplied => Code::Unavailable,
            Outcome::Applied | Outcome::Unknown => Code::Unknown,
        },
        // What gRPC calls a transaction that has to begin anew. No library repeats it by itself.
        ErrorCode::Conflict => Code::Aborted,
        ErrorCode::SnapshotTooOld => Code::FailedPrecondition,
        ErrorCode::DeadlineExceeded => Code::DeadlineExceeded,
        ErrorCode::Overloaded | ErrorCode::DiskFull => Code::ResourceExhausted,
        ErrorCode::Corrupt => Code::DataLoss,
        ErrorCode::IdentityRefused => Code::PermissionDenied,
        // The enum may grow; what we have no word for is ours to explain.
        ErrorCode::Internal | _ => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use strata_types::LogIndex;

    use super::*;

    /// PROTO-2
    #[test]
    fn every_error_survives_the_way() {
        for code in ErrorCode::ALL {
            for outcome in [Outcome::Applied, Outcome::NotApplied, Outcome::Unknown] {
                let error = Error::new(code, outcome, format!("about {}", code.name()));
                let status = status_of(&error);
                assert_eq!(status.message(), error.message, "people see the sentence without our details");
                assert_eq!(error_of(&status), error);
                let error = error.at(LogIndex(9));
                assert_eq!(error_of(&status_of(&error)), error);
            }
        }
    }

    #[test]
    fn a_write_that_may_be_applied_is_never_repeated_by_the_library() {
        assert_eq!(status_of(&Error::unknown(ErrorCode::Unavailable, "leader lost")).code(), Code::Unknown);
        assert_eq!(status_of(&Error::not_applied(ErrorCode::Unavailable, "no leader")).code(), Code::Unavailable);
    }

    #[test]
    fn a_transaction_that_must_begin_anew_is_what_grpc_calls_aborted() {
        assert_eq!(status_of(&Error::not_applied(ErrorCode::Conflict, "changed")).code(), Code::Aborted);
        assert_eq!(status_of(&Error::not_applied(ErrorCode::Blocked, "met")).code(), Code::Unavailable);
        assert_eq!(status_of(&Error::unknown(ErrorCode::Blocked, "met")).code(), Code::Unknown);
    }

    /// PROTO-2
    #[test]
    fn statuses_of_others_are_understood_or_unknown() {
        let broken = error_of(&Status::unavailable("connection reset"));
        assert_eq!((broken.code, broken.outcome), (ErrorCode::Unavailable, Outcome::Unknown));
        assert_eq!(broken.message, "connection reset");
        let refused = error_of(&Status::unimplemented(""));
        assert_eq!((refused.code, refused.outcome), (ErrorCode::InvalidArgument, Outcome::NotApplied));
        assert!(!refused.message.is_empty(), "a sentence even when the status has none");
        let garbage = Status::with_details(Code::Internal, "x", Bytes::from_static(b"\xff\xff\xff"));
        assert_eq!(error_of(&garbage).outcome, Outcome::Unknown);
    }
}
