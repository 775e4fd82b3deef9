//! From the text of certificates to what rustls wants.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{CertificateError, ClientConfig, RootCertStore, ServerConfig};
use strata_env::Clock;

use super::verify::{Members, Trusted};
use super::{ClientAuth, Facts, Role, TlsError};

/// What HTTP/2 and HTTP/1 are called in a handshake.
const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// The year 9999, the last one that a certificate can name, is over.
const END_OF_DAYS: Duration = Duration::from_secs(253_402_300_800);

/// Whom a process believes.
pub(super) struct Trust {
    roots: Arc<RootCertStore>,
    /// Names of the CAs, for sentences.
    pub(super) names: String,
}

/// What a process shows.
pub(super) struct Own {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    pub(super) facts: Facts,
    /// End of its validity, in seconds since 1970.
    pub(super) expires: i64,
}

/// The clock that certificates are judged by.
pub(super) struct NodeTime(pub(super) Arc<dyn Clock>);

impl std::fmt::Debug for NodeTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NodeTime")
    }
}

impl TimeProvider for NodeTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_millis(self.0.unix_millis())))
    }
}

impl Trust {
    /// Reads the certificates of CAs; `path` is for the error.
    pub(super) fn read(pem: &[u8], path: &Path) -> Result<Trust, TlsError> {
        let mut roots = RootCertStore::empty();
        let mut names = Vec::new();
        for certificate in certificates(pem, path)? {
            names.push(Facts::of(&certificate).map_err(unusable(path))?.name);
            roots.add(certificate).map_err(|error| unusable(path)(format!("holds no certificate of a CA: {error}")))?;
        }
        Ok(Trust { roots: Arc::new(roots), names: names.join("`, `") })
    }

    /// Whether what a node shows would be let in by nodes with the same files.
    pub(super) fn check(&self, own: &Own, time: &NodeTime, path: &Path) -> Result<(), TlsError> {
        let now = UnixTime::since_unix_epoch(Duration::from_millis(time.0.unix_millis()));
        let verifier = self.client_verifier(&[Role::Node]).map_err(|error| unusable(path)(error.to_string()))?;
        let verified = verifier.verify_client_cert(&own.chain[0], &own.chain[1..], now);
        verified.map(drop).map_err(|error| unusable(path)(super::explain::own_refused(&error, &self.names)))
    }

    fn client_verifier(&self, roles: &'static [Role]) -> Result<Members, rustls::Error> {
        let inner = WebPkiClientVerifier::builder_with_provider(self.roots.clone(), provider()).build();
        Ok(Members { inner: inner.map_err(general)?, roles })
    }

    fn server_verifier(&self, role: Option<Role>) -> Result<Trusted, rustls::Error> {
        let inner = WebPkiServerVerifier::builder_with_provider(self.roots.clone(), provider()).build();
        Ok(Trusted { inner: inner.map_err(general)?, names: self.names.clone(), role })
    }
}

impl Own {
    /// Reads a certificate and its key; the paths are for the error.
    pub(super) fn read(certificate: &[u8], path: &Path, key: &[u8], key_path: &Path) -> Result<Own, TlsError> {
        let chain = certificates(certificate, path)?;
        let facts = Facts::of(&chain[0]).map_err(unusable(path))?;
        let expires = expiry(&chain[0]).map_err(|error| unusable(path)(format!("cannot be used: {error}")))?;
        let key = PrivateKeyDer::from_pem_slice(key);
        let key = key.map_err(|error| unusable(key_path)(format!("holds no private key: {error}")))?;
        let own = Own { chain, key, facts, expires };
        let fits = rustls::sign::CertifiedKey::from_der(own.chain.clone(), own.key.clone_key(), &provider());
        fits.map_err(|error| unusable(key_path)(format!("is not the key of {}: {error}", path.display())))?;
        Ok(own)
    }

    /// For sentences.
    pub(super) fn describe(&self) -> String {
        format!("{}, valid until {}", self.facts, super::facts::date(self.expires))
    }
}

/// How nodes are let in: with certificates of nodes only (TLS-1).
pub(super) fn peer_server(trust: &Trust, own: &Own, time: Arc<NodeTime>) -> Result<ServerConfig, rustls::Error> {
    let verifier: Arc<dyn ClientCertVerifier> = Arc::new(trust.client_verifier(&[Role::Node])?);
    let config = ServerConfig::builder_with_details(provider(), time).with_protocol_versions(&[&TLS13])?;
    let config = config.with_client_cert_verifier(verifier);
    let mut config = config.with_single_cert(own.chain.clone(), own.key.clone_key())?;
    config.alpn_protocols = vec![HTTP2.to_vec()];
    // A resumed session would skip the look at the certificate.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// How clients are let in (TLS-4).
pub(super) fn client_server(
    trust: &Trust,
    own: &Own,
    time: Arc<NodeTime>,
    auth: ClientAuth,
) -> Result<ServerConfig, rustls::Error> {
    let config = ServerConfig::builder_with_details(provider(), time).with_protocol_versions(&[&TLS13, &TLS12])?;
    let config = match auth {
        ClientAuth::None => config.with_no_client_auth(),
        ClientAuth::Required => {
            config.with_client_cert_verifier(Arc::new(trust.client_verifier(&[Role::Client, Role::Node])?))
        }
    };
    let mut config = config.with_single_cert(own.chain.clone(), own.key.clone_key())?;
    config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
    if auth == ClientAuth::Required {
        // A resumed session would skip the look at the certificate.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}

/// How a node dials another one (TLS-2).
pub(super) fn peer_dialer(trust: &Trust, own: &Own, time: Arc<NodeTime>) -> Result<ClientConfig, rustls::Error> {
    let config = ClientConfig::builder_with_details(provider(), time).with_protocol_versions(&[&TLS13])?;
    let verifier = Arc::new(trust.server_verifier(Some(Role::Node))?);
    let config = config.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = config.with_client_auth_cert(own.chain.clone(), own.key.clone_key())?;
    config.alpn_protocols = vec![HTTP2.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// How a client dials a node.
pub(super) fn client_dialer(
    trust: &Trust,
    own: Option<&Own>,
    time: Arc<NodeTime>,
) -> Result<ClientConfig, rustls::Error> {
    let config = ClientConfig::builder_with_details(provider(), time).with_protocol_versions(&[&TLS13, &TLS12])?;
    let config = config.dangerous().with_custom_certificate_verifier(Arc::new(trust.server_verifier(None)?));
    let mut config = match own {
        Some(own) => config.with_client_auth_cert(own.chain.clone(), own.key.clone_key())?,
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![HTTP2.to_vec()];
    Ok(config)
}

/// The end of a certificate's validity, which rustls tells only of one that has ended: so it is asked at the end of days.
fn expiry(certificate: &CertificateDer<'static>) -> Result<i64, rustls::Error> {
    let mut roots = RootCertStore::empty();
    // Who signed does not matter here, but a verifier without any CA is none.
    roots.add(certificate.clone())?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build().map_err(general)?;
    match verifier.verify_client_cert(certificate, &[], UnixTime::since_unix_epoch(END_OF_DAYS)) {
        Err(rustls::Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            Ok(i64::try_from(not_after.as_secs()).unwrap_or(i64::MAX))
        }
        Err(error) => Err(error),
        Ok(_) => Ok(i64::MAX),
    }
}

pub(super) fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match read {
        Ok(certificates) if certificates.is_empty() => Err(unusable(path)("holds no certificate".to_owned())),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(unusable(path)(format!("is not PEM: {error}"))),
    }
}

pub(super) fn unusable(path: &Path) -> impl Fn(String) -> TlsError {
    move |detail| TlsError::Unusable { path: path.to_owned(), detail }
}

fn general(error: impl std::fmt::Display) -> rustls::Error {
    rustls::Error::General(error.to_string())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
