//! Who is believed: rustls looks at chain, time and names, and this module at the role.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, SignatureScheme};

use super::{Facts, Role};

/// A sentence about the certificate of the other side.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refusal(String);

/// Judges who is dialed.
#[derive(Debug)]
pub(super) struct Trusted {
    pub(super) inner: Arc<WebPkiServerVerifier>,
    /// Names of the CAs that are believed.
    pub(super) names: String,
    /// What the other side must be.
    pub(super) role: Option<Role>,
}

/// Judges who dials this node.
#[derive(Debug)]
pub(super) struct Members {
    pub(super) inner: Arc<dyn ClientCertVerifier>,
    /// What the other side may be; the first one is what a certificate should have been made for.
    pub(super) roles: &'static [Role],
}

impl ServerCertVerifier for Trusted {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.inner.verify_server_cert(certificate, intermediates, name, ocsp, now);
        let verified = verified.map_err(|error| foreign(error, certificate, &self.names))?;
        match self.role {
            Some(role) => has_role(certificate, &[role]).map(|()| verified),
            None => Ok(verified),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

impl ClientCertVerifier for Members {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        // The errors stay those of rustls: each has an alert of its own, which tells the other side what is wrong.
        let verified = self.inner.verify_client_cert(certificate, intermediates, now)?;
        has_role(certificate, self.roles).map(|()| verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// The owner of a valid certificate must be what it is taken for.
fn has_role(certificate: &CertificateDer<'_>, wanted: &[Role]) -> Result<(), rustls::Error> {
    let facts = Facts::of(certificate).map_err(refusal)?;
    let is = match facts.role {
        Some(role) if wanted.contains(&role) => return Ok(()),
        Some(role) => format!("that of a {}", role.word()),
        None => "for something else".to_owned(),
    };
    let (name, wanted) = (facts.name, wanted.first().map_or("nobody", |role| role.word()));
    Err(refusal(format!(
        "its certificate (`{name}`) is {is}, not that of a {wanted}: make one with `strata cert {wanted}`"
    )))
}

/// Names both CAs when they are different ones.
fn foreign(error: rustls::Error, certificate: &CertificateDer<'_>, names: &str) -> rustls::Error {
    let is_foreign = matches!(
        error,
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)
    );
    match Facts::of(certificate) {
        Ok(facts) if is_foreign => refusal(super::explain::other_ca(Some(&facts.issuer), names)),
        _ => error,
    }
}

fn refusal(sentence: String) -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(Refusal(sentence)))).into()
}
