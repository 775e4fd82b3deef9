//! From errors of rustls to sentences. "It" is the other side.

use std::io;

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error};

use super::facts::date;
use super::verify::Refusal;

/// Whose certificate is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Asked {
    /// That of a node: at a peer port, and by whoever dials.
    #[default]
    Node,
    /// That of a client.
    Client,
}

/// What one side knows about itself when a handshake fails.
#[derive(Clone, Debug, Default)]
pub(super) struct Knowledge {
    /// What the other side should have shown.
    pub(super) asks: Asked,
    /// Names of the CAs that it believes.
    pub(super) trusted: String,
    /// Its own certificate, if it has one.
    pub(super) own: Option<String>,
}

impl Knowledge {
    /// The sentence for an error of a TLS stream; `None` when it does not come from TLS.
    pub(super) fn of_stream(&self, error: &io::Error) -> Option<String> {
        let inner = error.get_ref()?.downcast_ref::<Error>()?;
        Some(self.of_tls(inner))
    }

    /// The sentence for an error of a handshake.
    pub(super) fn of_handshake(&self, error: &io::Error) -> String {
        match self.of_stream(error) {
            Some(sentence) => sentence,
            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                "it hung up during the handshake: does it speak TLS? Give all nodes certificates, or none".to_owned()
            }
            None => format!("the handshake failed: {error}"),
        }
    }

    fn of_tls(&self, error: &Error) -> String {
        match error {
            Error::InvalidCertificate(error) => self.of_certificate(error),
            Error::NoCertificatesPresented => match self.asks {
                Asked::Node => "it shows no certificate, and only nodes with one are let in: start it with --certs",
                Asked::Client => {
                    "it shows no certificate, and only clients with one are let in: make one with `strata cert client`"
                }
            }
            .to_owned(),
            Error::AlertReceived(alert) => self.of_alert(*alert),
            Error::InvalidMessage(_) => {
                "it does not speak TLS: give it certificates (--certs), or connect without TLS".to_owned()
            }
            Error::PeerIncompatible(reason) => {
                format!(
                    "it speaks no version of TLS that is allowed here (nodes: 1.3; clients: 1.2 or 1.3): {reason:?}"
                )
            }
            other => format!("TLS failed: {other}"),
        }
    }

    fn of_certificate(&self, error: &CertificateError) -> String {
        match error {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => other_ca(None, &self.trusted),
            CertificateError::Other(other) => match other.0.downcast_ref::<Refusal>() {
                Some(refusal) => refusal.to_string(),
                None => format!("its certificate is refused: {other}"),
            },
            other => format!("its certificate {}", flaw(other)),
        }
    }

    fn of_alert(&self, alert: AlertDescription) -> String {
        let meaning = match alert {
            AlertDescription::UnknownCA => "it believes another CA: use certificates of one CA everywhere",
            AlertDescription::DecryptError => {
                "it believes another CA of the same name: use certificates of one CA everywhere"
            }
            AlertDescription::CertificateExpired => "it has expired, by the clock there: make a new one",
            AlertDescription::UnsupportedCertificate => "it is not made for this: make one with `strata cert`",
            AlertDescription::CertificateUnknown | AlertDescription::BadCertificate => {
                "it is of another CA, for another name, or not that of a node: the log there says which"
            }
            AlertDescription::CertificateRequired => {
                return "it wants to see the certificate of a client: make one with `strata cert client`, and give the \
                        directory with --certs (at a peer port only nodes are let in)"
                    .to_owned();
            }
            AlertDescription::ProtocolVersion => {
                return "it accepts no version of TLS that is spoken here (nodes: 1.3; clients: 1.2 or 1.3)".to_owned();
            }
            other => return format!("it ended the connection: {other:?}"),
        };
        match &self.own {
            Some(own) => format!("it does not accept the certificate of this side ({own}): {meaning}"),
            None => format!("it ended the connection: {alert:?}"),
        }
    }
}

/// What is wrong with a certificate that was to be shown. A verb and what follows it.
pub(super) fn own_refused(error: &Error, trusted: &str) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            format!("is not signed by the CA beside it (`{trusted}`)")
        }
        Error::InvalidCertificate(CertificateError::Other(other)) => match other.0.downcast_ref::<Refusal>() {
            Some(refusal) => format!("cannot be used: {refusal}"),
            None => format!("cannot be used: {other}"),
        },
        Error::InvalidCertificate(error) => flaw(error),
        other => format!("cannot be used: {other}"),
    }
}

/// Somebody of another cluster, or with certificates of another time.
pub(super) fn other_ca(issuer: Option<&str>, trusted: &str) -> String {
    let step = "use certificates of one CA for all nodes of a cluster, and for its clients";
    match issuer {
        Some(issuer) if issuer == trusted => {
            format!("its certificate is signed by another CA of the name `{issuer}` than the one believed here: {step}")
        }
        Some(issuer) => format!("its certificate is signed by `{issuer}`, and `{trusted}` is believed here: {step}"),
        None => format!("its certificate is not signed by `{trusted}`, which is believed here: {step}"),
    }
}

fn flaw(error: &CertificateError) -> String {
    match error {
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("expired on {}: make a new one with `strata cert`", day(*not_after))
        }
        CertificateError::Expired => "has expired: make a new one with `strata cert`".to_owned(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("is not valid before {}: check the clocks of both machines", day(*not_before))
        }
        CertificateError::NotValidYet => "is not valid yet: check the clocks of both machines".to_owned(),
        CertificateError::NotValidForNameContext { expected, presented } => {
            let expected = expected.to_str();
            let presented: Vec<&str> = presented.iter().map(|name| shown(name)).collect();
            format!("is for {}, not for {expected}: make one with --host {expected}", presented.join(", "))
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "is not made for this side of a connection: make one with `strata cert node`".to_owned()
        }
        other => format!("is refused: {other}"),
    }
}

/// `DnsName("db1")` is shown as `db1`.
fn shown(name: &str) -> &str {
    name.split_once('(').map_or(name, |(_, rest)| rest.trim_end_matches(')')).trim_matches('"')
}

fn day(time: UnixTime) -> String {
    date(i64::try_from(time.as_secs()).unwrap_or(i64::MAX))
}
