//! One transaction that a node keeps for a client.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use parking_lot::Mutex;
use strata_env::{Env, Mono};
use strata_router::{KeptStage, KeptTransaction};
use strata_types::{
    Error, ErrorCode, NodeId, Result, Slot, Space, Timestamp, TransactionId, limits::TRANSACTION_AGE_MAX,
};
use tokio::sync::OwnedMutexGuard;

use super::over::Over;
use crate::{Snapshot, Transaction, TransactionHandle};

/// A transaction without a call for this long is rolled back: its client has left.
pub(super) const IDLE_MAX: Duration = Duration::from_secs(60);
/// One that only reads is rolled back after this time: what it reads must be kept for it.
const READER_AGE_MAX: Duration = Duration::from_secs(3_600);

/// What calls work on, one at a time.
pub(super) enum State {
    /// It may write.
    Writer(Box<Transaction>),
    /// It only reads.
    Reader(Snapshot),
    /// It has ended.
    Over(Over),
}

/// What is told of an open transaction, without waiting for a call of it that is under way.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    /// What finds it again. The anchor says nothing unless `is_anchored`.
    pub handle: TransactionHandle,
    /// When its first attempt began: give it to the next one.
    pub age: Timestamp,
    /// Whether it has written something: only then its anchor means something.
    pub is_anchored: bool,
    /// When its last call ended.
    pub(super) used: Mono,
    pub(super) stage: KeptStage,
}

impl Told {
    /// Whether clients can do nothing with it any more.
    pub(super) fn is_over(&self) -> bool {
        self.stage != KeptStage::Open
    }
}

/// A transaction of a client.
pub(super) struct Entry {
    pub(super) opened: Mono,
    pub(super) space: Space,
    is_reader: bool,
    pub(super) told: Mutex<Told>,
    /// What it takes of the room for all.
    pub(super) bytes: AtomicUsize,
    pub(super) state: Arc<tokio::sync::Mutex<State>>,
}

impl Entry {
    pub(super) fn writer(transaction: Transaction, space: Space, now: Mono) -> Entry {
        let told = Told {
            handle: transaction.handle(),
            age: transaction.age(),
            is_anchored: false,
            used: now,
            stage: KeptStage::Open,
        };
        Entry::of(State::Writer(Box::new(transaction)), told, space, false)
    }

    /// Nobody else knows a transaction that only reads; it has an id so that calls can name it.
    pub(super) fn reader(id: TransactionId, snapshot: Snapshot, space: Space, now: Mono) -> Entry {
        let at = snapshot.timestamp();
        let handle = TransactionHandle { id, anchor: Slot::of_key(b""), read_timestamp: at };
        let told = Told { handle, age: at, is_anchored: false, used: now, stage: KeptStage::Open };
        Entry::of(State::Reader(snapshot), told, space, true)
    }

    fn of(state: State, told: Told, space: Space, is_reader: bool) -> Entry {
        Entry {
            opened: told.used,
            space,
            is_reader,
            told: Mutex::new(told),
            bytes: AtomicUsize::new(0),
            state: Arc::new(tokio::sync::Mutex::new(state)),
        }
    }

    pub(super) fn told(&self) -> Told {
        *self.told.lock()
    }

    /// The most that it may take.
    pub(super) fn age_max(&self) -> Duration {
        if self.is_reader { READER_AGE_MAX } else { TRANSACTION_AGE_MAX }
    }

    /// How long it may go on.
    pub(super) fn time_left(&self, now: Mono) -> Duration {
        self.age_max().saturating_sub(now.since(self.opened))
    }

    /// As other nodes and operators are told, by this node.
    pub(super) fn kept(&self, node: NodeId, now: Mono) -> KeptTransaction {
        let Told { handle, age, is_anchored, stage, .. } = self.told();
        let TransactionHandle { id, anchor, read_timestamp } = handle;
        let (anchor, elapsed) = (is_anchored.then_some(anchor), now.since(self.opened));
        KeptTransaction { node, id, anchor, read_timestamp, age, elapsed, stage }
    }

    /// Takes what it has, and leaves how it ended.
    pub(super) fn end(&self, state: &mut State, over: Over) -> State {
        let mut told = self.told.lock();
        told.stage = over.stage();
        if let State::Writer(transaction) = state {
            // The last thing that can be seen of it.
            told.handle = transaction.handle();
        }
        std::mem::replace(state, State::Over(over))
    }
}

/// A call that works on a transaction: no other one does meanwhile.
pub(super) struct Entered {
    pub(super) entry: Arc<Entry>,
    pub(super) state: OwnedMutexGuard<State>,
    pub(super) env: Env,
}

impl Entered {
    /// The transaction, if it is open and may write.
    pub(super) fn writer(&mut self) -> Result<&mut Transaction> {
        match &mut *self.state {
            State::Writer(transaction) => Ok(transaction),
            State::Reader(_) => {
                let sentence = "the transaction was begun with read_only: it has neither writes nor locks";
                Err(Error::not_applied(ErrorCode::InvalidArgument, sentence))
            }
            State::Over(over) => Err(over.error()),
        }
    }

    /// Ends the call, and tells what it has left.
    pub(super) fn leave(self) -> Told {
        let entry = self.entry.clone();
        drop(self);
        entry.told()
    }

    /// It has written a key: whoever asks for it can be told where.
    pub(super) fn note_write(&self) {
        let mut told = self.entry.told.lock();
        told.is_anchored = true;
        if let State::Writer(transaction) = &*self.state {
            // Together, because others may look before the call ends.
            told.handle = transaction.handle();
        }
    }
}

impl Drop for Entered {
    /// What the call has changed is told from now on.
    fn drop(&mut self) {
        let mut told = self.entry.told.lock();
        // A call may wait for a minute: only now its client has nothing to wait for.
        told.used = self.env.now();
        if let State::Writer(transaction) = &*self.state {
            told.handle = transaction.handle();
            told.age = transaction.age();
        }
    }
}
