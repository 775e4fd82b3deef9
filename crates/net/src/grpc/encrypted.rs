//! Connections through TLS, in both directions.

use std::io;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint, Error, Uri};

use super::server::ACCEPT_PAUSE;
use super::shared::Shared;
use crate::metrics;
use crate::tls::{Dialer, NodeTls, TlsStream};

/// Handshakes at once. A node has a few connections to each other node; more than this is a flood, which waits.
const HANDSHAKES_MAX: usize = 256;

/// Connects, through TLS if there is a dialer.
pub async fn connect(endpoint: &Endpoint, dialer: Option<&Dialer>) -> Result<Channel, Error> {
    let Some(dialer) = dialer.cloned() else { return endpoint.connect().await };
    let connector = tower::service_fn(move |uri: Uri| {
        let dialer = dialer.clone();
        async move { dial(&dialer, &uri).await.map(TokioIo::new) }
    });
    endpoint.connect_with_connector(connector).await
}

async fn dial(dialer: &Dialer, uri: &Uri) -> io::Result<TlsStream<TcpStream>> {
    let (host, port) = (uri.host().unwrap_or_default(), uri.port_u16().unwrap_or_default());
    let host = host.trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    dialer.handshake(host, stream).await.map_err(io::Error::other)
}

/// Accepts other nodes. Each shakes hands in a task of its own: a slow one holds nobody up.
pub(super) fn accept_encrypted(
    shared: &Arc<Shared>,
    tls: Arc<NodeTls>,
    listener: TcpListener,
) -> ReceiverStream<io::Result<TlsStream<TcpStream>>> {
    let (sender, receiver) = mpsc::channel(1);
    shared.env.spawn("net-accept", accept_all(shared.clone(), tls, listener, sender));
    ReceiverStream::new(receiver)
}

type Accepted = mpsc::Sender<io::Result<TlsStream<TcpStream>>>;

async fn accept_all(shared: Arc<Shared>, tls: Arc<NodeTls>, listener: TcpListener, accepted: Accepted) {
    let permits = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let permit = permits.clone().acquire_owned().await;
        let stream = tokio::select! {
            stream = listener.accept() => stream,
            () = accepted.closed() => return,
        };
        match stream {
            Ok((stream, _)) => {
                let (shared, tls, accepted) = (shared.clone(), tls.clone(), accepted.clone());
                shared.env.clone().spawn("net-handshake", async move {
                    shake_hands(&shared, &tls, stream, &accepted).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection of a node could not be accepted");
                shared.env.sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn shake_hands(shared: &Shared, tls: &NodeTls, stream: TcpStream, accepted: &Accepted) {
    let from = stream.peer_addr().map_or_else(|_| "nowhere".to_owned(), |address| address.to_string());
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    let reason = match shared.env.timeout(shared.settings.handshake_timeout, tls.accept_peer(stream)).await {
        Ok(Ok(stream)) => {
            // Nobody takes it when the server stops.
            let _ = accepted.send(Ok(stream)).await;
            return;
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "no handshake in time".to_owned(),
    };
    metrics::refused_handshake();
    tracing::warn!(from, reason, "refused a connection");
}
