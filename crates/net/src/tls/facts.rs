//! What a certificate says.

use std::fmt;

use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use webpki::EndEntityCert;

/// What the owner of a certificate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A node of the cluster.
    Node,
    /// A user of it.
    Client,
}

impl Role {
    /// The URI that a certificate carries.
    pub fn uri(self, name: &str) -> String {
        format!("strata://{}/{name}", self.word())
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Role::Node => "node",
            Role::Client => "client",
        }
    }

    fn of(uri: &str) -> Option<Role> {
        let (word, _) = uri.strip_prefix("strata://")?.split_once('/')?;
        [Role::Node, Role::Client].into_iter().find(|role| role.word() == word)
    }
}

/// What a certificate says about its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Common name of the owner.
    pub name: String,
    /// Its role, if it has one.
    pub role: Option<Role>,
    /// Common name of who signed.
    pub issuer: String,
}

impl Facts {
    /// Reads one certificate. The error is a verb and what follows it.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Result<Facts, String> {
        let certificate = parse(certificate)?;
        let role = certificate.valid_uri_names().find_map(Role::of);
        Ok(Facts { name: common_name(certificate.subject()), role, issuer: common_name(certificate.issuer()) })
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`, signed by `{}`", self.name, self.issuer)
    }
}

/// Whether the one certificate names the other one as what signed it.
pub(super) fn names_as_issuer(certificate: &CertificateDer<'_>, ca: &CertificateDer<'_>) -> Result<bool, String> {
    Ok(parse(certificate)?.issuer() == parse(ca)?.subject())
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<EndEntityCert<'a>, String> {
    EndEntityCert::try_from(certificate).map_err(|error| format!("holds a certificate that cannot be read: {error}"))
}

/// The common name in a distinguished name, for sentences: nothing is decided by it.
fn common_name(name: &[u8]) -> String {
    /// In DER: an object identifier of three bytes, 2.5.4.3. A string follows: its tag, its length, its bytes.
    const COMMON_NAME: [u8; 5] = [0x06, 0x03, 0x55, 0x04, 0x03];
    let after = name.windows(COMMON_NAME.len()).position(|window| window == COMMON_NAME);
    let text = after.and_then(|at| match &name[at + COMMON_NAME.len()..] {
        [_, length @ 0..=0x7f, rest @ ..] => rest.get(..usize::from(*length)),
        _ => None,
    });
    text.map_or_else(|| "no common name".to_owned(), |text| String::from_utf8_lossy(text).into_owned())
}

/// The day of a moment, as people write it.
pub(super) fn date(unix_seconds: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp(unix_seconds);
    time.map_or_else(|_| "a far day".to_owned(), |time| time.date().to_string())
}
