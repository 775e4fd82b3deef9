//! Whom a command believes, and what it shows.

use std::path::{Path, PathBuf};

use clap::Args;
use strata_client::ClientTls;

use crate::failure::Failure;

/// How connections are encrypted. Without any of these they are not.
#[derive(Clone, Debug, Default, Args)]
pub struct TlsArgs {
    /// Encrypt with what `strata cert` wrote here: believe ca.crt, show client.crt if there is one (nodes with
    /// --require-client-cert let in nobody without)
    #[arg(long, global = true, value_name = "DIR", env = "STRATA_CERTS", help_heading = "Encryption")]
    pub certs: Option<PathBuf>,
    /// Encrypt, and believe nodes that these CAs have signed [default: ca.crt in --certs]
    #[arg(
        long = "ca",
        alias = "tls-ca",
        global = true,
        value_name = "FILE",
        env = "STRATA_TLS_CA",
        help_heading = "Encryption"
    )]
    pub tls_ca: Option<PathBuf>,
    /// Certificate to show [default: client.crt in --certs, if it is there]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Encryption")]
    pub tls_cert: Option<PathBuf>,
    /// Key of that certificate [default: client.key in --certs]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Encryption")]
    pub tls_key: Option<PathBuf>,
    /// Name that the certificates of nodes must have, if it is not the one in --addr
    #[arg(long, global = true, value_name = "NAME", help_heading = "Encryption")]
    pub server_name: Option<String>,
}

impl TlsArgs {
    /// Reads the files. `None` when nothing is to be encrypted.
    pub fn read(&self) -> Result<Option<ClientTls>, Failure> {
        let ca = self.tls_ca.clone().or_else(|| Some(self.certs.as_ref()?.join("ca.crt")));
        let Some(ca) = ca else { return self.nothing_else() };
        let mut tls = ClientTls::new(read(&ca)?);
        if let Some((certificate, key)) = self.own()? {
            tls = tls.certificate(read(&certificate)?, read(&key)?);
        }
        if let Some(name) = &self.server_name {
            tls = tls.server_name(name);
        }
        Ok(Some(tls))
    }

    fn own(&self) -> Result<Option<(PathBuf, PathBuf)>, Failure> {
        let inside = |name: &str| Some(self.certs.as_ref()?.join(name)).filter(|path| path.exists());
        let certificate = self.tls_cert.clone().or_else(|| inside("client.crt"));
        let key = self.tls_key.clone().or_else(|| inside("client.key"));
        match (certificate, key) {
            (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
            (None, None) => Ok(None),
            (Some(_), None) => Err(Failure::usage("a certificate needs its key").hint("name it with --tls-key FILE")),
            (None, Some(_)) => Err(Failure::usage("a key needs its certificate").hint("name it with --tls-cert FILE")),
        }
    }

    /// Half of what encryption needs is no wish for plain text.
    fn nothing_else(&self) -> Result<Option<ClientTls>, Failure> {
        if self.tls_cert.is_none() && self.tls_key.is_none() && self.server_name.is_none() {
            return Ok(None);
        }
        Err(Failure::usage("encryption needs to know whom to believe")
            .hint("name the CA with --ca FILE or --certs DIR"))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| {
        Failure::new(format!("{} cannot be read: {error}", path.display()))
            .hint("--certs names a directory that `strata cert` wrote, --ca the certificate of the CA")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_a_wish_is_an_error_and_none_is_plain_text() {
        assert!(TlsArgs::default().read().expect("nothing").is_none());
        let named = TlsArgs { server_name: Some("db1".to_owned()), ..TlsArgs::default() };
        assert!(named.read().expect_err("no CA").to_string().contains("--ca FILE"));
        let place = tempfile::tempdir().expect("a temporary directory");
        let certs = TlsArgs { certs: Some(place.path().to_owned()), ..TlsArgs::default() };
        assert!(certs.read().expect_err("nothing there").to_string().contains("ca.crt cannot be read"));
        std::fs::write(place.path().join("ca.crt"), "x").expect("writable");
        assert!(certs.read().expect("a CA is enough").is_some());
        let half = TlsArgs { tls_cert: Some("c".into()), ..certs };
        assert!(half.read().expect_err("no key").to_string().contains("--tls-key"));
    }
}
