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

/// Begins what a connection says that broke because of TLS. HTTP/2 keeps the text of such an error and not its type.
pub(super) const MARK: &str = "encryption refused: ";

/// The sentence about TLS among an error and its causes: that a handshake failed, or that the other side wants one.
/// `None` when the error has to do with something else.
pub fn sentence(error: &(dyn Error + 'static)) -> Option<String> {
    let (mut cause, mut told) = (Some(error), None);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let inner = inner.and_then(|inner| inner.downcast_ref::<TlsError>());
        if let Some(error) = error.downcast_ref::<TlsError>().or(inner) {
            return Some(error.to_string());
        }
        // HTTP/2 hands on what the other side said as a text of its own.
        let text = error.to_string();
        if text.contains(plain::SENTENCE) {
            return Some(plain::SENTENCE.to_owned());
        }
        if let Some((_, sentence)) = text.split_once(MARK) {
            // Whatever wraps it may put something behind it: the innermost one is the sentence itself.
            told = Some(sentence.to_owned());
        }
        cause = error.source();
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As errors of HTTP/2 look: the text of the cause is kept, its type is not, and what wraps it shows all of it.
    #[derive(Debug, thiserror::Error)]
    #[error("call failed, source: {source:?}")]
    struct Wrapped {
        source: io::Error,
    }

    #[test]
    fn the_sentence_is_found_through_errors_that_lost_its_type() {
        let wrapped = Wrapped { source: io::Error::other(format!("{MARK}it believes another CA")) };
        assert_eq!(sentence(&wrapped).as_deref(), Some("it believes another CA"));
        let typed = Wrapped { source: io::Error::other(TlsError::handshake("it hung up")) };
        assert_eq!(sentence(&typed).as_deref(), Some("it hung up"));
        assert_eq!(sentence(&Wrapped { source: io::Error::other("connection reset") }), None);
    }
}
