//! What clients must show.

/// Whether the client port asks who a client is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// Whoever believes the node's CA is let in, without a name.
    #[default]
    None,
    /// Only who shows a certificate of the node's CA, made for a client or a node (TLS-4).
    Required,
}
