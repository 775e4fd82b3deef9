//! The SDK's stream: many batches a message in, many replies a message out.
//!
//! ```text
//!   messages --> [reader] -- one task a batch --> executor --> replies --> [Replies] --> messages
//!                   |  waits for room: of the stream, of all streams          |
//!                   +<------------- room, given back when a reply leaves -----+
//! ```
//! The reader stops taking messages while the stream holds too much, HTTP/2 flow control then stops the client. So it
//! does while all streams of the connection, or of the node, hold too much together: see `stream_room.rs`.
//! [`Replies`] is polled for one message more than the client reads, and not while the server holds too much that its
//! clients have not read. So a client that sends without reading ends up waiting for itself.
//!
//! A node that stops drops the reader between two batches, answers what was taken, and says with its last message that
//! this was all: whatever else the client sent was not even begun, and may be done elsewhere.

mod replies;

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::future::select;
use metrics::Counter;
use strata_env::Env;
use strata_proto::v1::kv_stream_reply::Numbered;
use strata_proto::{ShardAnswer, ShardCall, v1};
use strata_router::{RESULT_OVERHEAD, ShardBatch, ShardExecutor, ShardReply, fit_results};
use strata_types::limits::{GRPC_MESSAGE_BYTES_MAX, REQUEST_DEADLINE_DEFAULT, SCAN_PAGE_BYTES_MAX};
use strata_types::{Error, ErrorCode, Operation, Request, ShardMap};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tonic::{Status, Streaming};

use crate::stream_room::StreamRoom;

pub(crate) use replies::Replies;

/// Bytes of requests of one stream that are under way or whose replies are unread: two maximal messages, so that one
/// is carried out while the next arrives.
const REQUEST_BYTES_MAX: u32 = 2 * GRPC_MESSAGE_BYTES_MAX as u32;
/// Batches of one stream under way; each is a task.
const BATCHES_MAX: usize = 1024;
/// Bytes of replies that wait for the client to read. Past it reads are answered with "ask again" instead of data.
const REPLY_BYTES_MAX: usize = 2 * GRPC_MESSAGE_BYTES_MAX;
/// No message of replies exceeds this; leaves room for framing below the limit of the protocol.
const MESSAGE_BYTES_MAX: usize = GRPC_MESSAGE_BYTES_MAX - 512 * 1024;
/// What a batch counts beside its keys and values.
const BATCH_OVERHEAD: usize = 128;

/// What the parts of one stream share. The rooms bound what it holds (GRPC-2).
struct Shared {
    env: Env,
    executor: Arc<dyn ShardExecutor>,
    /// What it shares with other streams.
    room: StreamRoom,
    request_room: Arc<Semaphore>,
    batch_room: Arc<Semaphore>,
    reply_bytes: AtomicUsize,
    /// Batches that were taken and whose replies have not left.
    owed: AtomicUsize,
    /// Whether the reader stopped although the client had not ended the stream.
    is_ending: AtomicBool,
    batches: Counter,
    operations: Counter,
}

/// A batch that was taken, until its reply has left or nobody wants it any more.
struct Taken {
    shared: Arc<Shared>,
    /// What it holds of the room that streams share.
    bytes: usize,
    _own_room: (OwnedSemaphorePermit, OwnedSemaphorePermit),
}

/// A reply on its way out, with the room that it and its requests take.
struct Outgoing {
    reply: Numbered,
    bytes: usize,
    _taken: Taken,
}

/// Serves one stream, until its client ends it or `ending` becomes true.
pub(crate) fn serve(
    env: &Env,
    executor: Arc<dyn ShardExecutor>,
    room: StreamRoom,
    inbound: Streaming<v1::KvStreamRequest>,
    ending: watch::Receiver<bool>,
) -> Replies {
    let shared = Arc::new(Shared {
        env: env.clone(),
        executor,
        room,
        request_room: Arc::new(Semaphore::new(REQUEST_BYTES_MAX as usize)),
        batch_room: Arc::new(Semaphore::new(BATCHES_MAX)),
        reply_bytes: AtomicUsize::new(0),
        owed: AtomicUsize::new(0),
        is_ending: AtomicBool::new(false),
        batches: metrics::counter!("strata_grpc_stream_batches_total"),
        operations: metrics::counter!("strata_grpc_stream_operations_total"),
    });
    // The room of batches bounds what is in this queue.
    let (sender, queue) = mpsc::unbounded_channel();
    let reader = env.spawn("grpc-stream-reader", read(shared.clone(), inbound, ending, sender));
    Replies::new(shared, queue, reader)
}

async fn read(
    shared: Arc<Shared>,
    inbound: Streaming<v1::KvStreamRequest>,
    mut ending: watch::Receiver<bool>,
    sender: mpsc::UnboundedSender<Result<Outgoing, Status>>,
) {
    let taking = pin!(take(&shared, inbound, sender));
    let ended = pin!(async {
        // Without anybody who could end it, it goes on.
        if ending.wait_for(|is_ending| *is_ending).await.is_err() {
            pending::<()>().await;
        }
        shared.is_ending.store(true, Ordering::Release);
    });
    // What was taken has a task of its own, and the sender there; what is dropped here was not.
    select(ended, taking).await;
}

/// Takes batches until the client ends the stream.
async fn take(
    shared: &Arc<Shared>,
    mut inbound: Streaming<v1::KvStreamRequest>,
    sender: mpsc::UnboundedSender<Result<Outgoing, Status>>,
) {
    let env = shared.env.clone();
    loop {
        let message = match inbound.message().await {
            Ok(Some(message)) => message,
            Ok(None) => return,
            Err(status) => {
                // A receiver that is gone needs no explanation.
                let _ = sender.send(Err(status));
                return;
            }
        };
        for v1::kv_stream_request::Numbered { number, batch } in message.batches {
            let call = ShardCall::try_from(batch.unwrap_or_default());
            let (bytes, bytes_expected) = call.as_ref().map_or_else(|_| weight(&[]), |call| weight(&call.requests));
            let expected = u32::try_from(bytes_expected).unwrap_or(u32::MAX).min(REQUEST_BYTES_MAX);
            let Ok(request_room) = shared.request_room.clone().acquire_many_owned(expected).await else { return };
            let Ok(batch_room) = shared.batch_room.clone().acquire_owned().await else { return };
            // Last, right before it is taken: so others lose nothing while this stream waits for itself.
            shared.room.wait().await;
            let mut taken = Taken::new(shared.clone(), bytes, (request_room, batch_room));
            let sender = sender.clone();
            let run = async move {
                let answer = match call {
                    Ok(call) => taken.shared.execute(call).await,
                    Err(error) => ShardAnswer::Failed(error),
                };
                let (reply, bytes) = taken.fit(answer);
                let reply = Numbered { number, reply: Some(reply) };
                let _ = sender.send(Ok(Outgoing { reply, bytes, _taken: taken }));
            };
            env.spawn("grpc-stream-batch", run);
        }
    }
}

impl Shared {
    async fn execute(&self, call: ShardCall) -> ShardAnswer {
        self.batches.increment(1);
        self.operations.increment(call.requests.len() as u64);
        let deadline = call.deadline.unwrap_or(REQUEST_DEADLINE_DEFAULT);
        let batch = ShardBatch { epoch: call.epoch, shard: call.shard, requests: Arc::new(call.requests) };
        match self.env.timeout(deadline, self.executor.execute(batch)).await {
            Ok(ShardReply::Done { results, time }) => ShardAnswer::Done { results, time },
            Ok(ShardReply::NotLeader { leader }) => ShardAnswer::NotLeader { leader },
            Ok(ShardReply::StaleRoute(map)) => ShardAnswer::StaleRoute(Box::new(map.as_ref().clone())),
            Err(_) => {
                let message = format!("the shard did not finish the batch within {deadline:?}");
                ShardAnswer::Failed(Error::unknown(ErrorCode::DeadlineExceeded, message))
            }
        }
    }
}

impl Taken {
    fn new(shared: Arc<Shared>, bytes: usize, own_room: (OwnedSemaphorePermit, OwnedSemaphorePermit)) -> Taken {
        shared.owed.fetch_add(1, Ordering::AcqRel);
        shared.room.take(bytes);
        Taken { shared, bytes, _own_room: own_room }
    }

    /// The reply as a message, and the bytes it counts for until it leaves. Where there is no room for it, what changed
    /// nothing is withheld, and the client asks again.
    fn fit(&mut self, mut answer: ShardAnswer) -> (v1::ShardReply, usize) {
        let shared = &self.shared;
        let unread = shared.reply_bytes.load(Ordering::Relaxed);
        let own = REPLY_BYTES_MAX.saturating_sub(unread).min(MESSAGE_BYTES_MAX - BATCH_OVERHEAD);
        let room = own.min(shared.room.left_for_reply(self.bytes));
        if matches!(&answer, ShardAnswer::StaleRoute(map) if map_weight(map) > room) {
            answer = ShardAnswer::Failed(Error::without_room());
        }
        let bytes = BATCH_OVERHEAD
            + match &mut answer {
                ShardAnswer::Done { results, .. } => fit_results(results, room),
                ShardAnswer::NotLeader { .. } => 0,
                ShardAnswer::StaleRoute(map) => map_weight(map),
                ShardAnswer::Failed(error) => error.message.len(),
            };
        shared.reply_bytes.fetch_add(bytes, Ordering::Relaxed);
        shared.room.take(bytes);
        self.bytes += bytes;
        (answer.into(), bytes)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.shared.room.give_back(self.bytes);
    }
}

/// What requests hold, and what they will when they are answered: a page of a scan is asked for in few bytes but takes
/// many.
fn weight(requests: &[Request]) -> (usize, usize) {
    let is_scan = |request: &&Request| matches!(request.operation, Operation::Scan { .. });
    let pages = requests.iter().filter(is_scan).count();
    let held: usize = requests.iter().map(|request| request.operation.size() + RESULT_OVERHEAD).sum();
    let held = BATCH_OVERHEAD + held;
    (held, held + pages * (SCAN_PAGE_BYTES_MAX - RESULT_OVERHEAD))
}

fn map_weight(map: &ShardMap) -> usize {
    (map.nodes.len() + map.shards.len()) * 4 * RESULT_OVERHEAD
}
