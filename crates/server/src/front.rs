//! The client port: accepts, counts, sniffs, hands over.

use std::sync::Arc;
use std::time::Duration;

use strata_net::tls::{NodeTls, TlsStream};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::prefixed::{Prefixed, Wire};
use crate::sniff::{Connection, HANDSHAKE_DEADLINE, Protocol, Sniffed, helpful_line, sniff};
use crate::stopping::stopped;

/// After an error of `accept` (no more file handles, most often) the port rests this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections beside those of clients, for operators: a node whose clients have taken all places is well, and nobody
/// may take it for dead.
pub(crate) const OPERATORS_MAX: usize = 64;
/// How long each step takes at most until such a connection has shown whose it is: it may be one client too many.
const OPERATOR_DEADLINE: Duration = Duration::from_secs(2);
/// How long a line to a stranger may take; who does not read gets none.
const LINE_DEADLINE: Duration = Duration::from_secs(1);

/// The client port.
pub(crate) struct Front {
    protocols: Vec<Arc<dyn Protocol>>,
    /// With certificates, all that is spoken here is spoken inside TLS.
    tls: Option<Arc<NodeTls>>,
    permits: Arc<Semaphore>,
    operators: Arc<Semaphore>,
    connections_max: u32,
    stopping: watch::Receiver<bool>,
}

impl Front {
    /// A port that will serve these protocols, asked in this order, until `stopping` becomes true.
    pub(crate) fn new(
        protocols: Vec<Arc<dyn Protocol>>,
        tls: Option<Arc<NodeTls>>,
        connections_max: u32,
        stopping: watch::Receiver<bool>,
    ) -> Arc<Front> {
        let permits = Arc::new(Semaphore::new(connections_max as usize));
        let operators = Arc::new(Semaphore::new(OPERATORS_MAX));
        Arc::new(Front { protocols, tls, permits, operators, connections_max, stopping })
    }

    /// Accepts connections until the server stops: at most as many as there are permits, and none may be silent for
    /// long (SERVER-3). Where clients have all of theirs, operators still get in.
    pub(crate) async fn serve(self: Arc<Front>, listener: TcpListener) {
        let mut stopping = self.stopping.clone();
        loop {
            tokio::select! {
                () = stopped(&mut stopping) => return,
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => self.accept(stream),
                    Err(error) => {
                        tracing::warn!(%error, "a client connection could not be accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        }
    }

    /// Waits until no connection of a client is left, at most `deadline`. Says how many were left.
    pub(crate) async fn drain(&self, deadline: Duration) -> usize {
        let _ = tokio::time::timeout(deadline, self.permits.acquire_many(self.connections_max)).await;
        (self.connections_max as usize).saturating_sub(self.permits.available_permits())
    }

    fn accept(self: &Arc<Front>, stream: TcpStream) {
        let of = |place, permits: &Arc<Semaphore>| Some((permits.clone().try_acquire_owned().ok()?, place));
        let found = of(Place::Anybody, &self.permits).or_else(|| of(Place::Operator, &self.operators));
        let Some((permit, place)) = found else {
            refused("too_many");
            // Without a task: a flood of connections must not become a flood of tasks.
            let _ = stream.try_write(self.full().as_bytes());
            return;
        };
        let front = self.clone();
        tokio::spawn(async move { front.handle(stream, permit, place).await });
    }

    async fn handle(&self, stream: TcpStream, permit: OwnedSemaphorePermit, place: Place) {
        let _open = OpenGauge::new();
        // Replies are written whole: waiting for more bytes to join them only adds latency.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        match &self.tls {
            None => self.converse(stream, place).await,
            // Boxed: a connection without TLS should not pay for the size of a handshake.
            Some(tls) => match Box::pin(self.encrypt(tls, stream, place)).await {
                Some(stream) => self.converse(stream, place).await,
                None => refused("tls"),
            },
        }
        drop(permit);
    }

    /// Lets the client shake hands. `None` when it did not, or the server stops.
    async fn encrypt(&self, tls: &NodeTls, stream: TcpStream, place: Place) -> Option<TlsStream<TcpStream>> {
        let deadline = place.deadline();
        let mut stopping = self.stopping.clone();
        let from = stream.peer_addr().map_or_else(|_| "nowhere".to_owned(), |address| address.to_string());
        let accepted = tokio::select! {
            accepted = tokio::time::timeout(deadline, tls.accept_client(stream)) => accepted,
            () = stopped(&mut stopping) => return None,
        };
        let reason = match accepted {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no handshake within {deadline:?}"),
        };
        tracing::info!(from, reason, "refused a client");
        None
    }

    /// Finds out what is spoken, and speaks it.
    async fn converse(&self, mut stream: impl Wire, place: Place) {
        let mut stopping = self.stopping.clone();
        let sniffed = tokio::select! {
            sniffed = sniff(&mut stream, &self.protocols, place.deadline()) => sniffed,
            () = stopped(&mut stopping) => return,
        };
        match sniffed {
            Sniffed::Protocol(protocol, first) if place.is_for(protocol.as_ref()) => {
                metrics::counter!("strata_client_connections_accepted_total", "protocol" => protocol.name())
                    .increment(1);
                protocol.serve(Connection { stream: Prefixed::new(first, stream), stopping }).await;
            }
            Sniffed::Protocol(..) => {
                refused("too_many");
                tell(stream, &self.full()).await;
            }
            Sniffed::Silent if place == Place::Operator => {
                refused("too_many");
                tell(stream, &self.full()).await;
            }
            Sniffed::Unknown(first) => {
                refused("unknown_protocol");
                tell(stream, &helpful_line(&first, &self.protocols)).await;
            }
            Sniffed::Silent => refused("silent"),
            Sniffed::Closed => refused("closed"),
        }
    }

    /// What a client reads for which there is no place.
    fn full(&self) -> String {
        format!("strata: {} clients are connected already, try another node\r\n", self.connections_max)
    }
}

/// Whom a connection is accepted for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Anybody,
    Operator,
}

impl Place {
    /// How long a client may take for the handshake, and for its first bytes.
    fn deadline(self) -> Duration {
        match self {
            Place::Anybody => HANDSHAKE_DEADLINE,
            Place::Operator => OPERATOR_DEADLINE,
        }
    }

    fn is_for(self, protocol: &dyn Protocol) -> bool {
        match self {
            Place::Anybody => true,
            Place::Operator => protocol.is_for_operators(),
        }
    }
}

/// A last line for somebody who may not read it.
async fn tell(mut stream: impl Wire, line: &str) {
    let _ = tokio::time::timeout(LINE_DEADLINE, stream.write_all(line.as_bytes())).await;
}

fn refused(reason: &'static str) {
    metrics::counter!("strata_client_connections_refused_total", "reason" => reason).increment(1);
}

/// Counts one connection for as long as it lives.
struct OpenGauge;

impl OpenGauge {
    fn new() -> OpenGauge {
        metrics::gauge!("strata_client_connections_open").increment(1);
        OpenGauge
    }
}

impl Drop for OpenGauge {
    fn drop(&mut self) {
        metrics::gauge!("strata_client_connections_open").decrement(1);
    }
}

#[cfg(test)]
mod tests;
