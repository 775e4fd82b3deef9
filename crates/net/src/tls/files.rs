//! Where certificates lie.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use strata_env::Disk;

use super::TlsError;

/// The files of one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates of the CAs that are believed.
    pub ca: PathBuf,
    /// What this process shows, and perhaps certificates between it and the CA.
    pub certificate: PathBuf,
    /// The secret that belongs to it.
    pub key: PathBuf,
}

/// What is in them.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Contents {
    pub(super) ca: Bytes,
    pub(super) certificate: Bytes,
    pub(super) key: Bytes,
}

impl TlsFiles {
    /// The CA's certificate in a directory that `strata cert` made.
    pub const CA: &'static str = "ca.crt";
    /// The CA's key; it belongs to whoever makes certificates, not to nodes.
    pub const CA_KEY: &'static str = "ca.key";

    /// The files of a node in a directory that `strata cert node` made.
    pub fn of_node(directory: &Path) -> TlsFiles {
        TlsFiles::named(directory, "node")
    }

    /// The files of a client in a directory that `strata cert client` made.
    pub fn of_client(directory: &Path) -> TlsFiles {
        TlsFiles::named(directory, "client")
    }

    fn named(directory: &Path, name: &str) -> TlsFiles {
        TlsFiles {
            ca: directory.join(TlsFiles::CA),
            certificate: directory.join(format!("{name}.crt")),
            key: directory.join(format!("{name}.key")),
        }
    }

    pub(super) async fn read(&self, disk: &Arc<dyn Disk>) -> Result<Contents, TlsError> {
        let read = async |path: &Path| {
            let unreadable =
                |error: std::io::Error| TlsError::Unreadable { path: path.to_owned(), detail: error.to_string() };
            disk.read(path).await.map_err(unreadable)
        };
        Ok(Contents {
            ca: read(&self.ca).await?,
            certificate: read(&self.certificate).await?,
            key: read(&self.key).await?,
        })
    }
}
