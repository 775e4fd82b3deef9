//! Calls made out of messages.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use strata_env::{Env, Mono};
use strata_types::{GroupId, NodeId};
use tokio::sync::oneshot;

use crate::{Lane, Message, MessageKind, NetError, Transport};

/// The first number of a process is random below this, so that an answer to a call of the process before it is not
/// taken for one of ours; small enough to stay short on the wire.
const FIRST_CORRELATION_BELOW: u64 = 1 << 40;

/// Makes calls: numbered requests, each of which ends with an answer, an error or its deadline.
///
/// # Invariants
/// - CALL-1: a call is in the table from before its message is handed to the transport until it ended; an answer that
///   finds no entry is dropped. So every call ends once.
/// - CALL-2: a call fails as [`NetError::Unreachable`], [`NetError::Overflow`] or [`NetError::Refused`] only if it was
///   not carried out.
pub struct Caller {
    env: Env,
    transport: Arc<dyn Transport>,
    node: OnceLock<NodeId>,
    table: Mutex<CallTable>,
}

struct CallTable {
    next: u64,
    open: BTreeMap<u64, OpenCall>,
}

struct OpenCall {
    to: NodeId,
    lane: Lane,
    answer: oneshot::Sender<Result<Bytes, NetError>>,
}

impl Caller {
    /// A caller that sends through `transport`.
    pub fn new(env: Env, transport: Arc<dyn Transport>) -> Arc<Caller> {
        let next = 1 + env.random_below(FIRST_CORRELATION_BELOW);
        let table = Mutex::new(CallTable { next, open: BTreeMap::new() });
        Arc::new(Caller { env, transport, node: OnceLock::new(), table })
    }

    /// Tells who this node is. Calls before this are refused. Only the first call counts.
    pub fn identify(&self, node: NodeId) {
        let first = *self.node.get_or_init(|| node);
        assert_eq!(first, node, "a node never changes its id");
    }

    /// Sends a request and returns a future of its answer. The message is handed to the transport before this
    /// returns, so calls keep their order. Dropping the future forgets the call; the deadline counts from now.
    pub fn call(
        self: &Arc<Self>,
        to: NodeId,
        lane: Lane,
        group: GroupId,
        kind: MessageKind,
        body: Bytes,
        deadline: Duration,
    ) -> impl Future<Output = Result<Bytes, NetError>> + Send + 'static + use<> {
        let ticket = self.start(to, lane, group, kind, body);
        let deadline = (deadline, self.env.now() + deadline);
        async move { ticket?.wait(deadline).await }
    }

    /// Sends something that needs no answer. Whether it arrives nobody learns.
    pub fn tell(&self, to: NodeId, lane: Lane, group: GroupId, kind: MessageKind, body: Bytes) {
        let Some(from) = self.node.get().copied() else { return };
        if let Err(error) = self.transport.send(lane, Message { from, to, group, kind, correlation: 0, body }) {
            tracing::debug!(%error, %to, "something was not told");
        }
    }

    /// Ends the call that an answer belongs to.
    pub fn complete(&self, message: Message) {
        let Some(call) = self.table.lock().take(message.correlation, message.from) else { return };
        let words = || String::from_utf8_lossy(&message.body).into_owned();
        let target = || message.from.to_string();
        let answer = match message.kind {
            MessageKind::Refusal => Err(NetError::Refused { target: target(), detail: words() }),
            MessageKind::Abandoned => Err(NetError::NoAnswer { target: target(), detail: words() }),
            _ => Ok(message.body),
        };
        // The caller may have given up in this moment.
        let _ = call.answer.send(answer);
    }

    /// Ends calls whose messages certainly did not leave this node (CALL-2).
    pub fn fail_unsent(&self, node: NodeId, correlations: &[u64], detail: &str) {
        let calls: Vec<_> = {
            let mut table = self.table.lock();
            correlations.iter().filter_map(|&correlation| table.take(correlation, node)).collect()
        };
        for call in calls {
            let _ =
                call.answer.send(Err(NetError::Unreachable { target: node.to_string(), detail: detail.to_owned() }));
        }
    }

    /// Ends all calls to a node in a lane: their connection broke, and an answer may never come.
    pub fn fail_calls_to(&self, node: NodeId, lane: Lane, detail: &str) {
        let calls: Vec<_> =
            self.table.lock().open.extract_if(.., |_, call| call.to == node && call.lane == lane).collect();
        for (_, call) in calls {
            let _ = call.answer.send(Err(NetError::NoAnswer { target: node.to_string(), detail: detail.to_owned() }));
        }
    }

    /// Calls that have not ended.
    pub fn open_calls(&self) -> usize {
        self.table.lock().open.len()
    }

    fn start(
        self: &Arc<Self>,
        to: NodeId,
        lane: Lane,
        group: GroupId,
        kind: MessageKind,
        body: Bytes,
    ) -> Result<Ticket, NetError> {
        let Some(&from) = self.node.get() else {
            return Err(NetError::Unreachable {
                target: to.to_string(),
                detail: "this node has no identity yet".into(),
            });
        };
        let (answer, receiver) = oneshot::channel();
        let correlation = self.table.lock().insert(OpenCall { to, lane, answer });
        // CALL-1: in the table before it leaves. From here on the ticket's drop takes the call out of the table.
        let ticket = Ticket { caller: self.clone(), correlation, to, receiver };
        self.transport.send(lane, Message { from, to, group, kind, correlation, body })?;
        Ok(ticket)
    }
}

impl CallTable {
    fn insert(&mut self, call: OpenCall) -> u64 {
        let correlation = self.next;
        self.next += 1;
        self.open.insert(correlation, call);
        correlation
    }

    /// Takes a call out, if it was made to this node.
    fn take(&mut self, correlation: u64, to: NodeId) -> Option<OpenCall> {
        self.open.get(&correlation).filter(|call| call.to == to)?;
        self.open.remove(&correlation)
    }
}

/// The caller's end of an open call.
struct Ticket {
    caller: Arc<Caller>,
    correlation: u64,
    to: NodeId,
    receiver: oneshot::Receiver<Result<Bytes, NetError>>,
}

impl Ticket {
    /// NET-3: an answer, an error or the deadline, whichever comes first.
    async fn wait(mut self, (deadline, end): (Duration, Mono)) -> Result<Bytes, NetError> {
        let env = self.caller.env.clone();
        let left = end.since(env.now());
        let no_answer = |detail: String| NetError::NoAnswer { target: self.to.to_string(), detail };
        match env.timeout(left, &mut self.receiver).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(no_answer("the call was forgotten".into())),
            Err(_) => Err(no_answer(format!("nothing came within {deadline:?}"))),
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.caller.table.lock().open.remove(&self.correlation);
    }
}
