//! Load while something happens.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use strata_client::{Client, KeyRange, Outcome};

use super::{LONG, poll};

const WRITERS: usize = 4;
/// What every step must let through while it lasts, and after it.
const WRITES: usize = 200;

/// Clients that write all the time, each key once.
pub struct Writers {
    acknowledged: Arc<Mutex<BTreeMap<String, String>>>,
    /// Keys of writes that were not applied, as the client was told.
    refused: Arc<Mutex<Vec<String>>>,
    /// Errors of writes of which nobody can tell whether they were applied.
    unknown: Arc<Mutex<Vec<String>>>,
    is_over: Arc<AtomicBool>,
    runtime: tokio::runtime::Runtime,
    client: Client,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Writers {
    /// Starts them.
    pub fn start(addresses: Vec<String>) -> Writers {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let client = runtime.block_on(Client::connect(addresses)).expect("the cluster answers");
        let (acknowledged, is_over) = (Arc::<Mutex<BTreeMap<_, _>>>::default(), Arc::new(AtomicBool::new(false)));
        let (refused, unknown) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<Mutex<Vec<_>>>::default());
        let mut tasks = Vec::new();
        for writer in 0..WRITERS {
            let (client, acknowledged, is_over) = (client.clone(), acknowledged.clone(), is_over.clone());
            let (refused, unknown) = (refused.clone(), unknown.clone());
            tasks.push(runtime.spawn(async move {
                for number in 0.. {
                    if is_over.load(Ordering::SeqCst) {
                        return;
                    }
                    let (key, value) = (format!("w{writer}-{number:08}"), format!("value {number}"));
                    match client.put(key.clone(), value.clone()).await {
                        Ok(_) => drop(acknowledged.lock().expect("nobody panicked").insert(key, value)),
                        Err(error) => match error.outcome {
                            Outcome::NotApplied => refused.lock().expect("nobody panicked").push(key),
                            Outcome::Unknown => unknown.lock().expect("nobody panicked").push(error.to_string()),
                            Outcome::Applied => {}
                        },
                    }
                }
            }));
        }
        Writers { acknowledged, refused, unknown, is_over, runtime, client, tasks }
    }

    fn count(&self) -> usize {
        self.acknowledged.lock().expect("nobody panicked").len()
    }

    /// Waits until writes have gone on for a while.
    pub fn go_on(&self, after: &str) {
        let before = self.count();
        poll(&format!("writes after {after}"), LONG, || (self.count() >= before + WRITES).then_some(()));
    }

    /// The errors so far of writes of which nobody can tell whether they were applied.
    pub fn unknown(&self) -> Vec<String> {
        self.unknown.lock().expect("nobody panicked").clone()
    }

    /// Ends, and fails the test if something is missing or wrong, or there although it was refused.
    pub fn check(self) {
        self.is_over.store(true, Ordering::SeqCst);
        self.runtime.block_on(async {
            for task in self.tasks {
                task.await.expect("no writer panicked");
            }
            let items = self.client.scan_all(KeyRange::prefix("w")).await.expect("readable");
            let found: BTreeMap<_, _> = items.into_iter().map(|item| (item.key, item.value)).collect();
            let acknowledged = self.acknowledged.lock().expect("nobody panicked").clone();
            let is_lost = |(key, value): &(&String, &String)| {
                found.get(key.as_bytes()).is_none_or(|found| found.as_ref() != value.as_bytes())
            };
            let lost: Vec<_> = acknowledged.iter().filter(is_lost).collect();
            let all = acknowledged.len();
            assert!(lost.is_empty(), "{} of {all} acknowledged writes are lost: {:?}", lost.len(), &lost[..1]);
            let refused = self.refused.lock().expect("nobody panicked").clone();
            let applied: Vec<_> = refused.iter().filter(|key| found.contains_key(key.as_bytes())).collect();
            assert!(applied.is_empty(), "of {} refused writes, these were applied: {applied:?}", refused.len());
        });
    }
}
