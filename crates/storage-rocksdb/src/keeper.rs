//! The threads that do for a node's tablets what their writers should not wait for.
//!
//! To put a bundle in order takes milliseconds, to flush a tablet a tenth of a second, for which a writer would hold up all
//! that its own thread does. One thread puts rows in order, another one flushes, so that no scan waits for a disk.

use std::collections::BTreeMap;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Weak};
use std::thread;

use parking_lot::Mutex;
use strata_storage::{StorageError, StorageResult};

use crate::budget::Budget;
use crate::recent::Forgotten;
use crate::tiers::Tiers;

/// The inboxes of both threads, which end when this is gone and all is done, and the tablets of the node.
pub(crate) struct Keeper {
    budget: Arc<Budget>,
    tablets: Arc<Tablets>,
    orders: Sender<Order>,
    flushes: Sender<TabletId>,
}

/// An open tablet of this process. A tablet that is opened again is another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TabletId(u64);

/// The open tablets, and the id of the next one. Who is not here is not found any more: it may close.
#[derive(Default)]
struct Tablets(Mutex<(u64, BTreeMap<TabletId, Weak<Tiers>>)>);

enum Order {
    /// Puts the rows of a tablet in order.
    Rows(TabletId),
    Free(#[expect(dead_code, reason = "it is only dropped")] Forgotten),
}

impl Tablets {
    fn get(&self, id: TabletId) -> Option<Arc<Tiers>> {
        self.0.lock().1.get(&id)?.upgrade()
    }

    fn all(&self) -> Vec<Arc<Tiers>> {
        self.0.lock().1.values().filter_map(Weak::upgrade).collect()
    }
}

impl Keeper {
    pub(crate) fn start(budget: Arc<Budget>) -> StorageResult<Keeper> {
        let tablets = Arc::<Tablets>::default();
        let known = Arc::clone(&tablets);
        let orders = start("strata-order", move |order| {
            if let Order::Rows(id) = order
                && let Some(tiers) = known.get(id)
            {
                tiers.put_in_order();
            }
        })?;
        let known = Arc::clone(&tablets);
        let flushes = start("strata-flush", move |id| {
            if let Some(tiers) = known.get(id) {
                tiers.flush_for_room();
            }
        })?;
        Ok(Keeper { budget, tablets, orders, flushes })
    }

    pub(crate) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// One tablet more.
    pub(crate) fn add(&self, make: impl FnOnce(TabletId) -> Tiers) -> Arc<Tiers> {
        let mut tablets = self.tablets.0.lock();
        let (next, open) = &mut *tablets;
        *next += 1;
        let id = TabletId(*next);
        let tiers = Arc::new(make(id));
        open.insert(id, Arc::downgrade(&tiers));
        tiers
    }

    /// One tablet less.
    pub(crate) fn remove(&self, id: TabletId) {
        self.tablets.0.lock().1.remove(&id);
    }

    /// Has the rows of a tablet put in order.
    pub(crate) fn put_in_order(&self, id: TabletId) {
        // A panic of the storage stops the node, wherever it was.
        self.orders.send(Order::Rows(id)).expect("the thread ends only when its inbox is gone, or by a panic");
    }

    /// Frees what takes long to free.
    pub(crate) fn free(&self, forgotten: Forgotten) {
        let _ = self.orders.send(Order::Free(forgotten));
    }

    /// Forgets what RocksDB has when room becomes scarce, and has the fullest tablet flushed if that is not enough.
    pub(crate) fn make_room(&self) {
        while self.budget.is_tight() && self.forget() {}
        if self.budget.is_tight()
            && let Some(fullest) = self.fullest()
            && fullest.begins_flush_for_room()
        {
            self.flushes.send(fullest.id()).expect("the thread ends only when its inbox is gone, or by a panic");
        }
    }

    /// Forgets the stored rows of the tablet that has the most. Returns `false` if there are none.
    pub(crate) fn forget(&self) -> bool {
        let forgotten = self.most(Tiers::stored_bytes).and_then(|tiers| tiers.forget());
        forgotten.map(|forgotten| self.free(forgotten)).is_some()
    }

    /// The tablet that RocksDB lacks the most of, if it lacks anything.
    pub(crate) fn fullest(&self) -> Option<Arc<Tiers>> {
        self.most(Tiers::owed_bytes)
    }

    fn most(&self, size: fn(&Tiers) -> usize) -> Option<Arc<Tiers>> {
        let sizes = self.tablets.all().into_iter().map(|tiers| (size(&tiers), tiers));
        sizes.filter(|(bytes, _)| *bytes > 0).max_by_key(|(bytes, _)| *bytes).map(|(_, tiers)| tiers)
    }
}

fn start<J: Send + 'static>(name: &str, work: impl Fn(J) + Send + 'static) -> StorageResult<Sender<J>> {
    let (jobs, inbox) = channel::<J>();
    let started = thread::Builder::new().name(name.to_owned()).spawn(move || inbox.into_iter().for_each(work));
    started.map_err(|error| StorageError::Io { detail: format!("cannot start a thread: {error}") })?;
    Ok(jobs)
}
