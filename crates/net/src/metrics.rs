//! What is counted.

use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};
use strata_types::NodeId;

use crate::Lane;

const SENT_MESSAGES: &str = "strata_net_sent_messages_total";
const SENT_BYTES: &str = "strata_net_sent_bytes_total";
const RECEIVED_MESSAGES: &str = "strata_net_received_messages_total";
const RECEIVED_BYTES: &str = "strata_net_received_bytes_total";
const QUEUE_BYTES: &str = "strata_net_queue_bytes";
const DROPPED_MESSAGES: &str = "strata_net_dropped_messages_total";
const CONNECTS: &str = "strata_net_connects_total";
const CONNECT_FAILURES: &str = "strata_net_connect_failures_total";
const REFUSED_HANDSHAKES: &str = "strata_net_refused_handshakes_total";
const CERTIFICATE_EXPIRES: &str = "strata_tls_certificate_expires_seconds";
const CERTIFICATES_UNUSABLE: &str = "strata_tls_certificates_unusable_total";

/// Names and explains the metrics of this crate to the recorder. Call it once, after the recorder is set.
pub fn describe_metrics() {
    describe_counter!(SENT_MESSAGES, Unit::Count, "Messages handed to connections, by target and lane");
    describe_counter!(SENT_BYTES, Unit::Bytes, "Bytes handed to connections, by target and lane");
    describe_counter!(RECEIVED_MESSAGES, Unit::Count, "Messages received from other nodes, by sender and lane");
    describe_counter!(RECEIVED_BYTES, Unit::Bytes, "Bytes received from other nodes, by sender and lane");
    describe_gauge!(QUEUE_BYTES, Unit::Bytes, "Bytes waiting to be sent, by target and lane");
    describe_counter!(DROPPED_MESSAGES, Unit::Count, "Messages that were not sent or not delivered, by reason");
    describe_counter!(CONNECTS, Unit::Count, "Connections made to other nodes, by target and lane");
    describe_counter!(CONNECT_FAILURES, Unit::Count, "Attempts to connect that failed, by target and lane");
    describe_counter!(REFUSED_HANDSHAKES, Unit::Count, "Connections of other nodes that were refused");
    describe_gauge!(CERTIFICATE_EXPIRES, Unit::Seconds, "End of the certificate of this node, since 1970");
    describe_counter!(CERTIFICATES_UNUSABLE, Unit::Count, "Changed files of certificates that cannot be used");
}

/// Handles of one outgoing lane, made once: looking them up costs more than counting.
pub(crate) struct LaneMetrics {
    pub(crate) sent_messages: Counter,
    pub(crate) sent_bytes: Counter,
    pub(crate) queue_bytes: Gauge,
    peer: String,
    lane: &'static str,
}

impl LaneMetrics {
    pub(crate) fn new(peer: NodeId, lane: Lane) -> LaneMetrics {
        let (peer, lane) = (peer.to_string(), lane.name());
        LaneMetrics {
            sent_messages: counter!(SENT_MESSAGES, "peer" => peer.clone(), "lane" => lane),
            sent_bytes: counter!(SENT_BYTES, "peer" => peer.clone(), "lane" => lane),
            queue_bytes: gauge!(QUEUE_BYTES, "peer" => peer.clone(), "lane" => lane),
            peer,
            lane,
        }
    }

    pub(crate) fn dropped(&self, reason: &'static str, count: u64) {
        if count > 0 {
            counter!(DROPPED_MESSAGES, "reason" => reason, "lane" => self.lane, "peer" => self.peer.clone())
                .increment(count);
        }
    }
}

/// Handles of one incoming lane.
pub(crate) struct ReceiveMetrics {
    pub(crate) messages: Counter,
    pub(crate) bytes: Counter,
    pub(crate) unknown_kind: Counter,
}

impl ReceiveMetrics {
    pub(crate) fn new(peer: NodeId, lane: Lane) -> ReceiveMetrics {
        let (peer, lane) = (peer.to_string(), lane.name());
        ReceiveMetrics {
            messages: counter!(RECEIVED_MESSAGES, "peer" => peer.clone(), "lane" => lane),
            bytes: counter!(RECEIVED_BYTES, "peer" => peer.clone(), "lane" => lane),
            unknown_kind: counter!(DROPPED_MESSAGES, "reason" => "unknown_kind", "lane" => lane, "peer" => peer),
        }
    }
}

/// An outgoing connection was made, or not.
pub(crate) fn connected(peer: NodeId, lane: Lane, success: bool) {
    let name = if success { CONNECTS } else { CONNECT_FAILURES };
    counter!(name, "peer" => peer.to_string(), "lane" => lane.name()).increment(1);
}

/// An incoming connection was refused.
pub(crate) fn refused_handshake() {
    counter!(REFUSED_HANDSHAKES).increment(1);
}

/// The certificate in use is valid until then, in seconds since 1970.
pub(crate) fn certificate_expires(unix_seconds: i64) {
    gauge!(CERTIFICATE_EXPIRES).set(unix_seconds as f64);
}

/// Files changed and cannot be used.
pub(crate) fn certificates_unusable() {
    counter!(CERTIFICATES_UNUSABLE).increment(1);
}
