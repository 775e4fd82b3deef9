//! The receiving half.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use strata_env::Env;
use strata_proto::internal::{DeliverRequest, Introduction, Welcome, peer_server};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::connect::{GRPC_MESSAGE_BYTES_MAX, HTTP2_FRAME_BYTES, explain_status};
use super::encrypted::accept_encrypted;
use super::receive::{Session, Sessions};
use super::shared::Shared;
use super::transport::GrpcTransport;
use crate::{Inbox, NetError, metrics};

/// After an error of `accept` (no more file handles, most often) the port rests this long.
pub(super) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The gRPC service that other nodes talk to.
#[derive(Clone)]
pub struct PeerServer {
    shared: Arc<Shared>,
    inbox: Arc<dyn Inbox>,
    sessions: Arc<Sessions>,
    stopping: watch::Sender<bool>,
}

impl PeerServer {
    /// The service of the node whose sending half is `transport`. Attaches the inbox to the transport.
    pub fn new(transport: &GrpcTransport, inbox: Arc<dyn Inbox>) -> PeerServer {
        transport.attach(&inbox);
        let sessions = Arc::default();
        PeerServer { shared: transport.shared().clone(), inbox, sessions, stopping: watch::Sender::new(false) }
    }

    /// The tonic service, for a server with other services. Its streams end when the connection does.
    pub fn into_service(self) -> peer_server::PeerServer<PeerServer> {
        peer_server::PeerServer::new(self)
            .max_decoding_message_size(GRPC_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(GRPC_MESSAGE_BYTES_MAX)
    }

    /// Serves a listening socket until `shutdown` completes and all connections are closed.
    pub async fn serve(
        self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), tonic::transport::Error> {
        let settings = self.shared.settings.clone();
        let stopping = self.stopping.clone();
        let shutdown = async move {
            shutdown.await;
            // Streams last as long as their sender wants; the server waits for them to end.
            stopping.send_replace(true);
        };
        let server = Server::builder()
            .http2_keepalive_interval(Some(settings.keep_alive_interval))
            .http2_keepalive_timeout(Some(settings.keep_alive_timeout))
            .initial_stream_window_size(settings.window_bytes)
            .initial_connection_window_size(settings.window_bytes.saturating_mul(2))
            .max_frame_size(HTTP2_FRAME_BYTES)
            .add_service(self.clone().into_service());
        match self.shared.tls.clone() {
            None => {
                let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
                let incoming = resting(self.shared.env.clone(), incoming);
                server.serve_with_incoming_shutdown(incoming, shutdown).await
            }
            Some(tls) => {
                let incoming = accept_encrypted(&self.shared, tls, listener);
                server.serve_with_incoming_shutdown(incoming, shutdown).await
            }
        }
    }

    async fn accept(&self, inbound: &mut Streaming<DeliverRequest>) -> Result<(Session, Welcome), Status> {
        let first = self.shared.env.timeout(self.shared.settings.handshake_timeout, inbound.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("no hello came in time"))??;
        let hello = first.and_then(|first| first.hello);
        let hello = hello.ok_or_else(|| Status::invalid_argument("the first message must be a hello"))?;
        let identity = self.shared.identity().ok_or_else(|| Status::unavailable("this node is starting"))?;
        let accepted = identity.accept(&hello).map_err(Status::failed_precondition)?;
        // Nobody may be listening: then no link is waiting.
        let _ = self.shared.called.send(accepted.from);
        let session = self.sessions.start(&self.shared, identity.node, accepted);
        Ok((session, Welcome { protocol: accepted.protocol }))
    }
}

/// The same connections, with a pause after each error: tonic would ask for the next one at once.
fn resting<T>(env: Env, incoming: impl Stream<Item = io::Result<T>>) -> impl Stream<Item = io::Result<T>> {
    incoming.then(move |accepted| {
        let env = env.clone();
        async move {
            if let Err(error) = &accepted {
                tracing::warn!(%error, "a connection of a node could not be accepted");
                env.sleep(ACCEPT_PAUSE).await;
            }
            accepted
        }
    })
}

#[async_trait]
impl peer_server::Peer for PeerServer {
    type DeliverStream = ReceiverStream<Result<Welcome, Status>>;

    async fn deliver(
        &self,
        request: Request<Streaming<DeliverRequest>>,
    ) -> Result<Response<Self::DeliverStream>, Status> {
        let mut inbound = request.into_inner();
        let (session, welcome) = self.accept(&mut inbound).await.inspect_err(|status| {
            metrics::refused_handshake();
            tracing::warn!(reason = status.message(), "refused a connection");
        })?;
        // One for the welcome, one for the reason of the end.
        let (outbound, receiver) = mpsc::channel(2);
        outbound.try_send(Ok(welcome)).expect("the channel is new and has room");
        self.shared.env.spawn("net-receive", receive(session, inbound, outbound, self.stopping.subscribe()));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn introduce(&self, request: Request<Introduction>) -> Result<Response<Introduction>, Status> {
        match self.inbox.introduce(request.into_inner().body).await {
            Ok(body) => Ok(Response::new(Introduction { body })),
            Err(NetError::Refused { detail, .. }) => Err(Status::failed_precondition(detail)),
            Err(error) => Err(Status::unavailable(error.to_string())),
        }
    }
}

/// Delivers what comes until the connection breaks, the node stops or a newer session takes over.
async fn receive(
    session: Session,
    mut inbound: Streaming<DeliverRequest>,
    outbound: mpsc::Sender<Result<Welcome, Status>>,
    mut stopping: watch::Receiver<bool>,
) {
    let reason = loop {
        let message = tokio::select! {
            message = inbound.message() => message,
            _ = stopping.wait_for(|stopping| *stopping) => break Status::unavailable("this node is stopping"),
        };
        match message {
            Ok(Some(batch)) => {
                if !session.deliver(batch) {
                    break Status::aborted("a newer connection of the same node has taken over");
                }
            }
            Ok(None) => {
                session.broke("the other side closed its connection");
                return;
            }
            Err(status) => {
                session.broke(&explain_status(&status));
                break status;
            }
        }
    };
    tracing::debug!(reason = reason.message(), "an incoming lane ended");
    // Nobody may be there to read it.
    let _ = outbound.try_send(Err(reason));
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use strata_env::real;
    use tokio::time::Instant;

    use super::*;

    /// Without files every `accept` fails at once, for as long as it lasts.
    #[tokio::test(start_paused = true)]
    async fn a_port_that_cannot_accept_rests_before_it_tries_again() {
        let out_of_files = || Err(io::Error::other("too many open files"));
        let incoming = tokio_stream::iter([Ok(1), out_of_files(), out_of_files(), Ok(2)]);
        let mut incoming = pin!(resting(real::env(), incoming));
        let begin = Instant::now();
        let mut heard = Vec::new();
        while let Some(accepted) = incoming.next().await {
            heard.push((accepted.ok(), begin.elapsed()));
        }
        assert_eq!(heard[0], (Some(1), Duration::ZERO));
        assert_eq!((heard[1].0, heard[2].0, heard[3].0), (None, None, Some(2)));
        assert!(heard[1].1 >= ACCEPT_PAUSE && heard[3].1 >= 2 * ACCEPT_PAUSE, "{heard:?}");
    }
}
