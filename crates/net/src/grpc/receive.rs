//! Incoming frames of one lane of one node.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use strata_proto::internal::{DeliverRequest, Frame};
use strata_types::{GroupId, NodeId};

use super::handshake::Accepted;
use super::shared::Shared;
use crate::metrics::ReceiveMetrics;
use crate::{Lane, Message, MessageKind};

/// The latest session of each incoming lane.
///
/// A node that reconnects does not wait for us to notice that its old connection is dead. Frames that still sit in the
/// old one must not be delivered after those of the new one: only the latest session delivers.
#[derive(Default)]
pub(super) struct Sessions {
    latest: Mutex<BTreeMap<(NodeId, Lane), Latest>>,
}

/// Number of the latest session of one lane.
type Latest = Arc<Mutex<u64>>;

/// One accepted stream.
pub(super) struct Session {
    shared: Arc<Shared>,
    own: NodeId,
    from: NodeId,
    lane: Lane,
    number: u64,
    latest: Latest,
    metrics: ReceiveMetrics,
}

impl Sessions {
    /// Starts a session, which ends the one before it.
    pub(super) fn start(&self, shared: &Arc<Shared>, own: NodeId, accepted: Accepted) -> Session {
        let Accepted { from, lane, .. } = accepted;
        let latest = self.latest.lock().entry((from, lane)).or_default().clone();
        let number = {
            let mut latest = latest.lock();
            *latest += 1;
            *latest
        };
        Session { shared: shared.clone(), own, from, lane, number, latest, metrics: ReceiveMetrics::new(from, lane) }
    }
}

impl Session {
    /// Delivers a batch. `false` when a newer session has begun.
    pub(super) fn deliver(&self, batch: DeliverRequest) -> bool {
        let (count, bytes) = (batch.frames.len(), batch.frames.iter().map(|frame| frame.body.len()).sum::<usize>());
        // Held while delivering, so that a newer session waits for the end of this batch.
        let latest = self.latest.lock();
        if *latest != self.number {
            return false;
        }
        for frame in batch.frames {
            self.deliver_frame(frame);
        }
        drop(latest);
        self.metrics.messages.increment(count as u64);
        self.metrics.bytes.increment(bytes as u64);
        true
    }

    /// The connection broke. Answers that were to come this way are lost, so nobody should wait for them; unless a
    /// newer session brings them.
    pub(super) fn broke(&self, detail: &str) {
        if *self.latest.lock() == self.number {
            self.shared.lane_failed(self.from, self.lane, &[], detail);
        }
    }

    fn deliver_frame(&self, frame: Frame) {
        let Some(kind) = MessageKind::from_number(frame.kind) else {
            // Of a newer release. Its sender learns from its deadline; the protocol range is there to prevent it.
            self.metrics.unknown_kind.increment(1);
            return;
        };
        let message = Message {
            from: self.from,
            to: self.own,
            group: GroupId(frame.group),
            kind,
            correlation: frame.correlation,
            body: frame.body,
        };
        self.shared.deliver(self.lane, message);
    }
}
