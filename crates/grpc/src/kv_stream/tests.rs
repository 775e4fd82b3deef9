//! What goes into one message of replies.

use async_trait::async_trait;
use futures_util::StreamExt;
use strata_env::real;

use super::*;

/// Is not asked.
struct Nobody;

#[async_trait]
impl ShardExecutor for Nobody {
    async fn execute(&self, _batch: ShardBatch) -> ShardReply {
        unreachable!("there are only replies here")
    }
}

fn shared() -> Arc<Shared> {
    Arc::new(Shared {
        env: real::env(),
        executor: Arc::new(Nobody),
        request_room: Arc::new(Semaphore::new(2)),
        batch_room: Arc::new(Semaphore::new(2)),
        reply_bytes: AtomicUsize::new(0),
        owed: AtomicUsize::new(2),
        is_ending: AtomicBool::new(false),
        batches: Counter::noop(),
        operations: Counter::noop(),
    })
}

async fn reply(shared: &Shared, number: u64) -> Outgoing {
    let request_room = shared.request_room.clone().acquire_many_owned(1).await.expect("room");
    let batch_room = shared.batch_room.clone().acquire_owned().await.expect("room");
    let (reply, bytes) = shared.fit(ShardAnswer::NotLeader { leader: None });
    Outgoing { reply: Numbered { number, reply: Some(reply) }, bytes, _room: (request_room, batch_room) }
}

#[tokio::test]
async fn those_who_are_about_to_answer_get_into_the_same_message() {
    let shared = shared();
    let (first, second) = (reply(&shared, 1).await, reply(&shared, 2).await);
    let (sender, queue) = mpsc::unbounded_channel();
    let reader = TaskHandle::new(|| {});
    let courtesy = Courtesy::default();
    let mut replies = Replies { shared, queue, held: None, failed: None, is_over: false, courtesy, reader };
    assert!(sender.send(Ok(first)).is_ok());
    real::env().spawn("test-other", async move { assert!(sender.send(Ok(second)).is_ok()) });
    let message = replies.next().await.expect("a message").expect("no error");
    assert_eq!(message.replies.iter().map(|reply| reply.number).collect::<Vec<_>>(), [1, 2]);
}
