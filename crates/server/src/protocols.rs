//! The protocols of the client port that exist today. SQL, Redis and Memcached become one more type each.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use http::{Request, Response, header};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use strata_grpc::ConnectionRoom;
use strata_http::{Readiness, Router};
use strata_types::{Error, ErrorCode};
use tokio::sync::watch;
use tonic::body::Body;
use tonic::service::Routes;
use tower::ServiceExt;

use crate::inbound_bodies::InboundBodies;
use crate::outbound_bodies::{OutboundBodies, ReplyKind};
use crate::sniff::{Connection, Protocol, Verdict, starts_with};
use crate::stopping::stopped;

/// How an HTTP/2 connection begins.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How an HTTP/1 connection may begin.
const HTTP1_METHODS: [&[u8]; 9] =
    [b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"TRACE ", b"CONNECT "];

/// Bytes of one stream that may be on the way to us before we read them: one page of a scan or a few thousand puts.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// The same for a whole connection. What was read of it is bounded by [`InboundBodies`].
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;
/// Bytes of one stream that wait for a client that does not read; then its next message is not asked for. One message
/// may pass it by any size, and waits whole: what all of them take is bounded by [`OutboundBodies`].
const SEND_BUFFER_BYTES: usize = 1 << 20;
/// Calls of one connection that may be open at once: as many as our heaviest clients have, since each may hold a small
/// reply that is not counted.
const STREAMS_MAX: u32 = 1_024;
/// Largest head of a request.
const HEADER_BYTES_MAX: u32 = 16 << 10;
/// A silent HTTP/2 client is asked this often whether it is still there ...
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// ... and has this long to answer.
const PING_DEADLINE: Duration = Duration::from_secs(20);
/// How long an HTTP/1 client may take for the head of its next request.
const HEAD_DEADLINE: Duration = Duration::from_secs(60);

/// Whether the first bytes begin HTTP/2 without an upgrade, as gRPC clients do.
pub(crate) fn is_http2(first: &[u8]) -> Verdict {
    starts_with(first, HTTP2_PREFACE)
}

/// Whether the first bytes begin an HTTP/1 request.
pub(crate) fn is_http1(first: &[u8]) -> Verdict {
    let verdicts = HTTP1_METHODS.map(|method| starts_with(first, method));
    let found = |verdict| verdicts.contains(&verdict).then_some(verdict);
    found(Verdict::Yes).or_else(|| found(Verdict::NeedMore)).unwrap_or(Verdict::No)
}

/// gRPC, and plain HTTP for whoever speaks version 2 of it.
pub(crate) struct Grpc {
    /// Set when the node is ready for them; until then calls are refused as "not ready".
    pub(crate) routes: Arc<OnceLock<Routes>>,
    pub(crate) router: Router,
    pub(crate) readiness: Arc<dyn Readiness>,
    pub(crate) bodies: InboundBodies,
    pub(crate) replies: OutboundBodies,
}

#[async_trait]
impl Protocol for Grpc {
    fn name(&self) -> &'static str {
        "gRPC"
    }

    fn matches(&self, first: &[u8]) -> Verdict {
        is_http2(first)
    }

    async fn serve(&self, connection: Connection) {
        let (routes, router, readiness) = (self.routes.clone(), self.router.clone(), self.readiness.clone());
        let (bodies, replies) = (self.bodies.of_connection(), self.replies.of_connection());
        let (unread_too_long, streams) = (replies.clone().unread_too_long(), ConnectionRoom::default());
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            let (routes, router, readiness) = (routes.get().cloned(), router.clone(), readiness.clone());
            let (bodies, replies) = (bodies.clone(), replies.clone());
            let is_grpc = is_grpc(&request);
            let kind = if is_grpc { ReplyKind::of_call(request.uri().path()) } else { ReplyKind::Plain };
            if kind == ReplyKind::Stream {
                request.extensions_mut().insert(streams.clone());
            }
            async move {
                let response = match routes {
                    _ if !is_grpc => plain(router, request).await,
                    Some(routes) => routes.oneshot(bodies.bound(request)).await,
                    None => Ok(not_ready(readiness.as_ref())),
                };
                response.map(|response| replies.bound(kind, response))
            }
        });
        let serving = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buf_size(SEND_BUFFER_BYTES)
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(HEADER_BYTES_MAX)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_DEADLINE)
            .serve_connection(TokioIo::new(connection.stream), service);
        run(serving, connection.stopping, |serving| serving.graceful_shutdown(), unread_too_long).await;
    }
}

/// HTTP/1: metrics and health.
pub(crate) struct Http {
    pub(crate) router: Router,
    pub(crate) replies: OutboundBodies,
}

#[async_trait]
impl Protocol for Http {
    fn name(&self) -> &'static str {
        "HTTP"
    }

    fn matches(&self, first: &[u8]) -> Verdict {
        is_http1(first)
    }

    fn is_for_operators(&self) -> bool {
        true
    }

    async fn serve(&self, connection: Connection) {
        let (router, replies) = (self.router.clone(), self.replies.of_connection());
        let unread_too_long = replies.clone().unread_too_long();
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let (router, replies) = (router.clone(), replies.clone());
            async move { plain(router, request).await.map(|response| replies.bound(ReplyKind::Plain, response)) }
        });
        // The next request is not begun before the reply to the last one has left.
        let serving = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_DEADLINE)
            .max_buf_size(HEADER_BYTES_MAX as usize)
            .serve_connection(TokioIo::new(connection.stream), service);
        run(serving, connection.stopping, |serving| serving.graceful_shutdown(), unread_too_long).await;
    }
}

/// Serves to the end; when the server stops, lets the calls under way finish and takes no new ones. Closes when
/// `unread_too_long` completes.
async fn run<C: Future<Output = hyper::Result<()>>>(
    serving: C,
    mut stopping: watch::Receiver<bool>,
    shut_down: impl FnOnce(Pin<&mut C>),
    unread_too_long: impl Future<Output = ()>,
) {
    let mut serving = std::pin::pin!(serving);
    let serving_to_the_end = async {
        tokio::select! {
            ended = serving.as_mut() => ended,
            () = stopped(&mut stopping) => {
                shut_down(serving.as_mut());
                serving.await
            }
        }
    };
    tokio::select! {
        ended = serving_to_the_end => {
            if let Err(error) = ended {
                tracing::debug!(%error, "a client connection ended");
            }
        }
        () = unread_too_long => tracing::info!("closed a client connection: its replies were not read"),
    }
}

fn is_grpc<B>(request: &Request<B>) -> bool {
    let kind = request.headers().get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

async fn plain(router: Router, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    router.oneshot(request).await.map(|response| response.map(Body::new))
}

fn not_ready(readiness: &dyn Readiness) -> Response<Body> {
    let reason = readiness.ready().err().unwrap_or_else(|| "starting".to_owned());
    let error = Error::not_applied(ErrorCode::NotReady, format!("the node is not ready: {reason}"));
    strata_proto::status_of(&error).into_http()
}

#[cfg(test)]
mod tests;
