//! What transactions did and were told, for the judges.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use strata_router::TimestampKind;
use strata_txn::TransactionHandle;
use strata_types::{ClientId, Error, Feature, Timestamp};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::stored::is_foreign;
use super::story::Story;
use crate::client::undeserved;
use crate::cluster::Cluster;
use crate::time_rules::Asked;
use crate::trace::{Trace, trace};

/// One step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A key was read at a timestamp, and held this value. `own`: as the transaction had written it.
    Read { key: String, at: Timestamp, found: Option<u64>, own: bool },
    /// A key is overwritten, or removed.
    Write { key: String, unique: Option<u64> },
    /// A range was read at a timestamp.
    Scan { start: String, end: String, at: Timestamp, found: Vec<(String, u64)> },
    /// What the list was that was just read.
    List { key: String, values: Vec<u64> },
    /// A value is appended to a list.
    Append { key: String, value: u64 },
}

/// How a transaction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It has not ended yet.
    Open,
    /// It is being committed, or was when its client died; or nobody could tell what became of it.
    Unknown(TransactionHandle),
    /// With its commit timestamp, if that was told; known since then.
    Committed { at: Option<Timestamp>, ended: u64 },
    /// It has no effect.
    Aborted,
}

/// One transaction, or one reader at an earlier timestamp.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) client: ClientId,
    pub(crate) story: Story,
    pub(crate) began: u64,
    pub(crate) steps: Vec<Step>,
    pub(crate) fate: Fate,
    /// Where to ask for it later.
    pub(crate) handle: Option<TransactionHandle>,
    /// Whether it reads at an old timestamp: it has no place in real time.
    pub(crate) travels: bool,
    /// The counters that it read, and how high they were.
    pub(crate) counted: Vec<(String, i64)>,
}

/// A question about the past, and so one that may be asked again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Question {
    Key(String),
    Range(String, String),
}

#[derive(Default)]
struct Pages {
    entries: Vec<Entry>,
    uniques: u64,
    /// What each question at a timestamp was answered by.
    answers: BTreeMap<(Timestamp, Question), Vec<(String, u64)>>,
    asked: Vec<(Timestamp, Question)>,
    clients: u64,
    committed: u64,
    conflicts: u64,
}

/// The record of all transactions of a run.
pub(crate) struct Book {
    start: Instant,
    trace: Arc<Trace>,
    cluster: Weak<Cluster>,
    pages: Mutex<Pages>,
    /// Somebody asks to commit.
    committing: Notify,
}

/// Clients of transactions are numbered from here on, anew in each life.
const FIRST_CLIENT: u64 = 1_000;

impl Book {
    pub(crate) fn new(trace: Arc<Trace>, cluster: &Arc<Cluster>) -> Arc<Book> {
        let (start, cluster) = (Instant::now(), Arc::downgrade(cluster));
        Arc::new(Book { start, trace, cluster, pages: Mutex::default(), committing: Notify::new() })
    }

    /// Simulated nanoseconds.
    pub(crate) fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// Which part of the run it is, in parts of so many milliseconds.
    pub(crate) fn part(&self, millis: u64) -> u64 {
        self.now() / 1_000_000 / millis
    }

    pub(crate) fn fresh_client(&self) -> ClientId {
        let mut pages = self.pages.lock();
        pages.clients += 1;
        ClientId(FIRST_CLIENT + pages.clients)
    }

    pub(crate) fn fresh_unique(&self) -> u64 {
        let mut pages = self.pages.lock();
        pages.uniques += 1;
        pages.uniques
    }

    /// A transaction begins.
    pub(crate) fn open(&self, client: ClientId, story: Story, travels: bool) -> usize {
        let began = self.now();
        let mut pages = self.pages.lock();
        let (steps, counted) = (Vec::new(), Vec::new());
        pages.entries.push(Entry { client, story, began, steps, fate: Fate::Open, handle: None, travels, counted });
        pages.entries.len() - 1
    }

    pub(crate) fn step(&self, entry: usize, step: Step) {
        match &step {
            Step::Read { key, at, found, own: false } => {
                let found = found.iter().map(|unique| (key.clone(), *unique)).collect();
                self.note_answer(*at, Question::Key(key.clone()), found);
            }
            Step::Scan { start, end, at, found } => {
                self.note_answer(*at, Question::Range(start.clone(), end.clone()), found.clone());
            }
            _ => {}
        }
        self.pages.lock().entries[entry].steps.push(step);
    }

    /// A counter was read.
    pub(crate) fn count(&self, entry: usize, key: &str, value: i64) {
        self.pages.lock().entries[entry].counted.push((key.to_owned(), value));
    }

    /// SIM-TXN-2: what was read at a timestamp is read there for ever.
    fn note_answer(&self, at: Timestamp, question: Question, found: Vec<(String, u64)>) {
        let mut pages = self.pages.lock();
        let asked = (at, question);
        match pages.answers.get(&asked) {
            Some(before) if *before == found => {}
            Some(before) => {
                let text = format!("SIM-TXN-2 snapshots stay: {asked:?} was {before:?}, and is {found:?}");
                drop(pages);
                self.report(text);
            }
            None => {
                pages.asked.push(asked.clone());
                pages.answers.insert(asked, found);
            }
        }
    }

    /// A transaction has ended, or is about to. What was decided stays.
    pub(crate) fn end(&self, entry: usize, fate: Fate) {
        let mut pages = self.pages.lock();
        let before = std::mem::replace(&mut pages.entries[entry].fate, fate);
        match fate {
            Fate::Unknown(handle) => pages.entries[entry].handle = Some(handle),
            Fate::Committed { .. } => {
                pages.committed += 1;
                // One that has read and written nothing has asked nobody.
                if !pages.entries[entry].steps.is_empty() {
                    self.check_version();
                }
            }
            Fate::Aborted => pages.conflicts += 1,
            Fate::Open => {}
        }
        if matches!(fate, Fate::Unknown(_)) && before == Fate::Open {
            self.committing.notify_waiters();
            return;
        }
        let Entry { client, story, steps, handle, .. } = &pages.entries[entry];
        let id = handle.map(|handle| handle.to_string()).unwrap_or_default();
        trace!(self.trace, "t{entry} {client} {story:?} {id} {steps:?} -> {fate:?}");
    }

    /// Somebody knows when a transaction was committed that is known to be.
    pub(crate) fn date(&self, entry: usize, told: Timestamp) {
        if let Fate::Committed { at: at @ None, .. } = &mut self.pages.lock().entries[entry].fate {
            *at = Some(told);
            trace!(self.trace, "t{entry} is committed at {told}");
        }
    }

    /// What has been answered so far to those who asked for timestamps.
    pub(crate) fn asked_for_time(&self) -> Option<Asked> {
        let cluster = self.cluster.upgrade()?;
        let asked = cluster.time.lock().asked();
        Some(asked)
    }

    /// SIM-TIME-1: a transaction took its timestamp with its first read.
    pub(crate) fn begun(&self, asked: Asked, at: Timestamp) {
        let Some(cluster) = self.cluster.upgrade() else { return };
        let broken = cluster.time.lock().answered(TimestampKind::Begin, asked, at);
        if let Some(broken) = broken {
            cluster.invariants.lock().report(broken);
        }
    }

    /// SIM-VERSION-3: an old cluster has no transactions.
    fn check_version(&self) {
        let Some(cluster) = self.cluster.upgrade() else { return };
        let early = cluster.versions.lock().use_of(Feature::Transactions);
        if let Some(early) = early {
            cluster.invariants.lock().report(early);
        }
    }

    pub(crate) fn fate(&self, entry: usize) -> Fate {
        self.pages.lock().entries[entry].fate
    }

    /// Something that was read, to be read again.
    pub(crate) fn asked(&self, position: impl FnOnce(usize) -> usize) -> Option<(Timestamp, Question)> {
        let pages = self.pages.lock();
        let count = pages.asked.len();
        (count > 0).then(|| pages.asked[position(count)].clone())
    }

    /// The last few keys that were written or read, each once.
    pub(crate) fn recent_keys(&self, count: usize) -> Vec<String> {
        let pages = self.pages.lock();
        let steps = pages.entries.iter().rev().take(40).flat_map(|entry| &entry.steps);
        let mut keys: Vec<String> = Vec::new();
        for step in steps {
            let (Step::Write { key, .. } | Step::Read { key, .. }) = step else { continue };
            if !is_foreign(key) && !keys.contains(key) {
                keys.push(key.clone());
            }
            if keys.len() == count {
                break;
            }
        }
        keys
    }

    /// Something is broken.
    pub(crate) fn report(&self, violation: String) {
        if let Some(cluster) = self.cluster.upgrade() {
            cluster.invariants.lock().report(violation);
        }
    }

    /// Somebody could not do something.
    pub(crate) fn failed(&self, what: std::fmt::Arguments<'_>, error: &Error) {
        self.note(format_args!("{what}: {error}"));
        if let Some(text) = undeserved(error) {
            self.report(text);
        }
    }

    pub(crate) fn note(&self, text: std::fmt::Arguments<'_>) {
        self.trace.line(text);
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.pages.lock().entries.clone()
    }

    /// Those that were asked to commit: all whose outcome nobody knows or that were refused, and those that committed.
    pub(crate) fn commits(&self) -> (Vec<usize>, Vec<usize>) {
        let pages = self.pages.lock();
        let asked = (0..pages.entries.len()).filter(|entry| pages.entries[*entry].handle.is_some());
        asked.partition(|entry| !matches!(pages.entries[*entry].fate, Fate::Committed { .. }))
    }

    /// Completes when some transaction is asked to commit.
    pub(crate) async fn committing(&self) {
        self.committing.notified().await;
    }

    pub(crate) fn handle(&self, entry: usize) -> Option<TransactionHandle> {
        self.pages.lock().entries[entry].handle
    }

    /// Whether it is to change something. Nobody notes down that one without writes is committed.
    pub(crate) fn has_writes(&self, entry: usize) -> bool {
        let is_write = |step: &Step| matches!(step, Step::Write { .. } | Step::Append { .. });
        self.pages.lock().entries[entry].steps.iter().any(is_write)
    }

    /// Committed and refused so far.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let pages = self.pages.lock();
        (pages.committed, pages.conflicts)
    }
}
