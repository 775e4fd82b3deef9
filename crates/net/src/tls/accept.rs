//! The accepting half of a handshake.

use std::sync::Arc;

use rustls::ServerConfig;
use strata_env::Env;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::explain::Knowledge;
use super::plain::refusal;
use super::{TlsError, TlsStream};

/// How a record of a handshake begins.
const HANDSHAKE_RECORD: u8 = 0x16;
/// Bytes that are enough to tell what somebody speaks who does not speak TLS.
const FIRST_BYTES_MAX: usize = 64;
/// Who was refused may take this long, and send this much, to read why: bytes that nobody read would make the system
/// reset the connection, and the reason would be lost.
const LINGER: std::time::Duration = std::time::Duration::from_millis(500);
const LINGER_BYTES_MAX: u64 = 64 << 10;

/// One way to let others in.
#[derive(Clone)]
pub(super) struct Acceptor {
    pub(super) env: Env,
    pub(super) config: Arc<ServerConfig>,
    pub(super) knowledge: Arc<Knowledge>,
}

impl Acceptor {
    /// Encrypts a connection, or says in its own protocol that it must be.
    pub(super) async fn accept_socket(&self, mut stream: TcpStream) -> Result<TlsStream<TcpStream>, TlsError> {
        let gone = |error: std::io::Error| TlsError::handshake(format!("the connection broke: {error}"));
        let mut first = [0; 1];
        if stream.peek(&mut first).await.map_err(gone)? == 0 {
            return Err(TlsError::handshake("it hung up without a word"));
        }
        if first[0] == HANDSHAKE_RECORD {
            return self.handshake(stream).await;
        }
        let mut first = [0; FIRST_BYTES_MAX];
        let count = stream.read(&mut first).await.map_err(gone)?;
        stream.write_all(&refusal(&first[..count])).await.map_err(gone)?;
        self.linger(stream).await;
        Err(TlsError::handshake("it does not speak TLS: give it certificates (--certs, or --ca for a client)"))
    }

    /// Encrypts a connection that begins with a handshake.
    pub(super) async fn handshake<S>(&self, stream: S) -> Result<TlsStream<S>, TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        match TlsAcceptor::from(self.config.clone()).accept(stream).into_fallible().await {
            Ok(stream) => Ok(TlsStream::new(stream.into(), self.knowledge.clone())),
            Err((error, stream)) => {
                self.linger(stream).await;
                Err(TlsError::handshake(self.knowledge.of_handshake(&error)))
            }
        }
    }

    async fn linger(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) {
        let reading = async {
            // Whatever comes of this: the connection is given up.
            let _ = stream.shutdown().await;
            let _ = tokio::io::copy(&mut stream.take(LINGER_BYTES_MAX), &mut tokio::io::sink()).await;
        };
        let _ = self.env.timeout(LINGER, reading).await;
    }
}
