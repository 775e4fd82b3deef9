//! One batch on its way to a node.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use strata_proto::v1;
use strata_router::LinkError;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

const WAITING: u8 = 0;
const SENT: u8 = 1;
const GIVEN_UP: u8 = 2;

pub(super) type CallResult = Result<v1::ShardReply, LinkError>;

/// How far a call got: decides between "not sent" and "unknown" when its caller stops waiting (CLIENT-1).
#[derive(Clone, Debug, Default)]
pub(super) struct Progress(Arc<AtomicU8>);

impl Progress {
    /// The call is about to be written. `false`: its caller gave up, so it must not be.
    fn send(&self) -> bool {
        self.0.compare_exchange(WAITING, SENT, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// The caller stops waiting. `true`: it was not sent and will not be.
    pub(super) fn give_up(&self) -> bool {
        self.0.compare_exchange(WAITING, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// A call that has not been sent. Dropped, it answers that.
pub(super) struct Call {
    pub(super) batch: v1::ShardBatch,
    progress: Progress,
    reply: Option<Waiting>,
}

/// Who waits for a reply, and the room that the call takes until then.
pub(super) struct Waiting {
    reply: oneshot::Sender<CallResult>,
    _room: OwnedSemaphorePermit,
}

impl Call {
    /// A call, and where its reply comes.
    pub(super) fn new(
        batch: v1::ShardBatch,
        room: OwnedSemaphorePermit,
    ) -> (Call, Progress, oneshot::Receiver<CallResult>) {
        let (reply, receiver) = oneshot::channel();
        let progress = Progress::default();
        let call = Call { batch, progress: progress.clone(), reply: Some(Waiting { reply, _room: room }) };
        (call, progress, receiver)
    }

    /// Marks it as sent. `None` when its caller gave up.
    pub(super) fn send(mut self) -> Option<(v1::ShardBatch, Waiting)> {
        let is_wanted = self.progress.send();
        let waiting = self.reply.take()?;
        is_wanted.then(|| (std::mem::take(&mut self.batch), waiting))
    }

    /// Answers that it was not sent, and why.
    pub(super) fn refuse(mut self, detail: &str) {
        self.answer_not_sent(detail);
    }

    fn answer_not_sent(&mut self, detail: &str) {
        if let Some(waiting) = self.reply.take() {
            waiting.answer(Err(LinkError::NotSent { detail: detail.to_owned() }));
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.answer_not_sent("the connection broke before the batch was sent");
    }
}

impl Waiting {
    pub(super) fn answer(self, result: CallResult) {
        // A caller that gave up is nobody's error.
        let _ = self.reply.send(result);
    }
}
