//! Connections to peer addresses.

use std::error::Error;

use strata_proto::internal::peer_client::PeerClient;
use strata_types::limits::PEER_MESSAGE_BYTES_MAX;
use tonic::transport::{Channel, Endpoint};

use super::shared::Shared;

/// Room for the framing of a batch around its largest message.
pub(super) const GRPC_MESSAGE_BYTES_MAX: usize = PEER_MESSAGE_BYTES_MAX + (1 << 20);
/// HTTP/2 frames of this size: the default of 16 KiB would cut each batch into many.
pub(super) const HTTP2_FRAME_BYTES: u32 = 64 << 10;

/// Connects to a peer port. The error is for people.
pub(super) async fn connect(address: &str, shared: &Shared) -> Result<PeerClient<Channel>, String> {
    let settings = &shared.settings;
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|_| format!("not an address (expected HOST:PORT): `{address}`"))?
        .connect_timeout(settings.connect_timeout)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(settings.keep_alive_interval)
        .keep_alive_timeout(settings.keep_alive_timeout)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(settings.window_bytes)
        .initial_connection_window_size(settings.window_bytes.saturating_mul(2))
        .max_frame_size(HTTP2_FRAME_BYTES);
    // Asked for with each connection: the certificates may be new ones.
    let dialer = shared.tls.as_ref().map(|tls| tls.dialer());
    let channel = super::encrypted::connect(&endpoint, dialer.as_ref()).await.map_err(|error| explain(&error))?;
    Ok(PeerClient::new(channel)
        .max_decoding_message_size(GRPC_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(GRPC_MESSAGE_BYTES_MAX))
}

/// The innermost cause: what wraps it ("transport error") helps nobody.
pub(super) fn explain(error: &(dyn Error + 'static)) -> String {
    if let Some(sentence) = crate::tls::sentence(error) {
        return sentence;
    }
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// What a status says: the sentence of the other side, or the cause if it comes from the connection.
pub(super) fn explain_status(status: &tonic::Status) -> String {
    match (status.source(), status.message()) {
        (Some(source), _) => explain(source),
        (None, "") => status.code().description().to_owned(),
        (None, message) => message.to_owned(),
    }
}
