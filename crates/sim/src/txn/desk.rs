//! One life of a client that uses transactions.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use strata_router::Router;
use strata_txn::{BeginOptions, Snapshot, Transaction, TransactionOptions, Transactions};
use strata_types::{ClientId, Decision, LockWait, ReadPreference, Result, TransactionStatus};

use super::book::{Book, Fate, Question};
use super::notes::Notes;
use super::story::Story;
use super::work::Work;
use crate::client::{Record, some_key};
use crate::dice::Dice;
use crate::overdue::{WORK_MAX, in_time};

/// How long it goes on with what others come in between of.
const RETRY_TIME: Duration = Duration::from_secs(4);

/// So many questions are recent ones.
const RECENT: usize = 12;
/// So many keys are looked at by those who only look.
const WATCHED: usize = 6;

/// A client at work.
pub(crate) struct Desk {
    pub(crate) book: Arc<Book>,
    pub(crate) record: Arc<Record>,
    pub(crate) client: ClientId,
    pub(crate) dice: Dice,
    pub(crate) stories: Vec<Story>,
    /// Reads at leaders, and at any replica.
    transactions: [Transactions; 2],
    /// Commits that were not answered.
    unsure: Vec<usize>,
}

/// Work that is done again until it is committed.
#[derive(Clone)]
struct Again {
    book: Arc<Book>,
    client: ClientId,
    work: Work,
    last: Arc<Mutex<Option<Notes>>>,
}

impl Again {
    async fn once(self, mut txn: strata_txn::Attempt) -> Result<()> {
        if let Some(before) = self.last.lock().take() {
            // It is done again, so it was not done.
            self.book.end(before.entry, Fate::Aborted);
        }
        let mut notes = Notes::open(&self.book, self.client, self.work.story());
        self.work.perform(&mut notes, &mut txn).await?;
        notes.committing(txn.handle());
        *self.last.lock() = Some(notes);
        Ok(())
    }
}

/// A transaction of a client.
pub(crate) struct Attempt {
    pub(crate) notes: Notes,
    pub(crate) txn: Transaction,
}

impl Desk {
    /// A client with this much time for each step.
    pub(crate) fn new(
        (book, record): (&Arc<Book>, &Arc<Record>),
        router: &Arc<Router>,
        dice: Dice,
        deadline: Duration,
        stories: &[Story],
    ) -> Desk {
        let reading = |prefer| {
            let options =
                TransactionOptions { deadline, prefer, retry_time: RETRY_TIME, ..TransactionOptions::default() };
            Transactions::new(router.clone(), options)
        };
        Desk {
            book: book.clone(),
            record: record.clone(),
            client: book.fresh_client(),
            dice,
            stories: stories.to_vec(),
            transactions: [reading(ReadPreference::Leader), reading(ReadPreference::Any)],
            unsure: Vec::new(),
        }
    }

    /// Works until told to stop.
    pub(crate) async fn work(mut self, mut stop: tokio::sync::watch::Receiver<bool>) {
        let think_max = self.dice.between(3_000, 120_000);
        let book = self.book.clone();
        while !*stop.borrow_and_update() {
            in_time(WORK_MAX, Box::pin(self.turn()), |text| book.report(text)).await;
            let pause = Duration::from_micros(self.dice.between(1_000, think_max));
            tokio::time::sleep(pause).await;
        }
    }

    /// One piece of work, and sometimes a question about an earlier one.
    async fn turn(&mut self) {
        let story = *self.dice.pick(&self.stories.clone());
        let done = if self.dice.chance(120) { self.travel(story).await } else { self.perform(story).await };
        if let Err(error) = done {
            self.book.failed(format_args!("{} {story:?}", self.client), &error);
        }
        if self.dice.chance(300)
            && let Some(entry) = self.unsure.pop()
            && let Err(error) = self.find_out(entry).await
        {
            self.book.failed(format_args!("{} asks for t{entry}", self.client), &error);
        }
    }

    async fn perform(&mut self, story: Story) -> Result<()> {
        match story {
            Story::Bank => self.bank().await,
            Story::Lists => self.lists().await,
            Story::Registers => self.registers().await,
            Story::Doctors => self.doctors().await,
            Story::Fork => self.fork().await,
            Story::Reverse => self.reverse().await,
            Story::Counters => self.count().await,
            Story::Sets => self.add().await,
            Story::Mixed => self.mix().await,
        }
    }

    /// What the first transaction of the run does for a story.
    pub(crate) async fn prepare(&mut self, story: Story) -> Result<()> {
        match story {
            Story::Bank => self.open_accounts().await,
            Story::Doctors => self.hire().await,
            _ => Ok(()),
        }
    }

    /// Transactions that read at leaders, or anywhere.
    pub(crate) fn transactions(&mut self) -> Transactions {
        let which = usize::from(self.dice.chance(500));
        self.transactions[which].clone()
    }

    /// A transaction that has its timestamp, or one that takes it with its first read.
    pub(crate) async fn begin(&mut self, story: Story) -> Result<Attempt> {
        let (notes, transactions) = (Notes::open(&self.book, self.client, story), self.transactions());
        let txn = match self.dice.chance(500) {
            true => transactions.open(BeginOptions::default()),
            false => transactions.begin(BeginOptions::default()).await?,
        };
        Ok(Attempt { notes, txn })
    }

    pub(crate) async fn snapshot(&mut self, story: Story) -> Result<(Notes, Snapshot)> {
        let (notes, transactions) = (Notes::open(&self.book, self.client, story), self.transactions());
        let snapshot = transactions.snapshot().await?;
        Ok((notes, snapshot))
    }

    /// A moment between two steps of a transaction.
    pub(crate) async fn think(&mut self) {
        if self.dice.chance(150) {
            tokio::time::sleep(Duration::from_millis(self.dice.between(1, 400))).await;
        }
    }

    pub(crate) fn wait(&mut self) -> LockWait {
        *self.dice.pick(&[LockWait::Wait, LockWait::Wait, LockWait::NoWait, LockWait::SkipLocked])
    }

    /// Commits, or sometimes thinks better of it. Returns whether it is committed.
    pub(crate) async fn finish(&mut self, attempt: Attempt) -> Result<bool> {
        let Attempt { notes, txn } = attempt;
        match self.dice.between(0, 39) {
            0 => return Ok(false),
            1 => {
                txn.rollback().await;
                return Ok(false);
            }
            _ => {}
        }
        notes.committing(txn.handle());
        let answer = txn.commit().await;
        notes.answered(&answer);
        if matches!(self.book.fate(notes.entry), Fate::Unknown(_)) {
            self.unsure.push(notes.entry);
            // Whatever comes after it is not known to come after it.
            self.client = self.book.fresh_client();
        }
        answer.map(|_| true)
    }

    /// Does something again and again until it is committed.
    pub(crate) async fn transact(&mut self, work: Work) -> Result<()> {
        let (transactions, attempts) = (self.transactions(), Arc::new(Mutex::new(None)));
        let again = Again { book: self.book.clone(), client: self.client, work, last: attempts.clone() };
        let once = move |txn: strata_txn::Attempt| again.clone().once(txn);
        let done = transactions.transact(once).await;
        let last = attempts.lock().take();
        if let Some(last) = last {
            match &done {
                Ok(_) => {
                    // At once: its client may die before somebody has told the timestamp.
                    last.committed(None);
                    if let Some(at) = self.ask(last.entry).await {
                        self.book.date(last.entry, at);
                    }
                }
                Err(error) => last.failed(error),
            }
            if matches!(self.book.fate(last.entry), Fate::Unknown(_)) {
                self.unsure.push(last.entry);
                self.client = self.book.fresh_client();
            }
        }
        done
    }

    /// The commit timestamp of a transaction that was committed, if somebody knows.
    async fn ask(&mut self, entry: usize) -> Option<strata_types::Timestamp> {
        match self.transactions[0].outcome(self.book.handle(entry)?).await {
            Ok(TransactionStatus::Decided(Decision::Committed(at))) => Some(at),
            Ok(TransactionStatus::Decided(Decision::Aborted)) => {
                self.book.report(format!("SIM-TXN-3 outcomes stay: t{entry} was committed, and is aborted"));
                None
            }
            _ => None,
        }
    }

    /// Asks what became of a transaction. Returns whether it is still under way.
    pub(crate) async fn find_out(&mut self, entry: usize) -> Result<bool> {
        let Some(handle) = self.book.handle(entry) else { return Ok(false) };
        // Every other one is made to end, if its client knew when it began.
        let has_begun = handle.read_timestamp > strata_types::Timestamp(0);
        let status = match entry.is_multiple_of(2) && has_begun && self.book.has_writes(entry) {
            true => self.transactions[0].settle(handle).await?,
            false => self.transactions[0].outcome(handle).await?,
        };
        let fate = self.book.fate(entry);
        self.book.note(format_args!("{} t{entry} is {status:?}", self.client));
        match (fate, status) {
            (Fate::Unknown(_), TransactionStatus::Decided(Decision::Committed(at))) => {
                self.book.end(entry, Fate::Committed { at: Some(at), ended: self.book.now() });
            }
            (Fate::Unknown(_), TransactionStatus::Decided(Decision::Aborted)) => self.book.end(entry, Fate::Aborted),
            (Fate::Committed { at: None, .. }, TransactionStatus::Decided(Decision::Committed(at))) => {
                self.book.date(entry, at);
            }
            // SIM-TXN-3: what was told of an end stays true.
            (Fate::Aborted, TransactionStatus::Decided(Decision::Committed(_)))
            | (Fate::Committed { .. }, TransactionStatus::Decided(Decision::Aborted)) => {
                self.book.report(format!("SIM-TXN-3 outcomes stay: t{entry} was {fate:?}, and is {status:?}"));
            }
            (Fate::Committed { at: Some(before), .. }, TransactionStatus::Decided(Decision::Committed(at)))
                if at != before =>
            {
                self.book
                    .report(format!("SIM-TXN-3 outcomes stay: t{entry} was committed at {before}, and is at {at}"));
            }
            _ => {}
        }
        Ok(status == TransactionStatus::Pending)
    }

    /// Only reads, of all stories, and everything twice: SIM-TXN-2 is in the book. What is written meanwhile must not be
    /// stamped below.
    pub(crate) async fn watch(mut self, mut stop: tokio::sync::watch::Receiver<bool>) {
        let book = self.book.clone();
        while !*stop.borrow_and_update() {
            let looked = in_time(WORK_MAX, Box::pin(self.look_twice()), |text| book.report(text)).await;
            if let Some(Err(error)) = looked {
                self.book.failed(format_args!("{} looks", self.client), &error);
            }
            let pause = Duration::from_micros(self.dice.between(1_000, 60_000));
            tokio::time::sleep(pause).await;
        }
    }

    async fn look_twice(&mut self) -> Result<()> {
        // Of no story whose own checker would have to know all keys.
        let story = Story::Registers;
        let mut keys: Vec<String> = self.book.recent_keys(WATCHED);
        // What is written without a transaction is stamped by nothing but the leader's clock.
        keys.extend((0..WATCHED / 2).map(|_| some_key(&self.record, &mut self.dice)));
        let (mut notes, snapshot) = self.snapshot(story).await?;
        for key in &keys {
            notes.look(&snapshot, key).await?;
        }
        let at = snapshot.timestamp();
        notes.committed(Some(at));
        tokio::time::sleep(Duration::from_millis(self.dice.between(0, 400))).await;
        let again = self.transactions().snapshot_at(at).await?;
        let mut notes = Notes::open_past(&self.book, self.client, story);
        for key in &keys {
            notes.look(&again, key).await?;
        }
        notes.committed(Some(at));
        Ok(())
    }

    /// Reads once more what was read at an older timestamp, at another replica perhaps. SIM-TXN-2 is in the book.
    async fn travel(&mut self, story: Story) -> Result<()> {
        let dice = &mut self.dice;
        // What was just read may be about to change.
        let recent = if dice.chance(600) { RECENT } else { usize::MAX };
        let position = |count: usize| dice.between(count.saturating_sub(recent) as u64, count as u64 - 1) as usize;
        let Some((at, question)) = self.book.asked(position) else {
            return Ok(());
        };
        let snapshot = self.transactions().snapshot_at(at).await?;
        let mut notes = Notes::open_past(&self.book, self.client, story);
        match question {
            Question::Key(key) => drop(notes.look(&snapshot, &key).await?),
            Question::Range(start, end) => drop(notes.look_over(&snapshot, &start, &end).await?),
        }
        notes.committed(Some(at));
        Ok(())
    }
}
