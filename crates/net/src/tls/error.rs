//! Why there is no encrypted connection.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use super::plain;

/// Certificates cannot be used, or a handshake failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{} cannot be read: {detail}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        detail: String,
    },
    /// A file holds something else than it should.
    #[error("{} {detail}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// A verb and what follows it.
        detail: String,
    },
    /// The two sides do not come together. One sentence about the other side, with a next step.
    #[error("{detail}")]
    Handshake {
        /// The sentence.
        detail: String,
    },
    /// No certificate can be made.
    #[error("no certificate can be made: {detail}")]
    NotIssued {
        /// Why.
        detail: String,
    },
}

impl TlsError {
    pub(super) fn handshake(detail: impl Into<String>) -> TlsError {
        TlsError::Handshake { detail: detail.into() }
    }
}

/// The sentence about TLS among an error and its causes: that a handshake failed, or that the other side wants one.
/// `None` when the error has to do with something else.
pub fn sentence(error: &(dyn Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let inner = inner.and_then(|inner| inner.downcast_ref::<TlsError>());
        if let Some(error) = error.downcast_ref::<TlsError>().or(inner) {
            return Some(error.to_string());
        }
        // HTTP/2 hands on what the other side said as a text of its own.
        if error.to_string().contains(plain::SENTENCE) {
            return Some(plain::SENTENCE.to_owned());
        }
        cause = error.source();
    }
    None
}
