//! The task that keeps one lane to one node connected.

use std::sync::Arc;
use std::time::Duration;

use strata_types::NodeId;
use tokio::sync::{broadcast, watch};
use tonic::{Code, Status};

use super::connect::{connect, explain_status};
use super::handshake::{Identity, speaks};
use super::queue::LaneQueue;
use super::shared::Shared;
use super::stream::FrameStream;
use crate::{Lane, metrics};

/// A connection that lived this long was a good one: the next attempt is made at once.
const STABLE_AFTER: Duration = Duration::from_secs(1);

pub(super) struct Link {
    pub(super) shared: Arc<Shared>,
    pub(super) node: NodeId,
    pub(super) lane: Lane,
    pub(super) address: watch::Receiver<String>,
    pub(super) queue: Arc<LaneQueue>,
}

/// How an attempt to connect, or a connection, ended.
struct End {
    how: How,
    detail: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// Nobody was there, or nobody answered.
    NotConnected,
    /// The other side does not want to talk to this node.
    Refused,
    /// Frames flowed for this long.
    Broken(Duration),
}

impl Link {
    /// Runs for ever: connects when there is something to send, reports what is lost when the connection breaks, and
    /// pauses, refusing messages at once, while the node is out of reach.
    pub(super) async fn run(mut self) {
        let mut failures = 0;
        loop {
            let generation = self.queue.begin();
            self.queue.filled().await;
            let mut called = self.shared.called.subscribe();
            let end = self.connection(generation).await;
            let unsent = self.queue.close(&end.detail);
            self.shared.lane_failed(self.node, self.lane, &unsent, &end.detail);
            let (node, lane, detail) = (self.node, self.lane.name(), &end.detail);
            match end.how {
                How::Broken(_) => tracing::info!(%node, lane, detail, "lost connection"),
                _ if failures == 0 => tracing::warn!(%node, lane, detail, "cannot connect"),
                _ => tracing::debug!(%node, lane, detail, failures, "still cannot connect"),
            }
            failures = match end.how {
                How::Broken(lived) if lived >= STABLE_AFTER => 0,
                How::Broken(_) | How::NotConnected | How::Refused => failures + 1,
            };
            self.pause(end.how, failures, &mut called).await;
        }
    }

    /// Waits before the next attempt, but not when the node shows that it is there.
    async fn pause(&mut self, how: How, failures: u32, called: &mut broadcast::Receiver<NodeId>) {
        let settings = &self.shared.settings;
        let pause = match (how, failures) {
            (How::Refused, _) => settings.refused_pause,
            (_, 0) => return,
            (_, failures) => settings.backoff_min.saturating_mul(1 << (failures - 1).min(16)).min(settings.backoff_max),
        };
        let pause = self.shared.env.jittered(pause);
        let node = self.node;
        let seen = async {
            // Lagging means that many nodes called: perhaps this one too.
            while matches!(called.recv().await, Ok(caller) if caller != node) {}
        };
        tokio::select! {
            () = self.shared.env.sleep(pause) => {}
            () = seen => {}
            _ = self.address.changed() => {}
        }
    }

    async fn connection(&mut self, generation: u64) -> End {
        let address = self.address.borrow_and_update().clone();
        let Some(identity) = self.shared.identity() else {
            return End { how: How::NotConnected, detail: "this node has no identity yet".into() };
        };
        let opening = Box::pin(self.open(identity, &address, generation));
        let opened = self.shared.env.timeout(self.shared.settings.handshake_timeout, opening).await;
        let opened = opened.unwrap_or_else(|_| {
            Err(End { how: How::NotConnected, detail: format!("no handshake with {address} in time") })
        });
        metrics::connected(self.node, self.lane, opened.is_ok());
        let (client, mut inbound) = match opened {
            Ok(opened) => opened,
            Err(end) => return end,
        };
        tracing::debug!(node = %self.node, lane = self.lane.name(), address, "connected");
        let since = self.shared.env.now();
        self.queue.flow();
        let detail = tokio::select! {
            message = inbound.message() => match message {
                Ok(_) => "the other side closed the connection".to_owned(),
                Err(status) => explain_status(&status),
            },
            _ = self.address.wait_for(|now| *now != address) => format!("the node moved away from {address}"),
        };
        // The connection lives as long as its client.
        drop(client);
        End { how: How::Broken(self.shared.env.now().since(since)), detail }
    }

    async fn open(&self, identity: Identity, address: &str, generation: u64) -> Result<Opened, End> {
        let settings = &self.shared.settings;
        let connecting = connect(address, &self.shared).await;
        let mut client = connecting.map_err(|detail| End { how: How::NotConnected, detail })?;
        let hello = identity.hello(self.node, self.lane);
        let frames = FrameStream::new(hello, self.queue.clone(), generation, settings.batch_bytes_target);
        let response = client.deliver(frames).await.map_err(|status| End::of(&status))?;
        let mut inbound = response.into_inner();
        match inbound.message().await {
            Ok(Some(welcome)) if speaks(welcome.protocol) => Ok((client, inbound)),
            Ok(Some(welcome)) => {
                let detail = format!("the other side wants to speak protocol {}", welcome.protocol);
                Err(End { how: How::Refused, detail })
            }
            Ok(None) => {
                Err(End { how: How::NotConnected, detail: "the other side hung up instead of a welcome".into() })
            }
            Err(status) => Err(End::of(&status)),
        }
    }
}

impl End {
    /// A handshake that failed. The server refuses with this code only what it will refuse again.
    fn of(status: &Status) -> End {
        let how = if status.code() == Code::FailedPrecondition { How::Refused } else { How::NotConnected };
        End { how, detail: explain_status(status) }
    }
}

type Opened = (
    strata_proto::internal::peer_client::PeerClient<tonic::transport::Channel>,
    tonic::Streaming<strata_proto::internal::Welcome>,
);
