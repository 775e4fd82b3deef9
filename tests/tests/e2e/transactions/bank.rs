//! Accounts on all shards, clients that move money between them, and somebody who counts it.
//!
//! Each transfer leaves a slip: a key of its own, written by the same transaction. The slips and the accounts are read
//! in one snapshot at the end. So it shows what of each transfer was done: all of it, nothing, or a part.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use strata_client::{
    Client, Decision, LockWait, Outcome, Result, Snapshot, Transaction, TransactionHandle, TransactionStatus,
};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::harness::{LONG, poll};

const ACCOUNTS: u64 = 12;
const START: i64 = 1_000;
const CLIENTS: u64 = 8;
/// What every step must let through while it lasts, and after it.
const TRANSFERS: usize = 60;
const SNAPSHOTS: usize = 5;
/// Shorter than a failover may take, so that some transfers end without an answer.
const DEADLINE: Duration = Duration::from_secs(1);
/// How long the outcome of such a one is asked for.
const QUESTIONS: u32 = 40;
const PAUSE: Duration = Duration::from_millis(50);

/// Money that goes from one account to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Transfer {
    client: u64,
    number: u64,
}

/// What a client was told of its transfers.
#[derive(Debug, Default)]
struct Told {
    committed: BTreeSet<Transfer>,
    refused: BTreeSet<Transfer>,
    /// Had no answer, and nobody could tell for a while.
    untold: BTreeMap<Transfer, TransactionHandle>,
}

impl Told {
    fn note(&mut self, transfer: Transfer, outcome: Outcome, handle: TransactionHandle) {
        match outcome {
            Outcome::Applied => _ = self.committed.insert(transfer),
            Outcome::NotApplied => _ = self.refused.insert(transfer),
            Outcome::Unknown => _ = self.untold.insert(transfer, handle),
        }
    }
}

/// Clients at work.
pub struct Bank {
    told: Arc<Mutex<Told>>,
    snapshots: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    runtime: Runtime,
    client: Client,
    tasks: Vec<JoinHandle<()>>,
}

impl Bank {
    /// Opens the accounts, and lets the clients loose.
    pub fn open(addresses: Vec<String>) -> Bank {
        let runtime = Runtime::new().expect("a runtime");
        let client = connect(&runtime, &addresses);
        runtime.block_on(async {
            let mut txn = client.begin().await.expect("begun");
            for account in 0..ACCOUNTS {
                txn.put(account_key(account), START.to_string()).await.expect("kept");
            }
            txn.commit().await.expect("committed");
        });
        let (told, snapshots, is_over) = (Arc::default(), Arc::default(), Arc::default());
        let mut bank = Bank { told, snapshots, is_over, tasks: Vec::new(), client, runtime };
        for number in 0..CLIENTS {
            // Every program has two of them.
            let client =
                if number.is_multiple_of(2) { connect(&bank.runtime, &addresses) } else { bank.client.clone() };
            let (told, is_over) = (bank.told.clone(), bank.is_over.clone());
            bank.tasks.push(bank.runtime.spawn(work(client.with_deadline(DEADLINE), number, told, is_over)));
        }
        let (counted, is_over) = (bank.snapshots.clone(), bank.is_over.clone());
        bank.tasks.push(bank.runtime.spawn(count(connect(&bank.runtime, &addresses), counted, is_over)));
        bank
    }

    /// Waits until transfers and snapshots have gone on for a while.
    pub fn go_on(&self, after: &str) {
        let transfers = || self.told.lock().expect("nobody panicked").committed.len();
        let snapshots = || self.snapshots.load(Ordering::SeqCst);
        let before = (transfers(), snapshots());
        let is_done = || transfers() >= before.0 + TRANSFERS && snapshots() >= before.1 + SNAPSHOTS;
        poll(&format!("transfers and snapshots after {after}"), LONG, || {
            let failed = self.tasks.iter().any(JoinHandle::is_finished);
            assert!(!failed, "a client or the counting ended: its complaint is above");
            is_done().then_some(())
        });
    }

    /// Ends, and fails the test if a transfer was lost, made up, or done by halves.
    pub fn check(self) {
        self.is_over.store(true, Ordering::SeqCst);
        let (told, slips, balances) = self.runtime.block_on(async {
            for task in self.tasks {
                task.await.expect("no client panicked");
            }
            let mut told = std::mem::take(&mut *self.told.lock().expect("nobody panicked"));
            for (transfer, handle) in std::mem::take(&mut told.untold) {
                told.note(transfer, settle(&self.client, handle).await, handle);
            }
            let snapshot = self.client.snapshot().await.expect("a snapshot");
            let slips = read(&snapshot, "slip/").await.expect("readable");
            (told, slips, read(&snapshot, "account/").await.expect("readable"))
        });
        let all: BTreeSet<Transfer> = slips.keys().map(|key| Transfer::of_slip(key)).collect();
        let lost: Vec<_> = told.committed.difference(&all).collect();
        assert!(lost.is_empty(), "committed, and not there: {lost:?}");
        let made_up: Vec<_> = told.refused.intersection(&all).collect();
        assert!(made_up.is_empty(), "not committed, and there: {made_up:?}");
        let told_of = |done: &&Transfer| told.committed.contains(done) || told.untold.contains_key(done);
        let strange: Vec<_> = all.iter().filter(|done| !told_of(done)).collect();
        assert!(strange.is_empty(), "nobody asked for them: {strange:?}");
        let mut expected: BTreeMap<u64, i64> = (0..ACCOUNTS).map(|account| (account, START)).collect();
        for transfer in &all {
            let (from, to, amount) = transfer.what();
            *expected.entry(from).or_default() -= amount;
            *expected.entry(to).or_default() += amount;
        }
        let expected: BTreeMap<String, String> =
            expected.into_iter().map(|(account, balance)| (account_key(account), balance.to_string())).collect();
        assert_eq!(balances, expected, "each slip stands for a whole transfer");
    }
}

impl Transfer {
    /// From where to where, and how much: as good as random, and known from its name.
    fn what(self) -> (u64, u64, i64) {
        let mixed = (self.client * 1_000_003 + self.number).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let from = mixed % ACCOUNTS;
        let to = (from + 1 + mixed / ACCOUNTS % (ACCOUNTS - 1)) % ACCOUNTS;
        (from, to, 1 + (mixed % 7) as i64)
    }

    fn slip(self) -> String {
        format!("slip/{}/{}", self.client, self.number)
    }

    fn of_slip(key: &str) -> Transfer {
        let mut parts = key.split('/').skip(1).map(|part| part.parse().expect("a number"));
        let mut next = || parts.next().expect("two numbers");
        Transfer { client: next(), number: next() }
    }

    /// Everything but the commit.
    async fn prepare(self, client: &Client) -> Result<Transaction> {
        let (from, to, amount) = self.what();
        let mut txn = client.begin().await?;
        // One half locks what it reads, the other half hopes for the best.
        for (account, change) in [(from, -amount), (to, amount)] {
            let key = account_key(account);
            let item = match self.client.is_multiple_of(2) {
                true => txn.get_for_update(key.clone(), LockWait::Wait).await?,
                false => txn.get(key.clone()).await?,
            };
            let balance = number_in(&item.expect("every account has a balance").value);
            txn.put(key, (balance + change).to_string()).await?;
        }
        txn.put(self.slip(), "done").await?;
        Ok(txn)
    }
}

fn connect(runtime: &Runtime, addresses: &[String]) -> Client {
    runtime.block_on(Client::connect(addresses.to_vec())).expect("the cluster answers")
}

async fn work(client: Client, number: u64, told: Arc<Mutex<Told>>, is_over: Arc<AtomicBool>) {
    for transfer in (0..).map(|count| Transfer { client: number, number: count }) {
        if is_over.load(Ordering::SeqCst) {
            return;
        }
        let Ok(txn) = transfer.prepare(&client).await else {
            // Nobody was asked to commit it.
            told.lock().expect("nobody panicked").refused.insert(transfer);
            continue;
        };
        let handle = txn.handle();
        let outcome = match txn.commit().await {
            Ok(_) => Outcome::Applied,
            Err(error) => error.outcome,
        };
        let outcome = match outcome {
            Outcome::Unknown => settle(&client, handle).await,
            known => known,
        };
        told.lock().expect("nobody panicked").note(transfer, outcome, handle);
    }
}

/// Asks what became of a transaction, until somebody knows.
async fn settle(client: &Client, handle: TransactionHandle) -> Outcome {
    let mut pause = tokio::time::interval(PAUSE);
    for _ in 0..QUESTIONS {
        pause.tick().await;
        match client.outcome(handle).await {
            Ok(TransactionStatus::Decided(Decision::Committed(_))) => return Outcome::Applied,
            Ok(TransactionStatus::Decided(Decision::Aborted)) => return Outcome::NotApplied,
            // There may be no trace of one that never arrived, or that has been done with.
            Ok(TransactionStatus::Pending | TransactionStatus::Unknown) | Err(_) => {}
        }
    }
    Outcome::Unknown
}

/// Counts the money again and again.
async fn count(client: Client, counted: Arc<AtomicUsize>, is_over: Arc<AtomicBool>) {
    while !is_over.load(Ordering::SeqCst) {
        // Nodes die: a snapshot that cannot be read says nothing.
        let Ok(snapshot) = client.snapshot().await else { continue };
        let Ok(balances) = read(&snapshot, "account/").await else { continue };
        let total: i64 = balances.values().map(|balance| number_in(balance.as_bytes())).sum();
        let at = snapshot.timestamp();
        assert_eq!(total, START * ACCOUNTS as i64, "at {at}: {balances:?}");
        if let Ok(again) = client.snapshot_at(at).await
            && let Ok(again) = read(&again, "account/").await
        {
            assert_eq!(again, balances, "the snapshot at {at} changed");
            counted.fetch_add(1, Ordering::SeqCst);
        }
    }
}

async fn read(snapshot: &Snapshot, prefix: &str) -> Result<BTreeMap<String, String>> {
    let end = format!("{}0", prefix.trim_end_matches('/'));
    let items = snapshot.scan(prefix.to_owned(), Some(end.into()), None).collect().await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(items.into_iter().map(|item| (text(&item.key), text(&item.value))).collect())
}

fn account_key(account: u64) -> String {
    format!("account/{account:02}")
}

fn number_in(value: &[u8]) -> i64 {
    std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok()).expect("a number")
}
