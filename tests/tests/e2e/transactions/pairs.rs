//! Pairs of keys on two shards, each pair written by one transaction after the other, with one value for both keys.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use strata_client::{Client, Decision, Outcome, Result, TransactionHandle, TransactionStatus};
use tokio::runtime::Runtime;

use crate::harness::{LONG, poll};

const PAIRS: usize = 8;
/// Longer than the clients live: they die in the middle of a commit.
const PATIENCE: Duration = Duration::from_secs(60);
/// What is let through before anything happens.
const COMMITS: usize = 40;

/// What was told of one pair.
#[derive(Debug, Default)]
struct Told {
    /// The last value that was committed.
    committed: u64,
    /// The value of the commit without an answer, if there is one, and how to ask for it.
    untold: Option<(u64, TransactionHandle)>,
    /// The commits that were answered.
    count: usize,
}

/// Clients that write pairs until one of their commits fails, or until they die.
pub struct Pairs {
    keys: Vec<(String, String)>,
    told: Arc<Mutex<BTreeMap<usize, Told>>>,
    runtime: Runtime,
}

impl Pairs {
    /// Starts them: a client program of its own. The first keys are written first, so that their shard has the records.
    pub fn start(
        addresses: Vec<String>,
        first: impl Iterator<Item = String>,
        second: impl Iterator<Item = String>,
    ) -> Pairs {
        let keys: Vec<_> = first.zip(second).take(PAIRS).collect();
        let runtime = Runtime::new().expect("a runtime");
        let connected = Client::builder().deadline(PATIENCE).connect(addresses);
        let client = runtime.block_on(connected).expect("the cluster answers");
        let told = Arc::<Mutex<BTreeMap<_, _>>>::default();
        for (number, (one, two)) in keys.iter().cloned().enumerate() {
            let (client, told) = (client.clone(), told.clone());
            runtime.spawn(async move {
                for value in 1.. {
                    if write(&client, &told, number, (&one, &two), value).await.is_err() {
                        return;
                    }
                }
            });
        }
        Pairs { keys, told, runtime }
    }

    /// Waits until some were committed.
    pub fn wait_committed(&self) {
        poll("commits of pairs", LONG, || {
            let told = self.told.lock().expect("nobody panicked");
            (told.len() == PAIRS && told.values().map(|told| told.count).sum::<usize>() >= COMMITS).then_some(())
        });
    }

    /// The client program dies. Gives what is known of the pairs.
    pub fn die(self) -> Remains {
        self.runtime.shutdown_background();
        Remains { keys: self.keys, told: std::mem::take(&mut *self.told.lock().expect("nobody panicked")) }
    }
}

async fn write(
    client: &Client,
    told: &Mutex<BTreeMap<usize, Told>>,
    number: usize,
    (one, two): (&str, &str),
    value: u64,
) -> Result<()> {
    let mut txn = client.begin().await?;
    txn.put(one.to_owned(), value.to_string()).await?;
    txn.put(two.to_owned(), value.to_string()).await?;
    let note = |untold, committed: Option<u64>| {
        let mut told = told.lock().expect("nobody panicked");
        let told = told.entry(number).or_default();
        told.untold = untold;
        told.committed = committed.unwrap_or(told.committed);
        told.count += usize::from(committed.is_some());
    };
    // Noted before it is sent: whoever dies after that has had no answer.
    note(Some((value, txn.handle())), None);
    let committed = txn.commit().await;
    match &committed {
        Ok(_) => note(None, Some(value)),
        Err(error) if error.outcome == Outcome::NotApplied => note(None, None),
        Err(error) => assert_eq!(error.outcome, Outcome::Unknown, "an error of a commit: {error}"),
    }
    committed.map(drop)
}

/// What a client program that died has left.
pub struct Remains {
    keys: Vec<(String, String)>,
    told: BTreeMap<usize, Told>,
}

impl Remains {
    /// All keys.
    pub fn keys(&self) -> impl Iterator<Item = &String> {
        self.keys.iter().flat_map(|(one, two)| [one, two])
    }

    /// The second keys.
    pub fn second_keys(&self) -> impl Iterator<Item = &String> {
        self.keys.iter().map(|(_, two)| two)
    }

    /// Fails the test unless each pair holds the value of one transaction, not older than what was committed, and
    /// unless what is told of the last one is true.
    pub async fn check(&self, client: &Client) {
        let snapshot = client.snapshot().await.expect("a snapshot");
        for (number, (one, two)) in self.keys.iter().enumerate() {
            let read = async |key: &String| {
                let item = snapshot.get(key.clone()).await.expect("readable");
                item.map(|item| String::from_utf8_lossy(&item.value).into_owned())
            };
            let (value, other) = (read(one).await, read(two).await);
            assert_eq!(value, other, "{one} and {two} are written together");
            let Told { committed, untold, .. } = &self.told[&number];
            let value: u64 = value.expect("it was written").parse().expect("a number");
            let Some((last, handle)) = untold else {
                assert_eq!(value, *committed, "{one}");
                continue;
            };
            assert!(
                value == *committed || value == *last,
                "{one} is {value}, {committed} was committed, {last} not told"
            );
            match client.outcome(*handle).await.expect("the record's shard answers") {
                TransactionStatus::Decided(Decision::Committed(_)) => assert_eq!(value, *last, "{one}: {handle}"),
                TransactionStatus::Decided(Decision::Aborted) => assert_eq!(value, *committed, "{one}: {handle}"),
                // It left no trace, or nobody has met it yet.
                TransactionStatus::Unknown | TransactionStatus::Pending => {}
            }
        }
    }
}
