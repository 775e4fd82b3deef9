//! The dialing half of a handshake.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::explain::Knowledge;
use super::{TlsError, TlsStream};

/// Shakes hands with whoever is dialed. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Dialer {
    config: Arc<ClientConfig>,
    knowledge: Arc<Knowledge>,
    /// The name that the certificate must have, if it is not the one that is dialed.
    server_name: Option<String>,
}

impl Dialer {
    pub(super) fn new(config: ClientConfig, knowledge: Arc<Knowledge>, server_name: Option<String>) -> Dialer {
        Dialer { config: Arc::new(config), knowledge, server_name }
    }

    /// Encrypts a connection to `host`: a name or an IP address, without brackets.
    pub async fn handshake<S>(&self, host: &str, stream: S) -> Result<TlsStream<S>, TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let host = self.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|_| TlsError::handshake(format!("`{host}` is no name that a certificate can have")))?;
        let connecting = TlsConnector::from(self.config.clone()).connect(name, stream).await;
        let stream = connecting.map_err(|error| TlsError::handshake(self.knowledge.of_handshake(&error)))?;
        Ok(TlsStream::new(stream.into(), self.knowledge.clone()))
    }
}
