//! Settings of connections, and the last step between our types and the wire's.

use std::sync::Arc;
use std::time::Duration;

use strata_proto::{CLUSTER_METADATA, ShardAnswer, ShardCall, v1};
use strata_router::{ShardBatch, ShardReply};
use strata_types::{ClusterId, Error, ErrorCode, Result};
use tonic::transport::Endpoint;

/// A node that does not accept in this time is asked again later; another replica is asked meanwhile.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How often an idle or silent connection is probed, and how long the answer may take.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(3);
/// Flow-control windows: with the default of 64 KiB one message of replies would take many round trips.
const STREAM_WINDOW: u32 = 8 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

/// A message that says which cluster is meant. Before the first map is there, nobody knows.
pub(super) fn of_cluster<T>(message: T, cluster: ClusterId) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    if cluster != ClusterId::default() {
        request.metadata_mut().insert(CLUSTER_METADATA, cluster.to_string().parse().expect("digits are text"));
    }
    request
}

/// How to connect to `host:port`.
pub(super) fn endpoint(address: &str) -> Result<Endpoint> {
    let wrong = |detail: String| {
        let message = format!("not an address (expected HOST:PORT, such as 127.0.0.1:7400): `{address}`: {detail}");
        Error::not_applied(ErrorCode::InvalidArgument, message)
    };
    let host = address.strip_prefix("http://").unwrap_or(address).trim_end_matches('/');
    if host.contains("://") {
        return Err(wrong("only plain host:port is understood".to_owned()));
    }
    if !host.rsplit_once(':').is_some_and(|(name, port)| !name.is_empty() && port.parse::<u16>().is_ok()) {
        return Err(wrong("the port is missing".to_owned()));
    }
    let endpoint = Endpoint::from_shared(format!("http://{host}")).map_err(|error| wrong(error.to_string()))?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .tcp_keepalive(Some(KEEP_ALIVE_INTERVAL))
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW))
}

/// A transport error with its causes: tonic's own text is only "transport error".
pub(super) fn explain(error: &(dyn std::error::Error + 'static)) -> String {
    if let Some(sentence) = strata_net::tls::sentence(error) {
        return sentence;
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// What a node said, unless nobody said anything because of TLS.
pub(super) fn explain_status(status: &tonic::Status) -> String {
    strata_net::tls::sentence(status).unwrap_or_else(|| status.message().to_owned())
}

pub(super) fn encode(batch: ShardBatch, deadline: Duration) -> v1::ShardBatch {
    let ShardBatch { epoch, shard, requests } = batch;
    let requests = Arc::try_unwrap(requests).unwrap_or_else(|shared| shared.as_ref().clone());
    ShardCall { epoch, shard, requests, deadline: Some(deadline) }.into()
}

pub(super) fn decode(reply: v1::ShardReply, requests: usize) -> ShardReply {
    match ShardAnswer::from(reply) {
        ShardAnswer::Done { results, time } => ShardReply::Done { results, time },
        ShardAnswer::NotLeader { leader } => ShardReply::NotLeader { leader },
        ShardAnswer::StaleRoute(map) => ShardReply::StaleRoute(Arc::new(*map)),
        ShardAnswer::Failed(error) => ShardReply::failed(&error, requests),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_before_anybody_connects() {
        for good in ["127.0.0.1:7400", "localhost:7400", "[::1]:7400", "http://db.example:1"] {
            endpoint(good).expect(good);
        }
        for bad in ["", "localhost", ":7400", "host:port", "https://host:7400", "host:99999", "a b:1"] {
            let error = endpoint(bad).expect_err(bad);
            assert_eq!(error.code, ErrorCode::InvalidArgument, "{bad}");
            assert!(error.message.contains("HOST:PORT"), "{error}");
        }
    }
}
