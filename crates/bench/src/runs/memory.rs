//! How much memory processes take while something goes on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinHandle;

use crate::procs::resident_bytes;

/// How often it is looked.
const POLL: Duration = Duration::from_millis(50);

/// Remembers the most resident memory of each process.
pub(super) struct MemoryWatch {
    most: Arc<Mutex<BTreeMap<u32, u64>>>,
    task: JoinHandle<()>,
}

impl MemoryWatch {
    /// Watches these processes until it is dropped.
    pub(super) fn start(pids: Vec<u32>) -> MemoryWatch {
        let most: Arc<Mutex<BTreeMap<u32, u64>>> = Arc::default();
        let noted = most.clone();
        let task = tokio::spawn(async move {
            loop {
                for &pid in &pids {
                    // A process that is gone takes nothing.
                    let bytes = resident_bytes(pid).unwrap_or(0);
                    let mut noted = noted.lock();
                    let most = noted.entry(pid).or_default();
                    *most = bytes.max(*most);
                }
                tokio::time::sleep(POLL).await;
            }
        });
        MemoryWatch { most, task }
    }

    /// The most of a process so far, in bytes.
    pub(super) fn most(&self, pid: u32) -> u64 {
        self.most.lock().get(&pid).copied().unwrap_or(0)
    }
}

impl Drop for MemoryWatch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn this_process_takes_memory_and_an_unknown_one_does_not() {
        let own = std::process::id();
        let watch = MemoryWatch::start(vec![own, u32::MAX]);
        while watch.most(own) == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(watch.most(u32::MAX), 0);
    }
}
