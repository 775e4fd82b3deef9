//! Encryption, and who may talk to whom.
//!
//! # Problem
//! Nodes trust each other with all data: whoever reaches the peer port as a node can read and change everything. Cables,
//! switches and neighbours in a data centre can listen. And certificates expire, so they must be replaced while the node
//! runs.
//!
//! # Model
//! ```text
//!   ca.crt    "strata CA of prod"      one CA is one cluster
//!     |-- node.crt    URI strata://node/db1,   names and addresses of the machine, may serve and dial
//!     +-- client.crt  URI strata://client/ada, may dial
//!
//!   peer port    TLS 1.3, both sides show certificates of nodes; the dialed one's is for the name that was dialed
//!   client port  TLS 1.2 or 1.3, the node shows its certificate; what is spoken inside is sniffed as without TLS.
//!                With `ClientAuth::Required` the client shows one as well, of a client or a node
//! ```
//! [`NodeTls`] holds what a node shows and whom it believes. It reads its files again every few seconds and swaps the
//! whole set at once; connections keep what they began with. [`ClientTls`] is the side of a client. [`Authority`] makes
//! certificates, for `strata cert` and for tests.
//!
//! A handshake that fails ends as one sentence with its cause and a next step ([`TlsError`]), on both sides: the one that
//! refuses knows the cause, and the other one learns it from the alert and from what it knows about its own certificate.
//! Somebody who speaks no TLS at all is told so in the protocol that it seems to speak.
//!
//! # Invariants
//! - TLS-1: the peer port lets in only who shows a valid certificate of a node, signed by the CA of this node.
//! - TLS-2: a node speaks only with a peer that shows the same, for the name that was dialed. What is said to a peer is
//!   never sent without TLS once certificates are configured.
//! - TLS-3: a set of files that cannot be used never replaces one that can.
//! - TLS-4: with [`ClientAuth::Required`] the client port lets in only who shows a valid certificate of a client or a node,
//!   signed by the CA of this node; everything that is spoken there is spoken behind that.
//!
//! # Left out
//! Revocation: replace the CA, or let certificates live shortly. What a client may do does not depend on its name: whoever
//! is let in may do everything. Where certificates are asked for, sessions are not resumed: that would skip the look at the
//! certificate.

mod accept;
mod authority;
mod client;
mod client_auth;
mod config;
mod dialer;
mod error;
mod explain;
mod facts;
mod files;
mod key;
mod node;
mod plain;
mod stream;
mod verify;

pub use authority::{Authority, Issued, Validity};
pub use client::ClientTls;
pub use client_auth::ClientAuth;
pub use dialer::Dialer;
pub use error::{TlsError, sentence};
pub use facts::{Facts, Role};
pub use files::TlsFiles;
pub use node::NodeTls;
pub use stream::TlsStream;

#[cfg(test)]
mod tests;
