//! What can go wrong between nodes.

/// A message or call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetError {
    /// Nobody answers there. A request was certainly not carried out.
    #[error("unreachable: target=`{target}` detail=`{detail}`")]
    Unreachable {
        /// Node or address.
        target: String,
        /// Why.
        detail: String,
    },
    /// The queue to that node is full. The message was not sent.
    #[error("too much is queued: target=`{target}`")]
    Overflow {
        /// Node.
        target: String,
    },
    /// No answer in time, or the connection broke after sending: the request may have been carried out.
    #[error("no answer: target=`{target}` detail=`{detail}`")]
    NoAnswer {
        /// Node or address.
        target: String,
        /// Why.
        detail: String,
    },
    /// The other side answered that it will not. The request was not carried out.
    #[error("refused: target=`{target}` detail=`{detail}`")]
    Refused {
        /// Node or address.
        target: String,
        /// In its words.
        detail: String,
    },
}
