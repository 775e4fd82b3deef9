//! The side of a client.

use std::path::Path;
use std::sync::Arc;

use strata_env::Env;

use super::config::{NodeTime, Own, Trust, client_dialer};
use super::explain::{Asked, Knowledge};
use super::{Dialer, TlsError};

/// What a client believes and shows. Texts are PEM.
#[derive(Clone, Default)]
pub struct ClientTls {
    ca: Vec<u8>,
    own: Option<(Vec<u8>, Vec<u8>)>,
    server_name: Option<String>,
}

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key stays out.
        f.debug_struct("ClientTls").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

impl ClientTls {
    /// Believes these CAs, and shows nothing.
    pub fn new(ca: impl Into<Vec<u8>>) -> ClientTls {
        ClientTls { ca: ca.into(), ..ClientTls::default() }
    }

    /// With a certificate of its own.
    pub fn certificate(mut self, certificate: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> ClientTls {
        self.own = Some((certificate.into(), key.into()));
        self
    }

    /// With another name for the nodes than the one that is dialed, as through a tunnel.
    pub fn server_name(mut self, name: impl Into<String>) -> ClientTls {
        self.server_name = Some(name.into());
        self
    }

    /// Ready to dial.
    pub fn dialer(&self, env: &Env) -> Result<Dialer, TlsError> {
        let (ca, certificate, key) =
            (Path::new("the certificate of the CA"), Path::new("the certificate of this client"), Path::new("its key"));
        let trust = Trust::read(&self.ca, ca)?;
        let own = self.own.as_ref().map(|(text, secret)| Own::read(text, certificate, secret, key)).transpose()?;
        let own_facts = own.as_ref().map(|own| own.describe());
        let knowledge = Knowledge { asks: Asked::Node, trusted: trust.names.clone(), own: own_facts };
        let config = client_dialer(&trust, own.as_ref(), Arc::new(NodeTime(env.clock.clone())));
        let config = config.map_err(|error| super::config::unusable(ca)(format!("cannot be used: {error}")))?;
        Ok(Dialer::new(config, Arc::new(knowledge), self.server_name.clone()))
    }
}
