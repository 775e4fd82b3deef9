//! Which calls are answered by what.

use strata_types::Outcome;

/// The calls that are answered by more than one message, and end by a deadline.
const SCANS: [&str; 2] = ["/strata.v1.Kv/Scan", "/strata.v1.Txn/Scan"];
/// The others that are.
const STREAMS: [&str; 3] = [
    "/strata.v1.Kv/Stream",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];
/// The calls whose reply is large only where nothing was applied: reads, compare-and-sets that failed, and locks, whose
/// item can be read again.
const READS: [&str; 4] =
    ["/strata.v1.Kv/CompareAndSet", "/strata.v1.Kv/Get", "/strata.v1.Txn/Get", "/strata.v1.Txn/GetForUpdate"];

/// What a reply is, which says what becomes of it where there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplyKind {
    /// Many messages: they wait.
    Stream,
    /// The same, and the client may pause: it may be given up.
    Scan,
    /// One message: the call ends with an error of this outcome.
    Unary(Outcome),
    /// Not gRPC: it is cut off.
    Plain,
}

impl ReplyKind {
    /// That of a gRPC call.
    pub(crate) fn of_call(path: &str) -> ReplyKind {
        if STREAMS.contains(&path) {
            ReplyKind::Stream
        } else if SCANS.contains(&path) {
            ReplyKind::Scan
        } else if READS.contains(&path) {
            ReplyKind::Unary(Outcome::NotApplied)
        } else {
            ReplyKind::Unary(Outcome::Unknown)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stream that is not known as one would end where it should wait.
    #[test]
    fn every_call_that_is_answered_by_a_stream_is_known() {
        let services = [
            ("Admin", include_str!("../../../../proto/strata/v1/admin.proto")),
            ("Kv", include_str!("../../../../proto/strata/v1/kv.proto")),
            ("Txn", include_str!("../../../../proto/strata/v1/txn.proto")),
        ];
        let (mut found, mut others) = (Vec::new(), Vec::new());
        for (service, file) in services {
            for line in file.lines() {
                let Some((name, _)) = line.trim().strip_prefix("rpc ").and_then(|call| call.split_once('(')) else {
                    continue;
                };
                let calls = if line.contains("returns (stream ") { &mut found } else { &mut others };
                calls.push(format!("/strata.v1.{service}/{name}"));
            }
        }
        let known = STREAMS.into_iter().chain(SCANS).filter(|path| path.starts_with("/strata."));
        let mut known: Vec<&str> = known.collect();
        found.sort();
        known.sort();
        assert_eq!(found, known);
        assert!(READS.iter().all(|path| others.iter().any(|other| other == path)), "{READS:?} are calls");
    }
}
