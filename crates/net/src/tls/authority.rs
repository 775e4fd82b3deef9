//! Makes certificates: for development, for tests, and for whoever has no CA of their own.

use std::path::Path;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod,
    KeyUsagePurpose, SanType, SerialNumber,
};
use time::OffsetDateTime;

use super::config::{Own, certificates};
use super::facts::names_as_issuer;
use super::key::Key;
use super::{Role, TlsError};

/// Clocks of two machines may differ: a new certificate is valid from a bit earlier on.
const CLOCK_SLACK: Duration = Duration::from_secs(3600);

/// When a certificate is valid.
#[derive(Clone, Copy, Debug)]
pub struct Validity {
    /// Its beginning, since 1970.
    pub begin: Duration,
    /// Its length.
    pub length: Duration,
}

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub struct Issued {
    /// The certificate.
    pub certificate: String,
    /// The secret.
    pub key: String,
}

/// A CA: one for each cluster.
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, Key>,
}

impl Authority {
    /// A new CA for a cluster of this name.
    pub fn create(cluster: &str, validity: Validity) -> Result<(Authority, Issued), TlsError> {
        let mut params = named(&format!("strata CA of {cluster}"), validity)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = Key::generate().map_err(not_issued)?;
        params.key_identifier_method = KeyIdMethod::PreSpecified(key.identifier());
        params.serial_number = Some(SerialNumber::from(key.identifier()));
        let certificate = params.self_signed(&key).map_err(not_issued)?.pem();
        let issued = Issued { certificate, key: key.to_pem() };
        Ok((Authority::open(&issued)?, issued))
    }

    /// A CA that [`Authority::create`] made. Others have names and rules of which nothing is known here.
    pub fn open(ca: &Issued) -> Result<Authority, TlsError> {
        let (path, key_path) = (Path::new("the certificate of the CA"), Path::new("the key of the CA"));
        let own = Own::read(ca.certificate.as_bytes(), path, ca.key.as_bytes(), key_path)?;
        let key = Key::from_pem(&ca.key).map_err(not_issued)?;
        // Only its name and its key go into what it signs.
        let anytime = Validity { begin: Duration::ZERO, length: Duration::ZERO };
        let mut params = named(&own.facts.name, anytime)?;
        params.key_identifier_method = KeyIdMethod::PreSpecified(key.identifier());
        let issuer = Issuer::new(params, key);
        let authority = Authority { certificate: ca.certificate.clone(), issuer };
        let probe = authority.client("probe", anytime)?;
        let (probe, certificate) =
            (certificates(probe.certificate.as_bytes(), path)?, certificates(ca.certificate.as_bytes(), path)?);
        match names_as_issuer(&probe[0], &certificate[0]) {
            Ok(true) => Ok(authority),
            _ => Err(not_issued("the CA was not made by `strata cert ca`: make certificates where it was made")),
        }
    }

    /// The certificate of the CA, as PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A certificate for a node, which is reached at these names and IP addresses.
    pub fn node(&self, name: &str, hosts: &[String], validity: Validity) -> Result<Issued, TlsError> {
        let usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(&Role::Node.uri(name), name, hosts, usages, validity)
    }

    /// A certificate for a client.
    pub fn client(&self, name: &str, validity: Validity) -> Result<Issued, TlsError> {
        self.issue(&Role::Client.uri(name), name, &[], vec![ExtendedKeyUsagePurpose::ClientAuth], validity)
    }

    /// A certificate for something that is neither a node nor a client.
    #[cfg(test)]
    pub(super) fn other(&self, name: &str, validity: Validity) -> Result<Issued, TlsError> {
        self.issue("strata://thing/other", name, &[], vec![ExtendedKeyUsagePurpose::ClientAuth], validity)
    }

    fn issue(
        &self,
        uri: &str,
        name: &str,
        hosts: &[String],
        usages: Vec<ExtendedKeyUsagePurpose>,
        validity: Validity,
    ) -> Result<Issued, TlsError> {
        let mut params = named(name, validity)?;
        params.subject_alt_names.push(SanType::URI(uri.try_into().map_err(not_issued)?));
        for host in hosts {
            let entry = match host.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(host.as_str().try_into().map_err(not_issued)?),
            };
            params.subject_alt_names.push(entry);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages;
        params.use_authority_key_identifier_extension = true;
        let key = Key::generate().map_err(not_issued)?;
        params.serial_number = Some(SerialNumber::from(key.identifier()));
        let certificate = params.signed_by(&key, &self.issuer).map_err(not_issued)?;
        Ok(Issued { certificate: certificate.pem(), key: key.to_pem() })
    }
}

fn named(name: &str, validity: Validity) -> Result<CertificateParams, TlsError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = moment(validity.begin.saturating_sub(CLOCK_SLACK))?;
    params.not_after = moment(validity.begin.saturating_add(validity.length))?;
    Ok(params)
}

fn moment(since_1970: Duration) -> Result<OffsetDateTime, TlsError> {
    let seconds = i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds).map_err(not_issued)
}

fn not_issued(error: impl std::fmt::Display) -> TlsError {
    TlsError::NotIssued { detail: error.to_string() }
}
