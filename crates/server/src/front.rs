//! The client port: accepts, counts, sniffs, hands over.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::prefixed::Prefixed;
use crate::sniff::{Connection, HANDSHAKE_DEADLINE, Protocol, Sniffed, helpful_line, sniff};
use crate::stopping::stopped;

/// After an error of `accept` (no more file handles, most often) the port rests this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a line to a stranger may take; who does not read gets none.
const LINE_DEADLINE: Duration = Duration::from_secs(1);

/// The client port.
pub(crate) struct Front {
    protocols: Vec<Arc<dyn Protocol>>,
    permits: Arc<Semaphore>,
    connections_max: u32,
    stopping: watch::Receiver<bool>,
}

impl Front {
    /// A port that will serve these protocols, asked in this order, until `stopping` becomes true.
    pub(crate) fn new(
        protocols: Vec<Arc<dyn Protocol>>,
        connections_max: u32,
        stopping: watch::Receiver<bool>,
    ) -> Arc<Front> {
        let permits = Arc::new(Semaphore::new(connections_max as usize));
        Arc::new(Front { protocols, permits, connections_max, stopping })
    }

    /// Accepts connections until the server stops: at most as many as there are permits, and none may be silent for
    /// long (SERVER-3).
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

    /// Waits until no connection is left, at most `deadline`. Says how many were left.
    pub(crate) async fn drain(&self, deadline: Duration) -> usize {
        let _ = tokio::time::timeout(deadline, self.permits.acquire_many(self.connections_max)).await;
        (self.connections_max as usize).saturating_sub(self.permits.available_permits())
    }

    fn accept(self: &Arc<Front>, stream: TcpStream) {
        match self.permits.clone().try_acquire_owned() {
            Ok(permit) => {
                let front = self.clone();
                tokio::spawn(async move { front.handle(stream, permit).await });
            }
            Err(_) => {
                refused("too_many");
                let line =
                    format!("strata: {} clients are connected already, try another node\r\n", self.connections_max);
                // Without a task: a flood of connections must not become a flood of tasks.
                let _ = stream.try_write(line.as_bytes());
            }
        }
    }

    async fn handle(&self, mut stream: TcpStream, permit: OwnedSemaphorePermit) {
        let _open = OpenGauge::new();
        let mut stopping = self.stopping.clone();
        let sniffed = tokio::select! {
            sniffed = sniff(&mut stream, &self.protocols, HANDSHAKE_DEADLINE) => sniffed,
            () = stopped(&mut stopping) => return,
        };
        match sniffed {
            Sniffed::Protocol(protocol, first) => {
                // Replies are written whole: waiting for more bytes to join them only adds latency.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "TCP_NODELAY could not be set");
                }
                metrics::counter!("strata_client_connections_accepted_total", "protocol" => protocol.name())
                    .increment(1);
                protocol.serve(Connection { stream: Prefixed::new(first, stream), stopping }).await;
            }
            Sniffed::Unknown(first) => {
                refused("unknown_protocol");
                let line = helpful_line(&first, &self.protocols);
                let _ = tokio::time::timeout(LINE_DEADLINE, stream.write_all(line.as_bytes())).await;
            }
            Sniffed::Silent => refused("silent"),
            Sniffed::Closed => refused("closed"),
        }
        drop(permit);
    }
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
mod tests {
    use std::net::SocketAddr;
    use std::sync::OnceLock;

    use strata_http::Metrics;
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::protocols::{Grpc, Http};

    struct Running {
        front: Arc<Front>,
        address: SocketAddr,
        stop: watch::Sender<bool>,
    }

    async fn start(connections_max: u32) -> Running {
        let readiness: Arc<dyn strata_http::Readiness> = Arc::new(|| Err("waiting for 1 more node".to_owned()));
        let router = strata_http::router(Metrics::detached(), readiness.clone());
        let grpc = Grpc { routes: Arc::new(OnceLock::new()), router: router.clone(), readiness };
        let protocols: Vec<Arc<dyn Protocol>> = vec![Arc::new(grpc), Arc::new(Http { router })];
        let (stop, stopping) = watch::channel(false);
        let front = Front::new(protocols, connections_max, stopping);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(front.clone().serve(listener));
        Running { front, address, stop }
    }

    async fn say(address: SocketAddr, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        stream.write_all(bytes).await.expect("writable");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("readable");
        String::from_utf8_lossy(&answer).into_owned()
    }

    const HEALTH: &[u8] = b"GET /health/ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

    #[tokio::test]
    async fn http_is_served_before_the_node_is_ready() {
        let running = start(10).await;
        let answer = say(running.address, HEALTH).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.ends_with("not ready: waiting for 1 more node\n"), "{answer}");
    }

    #[tokio::test]
    async fn strangers_get_a_line() {
        let running = start(10).await;
        let answer = say(running.address, b"*1\r\n$4\r\nPING\r\n").await;
        assert!(answer.starts_with("strata: this port speaks gRPC and HTTP"), "{answer}");
    }

    #[tokio::test]
    async fn a_call_before_the_node_is_ready_says_why() {
        let running = start(10).await;
        let endpoint = format!("http://{}", running.address).try_into().expect("a valid address");
        let channel = tonic::transport::Endpoint::connect(&endpoint).await.expect("connected");
        let mut client = strata_proto::v1::kv_client::KvClient::new(channel);
        let status = client.get(strata_proto::v1::GetRequest::default()).await.expect_err("not ready");
        let error = strata_proto::error_of(&status);
        assert_eq!(error.code, strata_types::ErrorCode::NotReady);
        assert_eq!(error.message, "the node is not ready: waiting for 1 more node");
    }

    /// SERVER-3
    #[tokio::test]
    async fn one_connection_too_many_is_told_so() {
        let running = start(1).await;
        let mut first = TcpStream::connect(running.address).await.expect("connected");
        first.write_all(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("writable");
        let mut byte = [0];
        first.read_exact(&mut byte).await.expect("served, and kept alive");
        let mut second = TcpStream::connect(running.address).await.expect("connected");
        let mut answer = String::new();
        second.read_to_string(&mut answer).await.expect("readable");
        assert_eq!(answer, "strata: 1 clients are connected already, try another node\r\n");
    }

    #[tokio::test]
    async fn stopping_closes_idle_connections() {
        let running = start(10).await;
        let mut silent = TcpStream::connect(running.address).await.expect("connected");
        let mut idle = TcpStream::connect(running.address).await.expect("connected");
        idle.write_all(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("writable");
        let mut byte = [0];
        idle.read_exact(&mut byte).await.expect("served, and kept alive");
        running.stop.send(true).expect("somebody listens");
        assert_eq!(running.front.drain(Duration::from_secs(10)).await, 0);
        let mut rest = Vec::new();
        silent.read_to_end(&mut rest).await.expect("closed without a word");
        assert!(rest.is_empty());
    }
}
