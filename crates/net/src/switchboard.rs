//! Gives arriving messages to their handlers.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::RwLock;
use strata_types::{GroupId, NodeId};

use crate::{Caller, Inbox, Lane, Message, MessageKind, NetError, Transport};

/// Carries out requests of one kind.
pub trait Handler: Send + Sync {
    /// A request arrived. Called in order of arrival within a lane and sender. Must not block: what takes time goes on
    /// elsewhere and answers through `replier`.
    fn handle(&self, from: NodeId, group: GroupId, body: Bytes, replier: Replier);
}

/// Answers introductions: messages of nodes that may have no identity yet.
#[async_trait]
pub trait Introductions: Send + Sync {
    /// An introduction arrived. The error is one sentence for the operator of the other node.
    async fn introduce(&self, body: Bytes) -> Result<Bytes, String>;
}

/// The way back to the sender of a request.
///
/// Dropped without an answer, it tells the sender that none will come; the request counts as one of which nobody can
/// tell whether it was carried out.
#[must_use = "a dropped replier tells the sender that nobody knows what became of the request"]
pub struct Replier {
    transport: Arc<dyn Transport>,
    lane: Lane,
    /// The answer, but for kind and body. Its correlation is zero when none is wanted or one was given.
    envelope: Message,
}

impl Replier {
    /// Whether anybody waits for the answer. Nobody does for what was only told.
    pub fn is_awaited(&self) -> bool {
        self.envelope.correlation != 0
    }

    /// Answers. An error is a refusal, in one sentence: only for requests that were not carried out.
    pub fn reply(mut self, answer: Result<Bytes, String>) {
        match answer {
            Ok(body) => self.send(MessageKind::Reply, body),
            Err(sentence) => self.send(MessageKind::Refusal, sentence.into()),
        }
    }

    fn send(&mut self, kind: MessageKind, body: Bytes) {
        let correlation = std::mem::take(&mut self.envelope.correlation);
        if correlation == 0 {
            return;
        }
        let message = Message { kind, body, correlation, ..self.envelope.clone() };
        if let Err(error) = self.transport.send(self.lane, message) {
            tracing::debug!(%error, to = %self.envelope.to, "an answer could not be sent");
            if let NetError::Refused { detail, .. } = error {
                // Too large, say. The sender should not have to wait for its deadline to learn that.
                let notice =
                    Message { kind: MessageKind::Abandoned, body: detail.into(), correlation, ..self.envelope.clone() };
                let _ = self.transport.send(self.lane, notice);
            }
        }
    }
}

impl Drop for Replier {
    fn drop(&mut self) {
        self.send(MessageKind::Abandoned, Bytes::from_static(b"the request was given up"));
    }
}

/// The [`Inbox`] of a node: answers end calls, requests go to the handler of their kind.
pub struct Switchboard {
    caller: Arc<Caller>,
    transport: Arc<dyn Transport>,
    handlers: RwLock<BTreeMap<MessageKind, Arc<dyn Handler>>>,
    introductions: RwLock<Option<Arc<dyn Introductions>>>,
}

impl Switchboard {
    /// A switchboard without handlers: it refuses every request.
    pub fn new(caller: Arc<Caller>, transport: Arc<dyn Transport>) -> Arc<Switchboard> {
        Arc::new(Switchboard { caller, transport, handlers: RwLock::default(), introductions: RwLock::default() })
    }

    /// Sets the handler of a kind. The latest one wins.
    pub fn set_handler(&self, kind: MessageKind, handler: Arc<dyn Handler>) {
        assert!(!kind.is_answer(), "answers have no handler");
        self.handlers.write().insert(kind, handler);
    }

    /// Sets who answers introductions.
    pub fn set_introductions(&self, introductions: Arc<dyn Introductions>) {
        *self.introductions.write() = Some(introductions);
    }
}

#[async_trait]
impl Inbox for Switchboard {
    fn deliver(&self, lane: Lane, message: Message) {
        if message.kind.is_answer() {
            self.caller.complete(message);
            return;
        }
        let handler = self.handlers.read().get(&message.kind).cloned();
        let Message { from, to, group, kind, correlation, body } = message;
        let envelope = Message { from: to, to: from, group, kind, correlation, body: Bytes::new() };
        let replier = Replier { transport: self.transport.clone(), lane, envelope };
        match handler {
            Some(handler) => handler.handle(from, group, body, replier),
            None => replier.reply(Err(format!("node {to} is not ready for messages of kind {kind:?}"))),
        }
    }

    async fn introduce(&self, body: Bytes) -> Result<Bytes, NetError> {
        let refused = |detail| NetError::Refused { target: "this node".into(), detail };
        let introductions = self.introductions.read().clone();
        let introductions = introductions.ok_or_else(|| refused("this node is starting".into()))?;
        introductions.introduce(body).await.map_err(refused)
    }

    fn lane_failed(&self, node: NodeId, lane: Lane, unsent: &[u64], detail: &str) {
        self.caller.fail_unsent(node, unsent, detail);
        self.caller.fail_calls_to(node, lane, detail);
    }
}
