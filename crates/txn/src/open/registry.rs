//! Which transactions a node keeps: room for new ones, an end for those that nobody uses.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use metrics::Gauge;
use parking_lot::Mutex;
use strata_env::{Env, Mono};
use strata_router::{Keepers, KeptStage, Router};
use strata_types::{
    Error, ErrorCode, NodeId, Outcome, Result, Space, Timestamp, TransactionId, TransactionStatus,
    limits::REQUEST_DEADLINE_MAX,
};

use super::entry::{Entered, Entry, IDLE_MAX, State};
use super::over::Over;
use crate::{BeginOptions, TransactionHandle, TransactionOptions, Transactions, sooner};

/// Most open transactions of a node.
pub(super) const OPEN_MAX: usize = 10_000;
/// Keys and values that all open transactions of a node have read and written: what they hold in memory.
pub(super) const OPEN_BYTES_MAX: usize = 512 * 1024 * 1024;
/// How a transaction ended is remembered for this long, for clients whose answer was lost.
const ENDED_KEPT: Duration = Duration::from_secs(120);
/// And for so many of them, the last ones.
pub(super) const ENDED_MAX: usize = 10_000;
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// What is kept, and the way to the shards.
pub(super) struct Registry {
    pub(super) node: NodeId,
    pub(super) router: Arc<Router>,
    transactions: Transactions,
    /// What other nodes keep, if there are any.
    pub(super) others: Option<Arc<dyn Keepers>>,
    pub(super) table: Mutex<Table>,
    pub(super) bytes: AtomicUsize,
    gauge: Gauge,
}

/// The transactions by id.
#[derive(Default)]
pub(super) struct Table {
    pub(super) entries: BTreeMap<TransactionId, Arc<Entry>>,
    /// Those that have ended, in that order, and when.
    ended: VecDeque<(Mono, TransactionId)>,
    /// Those that are being begun.
    beginning: usize,
}

impl Table {
    fn open(&self) -> usize {
        self.entries.len() - self.ended.len() + self.beginning
    }
}

/// How a client wants its transaction.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenWish {
    /// It only reads, in a snapshot, and has neither writes nor locks.
    pub is_reader: bool,
    /// Only of who only reads: the snapshot is that of this timestamp; `None` for everything that was committed before.
    pub at: Option<Timestamp>,
    /// The age of an earlier attempt; `None`: it is new.
    pub age: Option<Timestamp>,
    /// Where its keys are.
    pub space: Space,
}

/// Room for one more, while it is being begun.
pub(super) struct Room<'r>(&'r Registry);

impl Room<'_> {
    pub(super) fn take(registry: &Registry) -> Result<Room<'_>> {
        let mut table = registry.table.lock();
        if table.open() >= OPEN_MAX {
            let sentence =
                format!("{OPEN_MAX} transactions are open on this node already: end some, or ask another node");
            return Err(Error::not_applied(ErrorCode::Overloaded, sentence));
        }
        table.beginning += 1;
        Ok(Room(registry))
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        let mut table = self.0.table.lock();
        table.beginning -= 1;
        self.0.gauge.set(table.open() as f64);
    }
}

impl Registry {
    pub(super) fn new(router: Arc<Router>, node: NodeId, others: Option<Arc<dyn Keepers>>) -> Arc<Registry> {
        let registry = Arc::new(Registry {
            node,
            transactions: Transactions::new(router.clone(), TransactionOptions::default()),
            router,
            others,
            table: Mutex::default(),
            bytes: AtomicUsize::new(0),
            gauge: metrics::gauge!("strata_txn_open"),
        });
        let env = registry.env().clone();
        registry.env().spawn("txn-open", sweep_forever(env, Arc::downgrade(&registry)));
        registry
    }

    pub(super) fn env(&self) -> &Env {
        self.router.env()
    }

    pub(super) fn entry(&self, id: TransactionId) -> Option<Arc<Entry>> {
        self.table.lock().entries.get(&id).cloned()
    }

    pub(super) async fn open(&self, wish: OpenWish, deadline: Duration) -> Result<Entry> {
        let transactions = self.transactions.with_deadline(deadline);
        let snapshot = match (wish.is_reader, wish.at) {
            (true, Some(at)) => transactions.snapshot_at(at).await?,
            (true, None) => transactions.snapshot().await?,
            (false, _) => {
                let options = BeginOptions { age: wish.age, space: wish.space, deadline: None };
                let mut transaction = transactions.begin(options).await?;
                transaction.with_deadline(REQUEST_DEADLINE_MAX);
                return Ok(Entry::writer(transaction, wish.space, self.env().now()));
            }
        };
        let id = self.transactions.fresh_id();
        let snapshot = snapshot.with_space(wish.space).with_deadline(REQUEST_DEADLINE_MAX);
        Ok(Entry::reader(id, snapshot, wish.space, self.env().now()))
    }

    pub(super) async fn wait_for(&self, entry: Arc<Entry>, deadline: Duration) -> Result<Entered> {
        let locked = self.env().timeout(deadline, entry.state.clone().lock_owned()).await;
        let state = locked.map_err(|_| match entry.told().stage {
            // COORD-8: its commit may yet succeed.
            KeptStage::Committing | KeptStage::Unanswered => {
                Error::unknown(ErrorCode::DeadlineExceeded, "the commit is under way: ask again")
            }
            KeptStage::Open | KeptStage::Ended(_) => too_late("another call of the transaction went on"),
        })?;
        Ok(Entered { entry, state, env: self.env().clone() })
    }

    /// What the shard of the record knows.
    pub(super) async fn ask(&self, handle: TransactionHandle, deadline: Duration) -> Result<TransactionStatus> {
        let transactions = self.transactions.with_deadline(sooner(deadline));
        self.told(deadline, transactions.outcome(handle)).await
    }

    /// The same; but one that is not committed by now never will be.
    pub(super) async fn settle(&self, handle: TransactionHandle, deadline: Duration) -> Result<TransactionStatus> {
        let transactions = self.transactions.with_deadline(sooner(deadline));
        self.told(deadline, transactions.settle(handle)).await
    }

    /// That nobody can tell now says nothing about the transaction.
    async fn told(
        &self,
        deadline: Duration,
        asked: impl Future<Output = Result<TransactionStatus>>,
    ) -> Result<TransactionStatus> {
        let late = |_| Err(Error::unknown(ErrorCode::DeadlineExceeded, "nobody could tell by the deadline"));
        let answer = self.env().timeout(deadline, asked).await.unwrap_or_else(late);
        answer.map_err(|error| Error { outcome: Outcome::Unknown, ..error })
    }

    /// Ends an open transaction, and returns what it was. A commit is counted when it is answered.
    pub(super) fn end(&self, entered: &mut Entered, over: Over) -> State {
        if !matches!(over, Over::Answered(Err(_))) {
            count(over.name());
        }
        self.bytes.fetch_sub(entered.entry.bytes.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        let state = entered.entry.end(&mut entered.state, over);
        let id = entered.entry.told().handle.id;
        let mut table = self.table.lock();
        table.ended.push_back((self.env().now(), id));
        self.forget(&mut table);
        self.gauge.set(table.open() as f64);
        state
    }

    /// Takes a transaction out to commit it. Until that is answered, nobody knows how it ends.
    pub(super) fn begin_commit(&self, entered: &mut Entered) -> State {
        let unanswered = Error::unknown(ErrorCode::Unavailable, "the commit was sent and not answered");
        let state = self.end(entered, Over::Answered(Err(unanswered)));
        entered.entry.told.lock().stage = KeptStage::Committing;
        state
    }

    /// The commit was answered.
    pub(super) fn end_commit(&self, entered: &mut Entered, result: &Result<Timestamp>) {
        let over = Over::Answered(result.clone());
        count(over.name());
        let mut told = entered.entry.told.lock();
        (told.used, told.stage) = (self.env().now(), over.stage());
        drop(told);
        *entered.state = State::Over(over);
    }

    /// Forgets those that have ended long ago, or too many.
    fn forget(&self, table: &mut Table) {
        let now = self.env().now();
        while let Some((ended, id)) = table.ended.front().copied() {
            if table.ended.len() <= ENDED_MAX && now.since(ended) <= ENDED_KEPT {
                return;
            }
            table.ended.pop_front();
            table.entries.remove(&id);
        }
    }

    /// Rolls back whoever has left or stays for too long.
    fn sweep(&self) {
        let now = self.env().now();
        let entries: Vec<_> = {
            let mut table = self.table.lock();
            self.forget(&mut table);
            table.entries.values().cloned().collect()
        };
        for entry in entries {
            let told = entry.told();
            let why = match () {
                () if told.is_over() => continue,
                () if now.since(told.used) > IDLE_MAX => {
                    format!("the transaction was rolled back after {} s without a call", IDLE_MAX.as_secs())
                }
                () if entry.time_left(now).is_zero() => {
                    let most = entry.age_max().as_secs();
                    format!("the transaction was rolled back after {most} s, the most that it may take")
                }
                () => continue,
            };
            // One whose call is under way is looked at again.
            let Ok(state) = entry.state.clone().try_lock_owned() else { continue };
            if !matches!(&*state, State::Over(_)) {
                let mut entered = Entered { entry, state, env: self.env().clone() };
                drop(self.end(&mut entered, Over::GivenUp(why)));
            }
        }
    }
}

async fn sweep_forever(env: Env, registry: Weak<Registry>) {
    loop {
        env.sleep(SWEEP_INTERVAL).await;
        let Some(registry) = registry.upgrade() else { return };
        registry.sweep();
    }
}

fn count(how: &'static str) {
    metrics::counter!("strata_txn_ended_total", "how" => how).increment(1);
}

pub(super) fn too_late(what: &str) -> Error {
    Error::not_applied(ErrorCode::DeadlineExceeded, format!("{what} by the deadline"))
}
