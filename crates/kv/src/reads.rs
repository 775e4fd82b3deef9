//! Reads of one batch on one tablet.

mod batch;

use std::sync::Arc;

use strata_env::Env;
use strata_machine::View;
use strata_shard::Obstacle;
use strata_storage::{Engine, Snapshot, StorageError};
use strata_types::{
    Item, Operation, Reply, Request, ShardPlacement, SpaceKey, SpaceRange, Timestamp, TransactionId, TransactionStatus,
    limits::{TRANSACTION_RANGE_BYTES_MAX, TRANSACTION_RANGE_ROWS_MAX},
};

use crate::snapshot_view::{CachedView, SnapshotView};

/// So many keys are looked up where the batch runs, if they are in memory. For the others, and for scans, a thread that
/// may block is asked.
const INLINE_GETS_MAX: usize = 8;

/// Why a read has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ReadFailed {
    /// The tablet could not be read: never an absent key (KV-4).
    Storage(StorageError),
    /// A transaction is in the way, or what was asked for is not kept any more.
    Met(Obstacle),
    /// The reading code panicked.
    BrokeOff,
    /// What was read before it takes all the room that an answer has.
    NoRoom,
}

type ReadResult = Result<Reply, ReadFailed>;

/// Carries out the reads at `positions`, on the tablet as it is now.
pub(crate) async fn read(
    env: &Env,
    tablet: Arc<dyn Engine>,
    placement: &ShardPlacement,
    requests: &Arc<Vec<Request>>,
    positions: &[usize],
) -> Vec<(usize, ReadResult)> {
    let has_scan = positions.iter().any(|&position| matches!(requests[position].operation, Operation::Scan { .. }));
    let slots = placement.slots;
    if positions.len() <= INLINE_GETS_MAX
        && !has_scan
        && let Some(results) = from_memory(tablet.as_ref(), requests, positions)
    {
        return results;
    }
    let (owned, all) = (positions.to_vec(), requests.clone());
    // Long pages give way. But the batch is answered as a whole: who sent something else with them waits for it all.
    let done = match requests.iter().all(|request| request.operation.is_long_page()) {
        true => {
            let snapshot = tablet.snapshot();
            let read = move || batch::pages(snapshot.as_ref(), slots, &all, &owned);
            env.background(read).await
        }
        false => env.blocking(move || batch::on_tablet(tablet.as_ref(), slots, &all, &owned)).await,
    };
    done.unwrap_or_else(|| positions.iter().map(|&position| (position, Err(ReadFailed::BrokeOff))).collect())
}

/// The newest value of a key and when it was last changed.
pub(crate) async fn newest(
    env: &Env,
    tablet: Arc<dyn Engine>,
    key: &SpaceKey,
) -> Result<(Option<Item>, Timestamp), ReadFailed> {
    let view = CachedView::new(tablet.as_ref());
    let read = strata_shard::newest(&view, key);
    if let Some(read) = view.finish(read) {
        return read.map_err(ReadFailed::Met);
    }
    let key = key.clone();
    with_snapshot(env, tablet, move |view| strata_shard::newest(view, &key)).await?.map_err(ReadFailed::Met)
}

/// What is known of a transaction here.
pub(crate) async fn status(
    env: &Env,
    tablet: Arc<dyn Engine>,
    transaction: TransactionId,
) -> Result<TransactionStatus, ReadFailed> {
    let view = CachedView::new(tablet.as_ref());
    let read = strata_shard::status(&view, transaction);
    if let Some(status) = view.finish(read) {
        return Ok(status);
    }
    with_snapshot(env, tablet, move |view| strata_shard::status(view, transaction)).await
}

/// Which of these have ranges such that it can be checked in one apply what has changed there.
pub(crate) async fn are_short(
    env: &Env,
    tablet: Arc<dyn Engine>,
    parts: Vec<Vec<SpaceRange>>,
) -> Result<Vec<bool>, ReadFailed> {
    let read = move |view: &dyn View| {
        let (rows, bytes) = (TRANSACTION_RANGE_ROWS_MAX, TRANSACTION_RANGE_BYTES_MAX);
        parts.iter().map(|ranges| strata_shard::are_short(view, ranges, rows, bytes)).collect()
    };
    with_snapshot(env, tablet, read).await
}

/// Reads on a thread that may wait, on one state of the tablet.
async fn with_snapshot<T: Send + 'static>(
    env: &Env,
    tablet: Arc<dyn Engine>,
    read: impl FnOnce(&dyn View) -> T + Send + 'static,
) -> Result<T, ReadFailed> {
    let done = env.blocking(move || on_snapshot(tablet.snapshot().as_ref(), read)).await;
    done.ok_or(ReadFailed::BrokeOff)?.map_err(ReadFailed::Storage)
}

/// The same for what looks at many rows and answers no client's key.
pub(crate) async fn survey<T: Send + 'static>(
    env: &Env,
    tablet: Arc<dyn Engine>,
    read: impl FnOnce(&dyn View) -> T + Send + 'static,
) -> Result<T, ReadFailed> {
    // Made here: while one that gives way is at it, writes wait for it.
    let snapshot = tablet.snapshot();
    let done = env.background(move || on_snapshot(snapshot.as_ref(), read)).await;
    done.ok_or(ReadFailed::BrokeOff)?.map_err(ReadFailed::Storage)
}

fn on_snapshot<T>(snapshot: &dyn Snapshot, read: impl FnOnce(&dyn View) -> T) -> Result<T, StorageError> {
    let view = SnapshotView::new(snapshot);
    let read = read(&view);
    view.finish(read)
}

/// The gets at `positions`, if none of them needs the disk.
fn from_memory(tablet: &dyn Engine, requests: &[Request], positions: &[usize]) -> Option<Vec<(usize, ReadResult)>> {
    let get = |&position: &usize| {
        let request = &requests[position];
        let Operation::Get { key } = &request.operation else { return None };
        let view = CachedView::new(tablet);
        let read = strata_shard::get(&view, &request.header, key);
        let item = view.finish(read)?;
        Some((position, item.map(got).map_err(ReadFailed::Met)))
    };
    positions.iter().map(get).collect()
}

fn got(item: Option<Item>) -> Reply {
    Reply::Get { item, freshness: None }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use strata_codec::{StoredValue, data_key};

    use strata_env::sim::SimWorld;
    use strata_env::{BoxFuture, Halt, TaskHandle, Tasks};
    use strata_storage::memory::MemoryTablets;
    use strata_storage::{Tablets, WriteBatch};
    use strata_types::{ReplicaId, RequestHeader, Revision, ShardId, Slot, SlotRange, Timestamp};

    use super::*;

    fn tablet(keys: u32) -> Arc<dyn Engine> {
        let tablet = MemoryTablets::new().open(ReplicaId(1)).expect("an empty tablet");
        let mut batch = WriteBatch::new();
        let header = RequestHeader::default();
        for number in 0..keys {
            let key = data_key(header.database, header.key_space, format!("k{number:03}").as_bytes());
            let value = StoredValue {
                flags: 0,
                timestamp: Timestamp(0),
                revision: Revision::default(),
                expiry_millis: 0,
                payload: Bytes::from(format!("v{number}")),
            };
            batch.put(key, value.encode());
        }
        tablet.write(batch).expect("room");
        tablet
    }

    fn request(operation: Operation) -> Request {
        Request { header: RequestHeader::default(), operation }
    }

    /// KV-2
    #[tokio::test(start_paused = true)]
    async fn results_are_those_of_their_positions_inline_or_not() {
        let env = SimWorld::new(1).node(1).env();
        let slots = SlotRange { start: 0, end: 16_384 };
        let placement = ShardPlacement { shard: ShardId(0), slots, ..ShardPlacement::default() };
        for count in [1, INLINE_GETS_MAX, INLINE_GETS_MAX + 1, 50] {
            let requests: Vec<_> = (0..count)
                .map(|number| match number % 5 {
                    4 => request(Operation::Scan { start: "k001".into(), end: Some("k003".into()), limit: 9 }),
                    _ => request(Operation::Get { key: format!("k{number:03}").into() }),
                })
                .collect();
            let positions: Vec<usize> = (0..count).rev().collect();
            let mut results = read(&env, tablet(20), &placement, &Arc::new(requests), &positions).await;
            results.sort_by_key(|(position, _)| *position);
            assert_eq!(results.len(), count);
            for (position, result) in results {
                match result.expect("a healthy tablet") {
                    Reply::Get { item, .. } => {
                        let value = item.map(|item| item.value);
                        assert_eq!(value, (position < 20).then(|| Bytes::from(format!("v{position}"))));
                    }
                    Reply::Scan { items, resume, .. } => {
                        let keys: Vec<_> = items.into_iter().map(|item| item.key).collect();
                        assert_eq!((keys, resume), (vec![Bytes::from("k001"), Bytes::from("k002")], None));
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    /// Counts what is done in the background.
    struct Counting {
        inner: Arc<dyn Tasks>,
        background: AtomicUsize,
    }

    impl Tasks for Counting {
        fn spawn(&self, name: &'static str, future: BoxFuture<()>) -> TaskHandle {
            self.inner.spawn(name, future)
        }

        fn dedicated(&self, name: &'static str, future: BoxFuture<()>) -> TaskHandle {
            self.inner.dedicated(name, future)
        }

        fn blocking(&self, work: Box<dyn FnOnce() + Send + 'static>) {
            self.inner.blocking(work);
        }

        fn background(&self, work: Box<dyn FnOnce() + Send + 'static>) {
            self.background.fetch_add(1, Ordering::SeqCst);
            self.inner.background(work);
        }

        fn halt(&self, halt: Halt) {
            self.inner.halt(halt);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn long_pages_give_way_unless_somebody_waits_for_more_than_them() {
        let env = SimWorld::new(1).node(1).env();
        let counting = Arc::new(Counting { inner: env.tasks.clone(), background: AtomicUsize::new(0) });
        let env = Env { tasks: counting.clone(), ..env };
        let placement = ShardPlacement { slots: SlotRange { start: 0, end: 16_384 }, ..ShardPlacement::default() };
        let page = |limit| request(Operation::Scan { start: Bytes::new(), end: None, limit });
        let get = || request(Operation::Get { key: "k001".into() });
        for (requests, gives_way) in [
            (vec![page(101)], true),
            (vec![page(101), page(10_000)], true),
            (vec![page(100)], false),
            (vec![page(101), page(1)], false),
            (vec![page(101), get()], false),
            (vec![get(); 50], false),
        ] {
            let before = counting.background.load(Ordering::SeqCst);
            let positions: Vec<usize> = (0..requests.len()).collect();
            let results = read(&env, tablet(20), &placement, &Arc::new(requests.clone()), &positions).await;
            assert!(results.len() == requests.len() && results.iter().all(|(_, result)| result.is_ok()));
            assert_eq!(counting.background.load(Ordering::SeqCst) - before, usize::from(gives_way), "{requests:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_scan_shows_only_what_the_shard_owns() {
        let env = SimWorld::new(1).node(1).env();
        let slots = SlotRange { start: 0, end: 8_192 };
        let placement = ShardPlacement { shard: ShardId(0), slots, ..ShardPlacement::default() };
        let scan = request(Operation::Scan { start: Bytes::new(), end: None, limit: 100 });
        let results = read(&env, tablet(40), &placement, &Arc::new(vec![scan]), &[0]).await;
        let Ok(Reply::Scan { items, .. }) = &results[0].1 else { panic!("{results:?}") };
        let owned = (0..40).filter(|n| slots.contains(Slot::of_key(format!("k{n:03}").as_bytes()))).count();
        assert_eq!(items.len(), owned);
        assert!(owned > 0 && owned < 40);
    }
}
