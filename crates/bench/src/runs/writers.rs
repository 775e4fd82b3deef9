//! Many writers that fill a cluster with data.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use strata_client::Client;
use tokio::task::JoinSet;

use crate::load::{key, value_of};
use crate::report::{number, print_error};

/// Bytes of a key.
pub(super) const KEY_BYTES: u64 = 16;
const WRITERS: usize = 256;
/// How often progress is looked at, and told.
const POLL: Duration = Duration::from_millis(50);
const TOLD: Duration = Duration::from_secs(5);
/// Loading is stuck when nothing is acknowledged for so long.
const STUCK: Duration = Duration::from_secs(60);

/// Writers of new keys, until they are told to stop.
pub(super) struct Writers {
    tasks: JoinSet<Vec<u32>>,
    shared: Arc<Progress>,
}

struct Progress {
    next: AtomicU32,
    acked: AtomicU32,
    is_stopped: AtomicBool,
}

impl Writers {
    /// Starts with key `first`.
    pub(super) fn start(client: Client, first: u32, value_bytes: usize) -> Writers {
        let shared = Arc::new(Progress {
            next: AtomicU32::new(first),
            acked: AtomicU32::new(0),
            is_stopped: AtomicBool::new(false),
        });
        let mut tasks = JoinSet::new();
        for _ in 0..WRITERS {
            let (client, shared) = (client.clone(), shared.clone());
            tasks.spawn(async move {
                let mut acked = Vec::new();
                while !shared.is_stopped.load(Ordering::Relaxed) {
                    let number = shared.next.fetch_add(1, Ordering::Relaxed);
                    let value = value_of(u64::from(number), value_bytes);
                    if client.put(key(u64::from(number)), value).await.is_ok() {
                        acked.push(number);
                        shared.acked.fetch_add(1, Ordering::Relaxed);
                    }
                }
                acked
            });
        }
        Writers { tasks, shared }
    }

    /// Waits until so many writes are acknowledged.
    pub(super) async fn reach(&self, run: &str, count: u32) -> Result<()> {
        let (mut last, mut since, mut told) = (0, Instant::now(), Instant::now());
        loop {
            let acked = self.shared.acked.load(Ordering::Relaxed);
            if acked >= count {
                return Ok(());
            }
            if acked > last {
                (last, since) = (acked, Instant::now());
            }
            if since.elapsed() > STUCK {
                bail!("no write was acknowledged for {} s", STUCK.as_secs());
            }
            if told.elapsed() > TOLD {
                print_error(&format!("{run}: {} of {} writes", number(f64::from(acked)), number(f64::from(count))));
                told = Instant::now();
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// All writes that were acknowledged. Also when the nodes are gone: what is under way then fails by its deadline.
    pub(super) async fn stop(mut self) -> Result<Vec<u32>> {
        self.shared.is_stopped.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        while let Some(acked) = self.tasks.join_next().await {
            all.extend(acked?);
        }
        all.sort_unstable();
        Ok(all)
    }
}
