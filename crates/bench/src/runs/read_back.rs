//! BENCH-3: whether every acknowledged write is still there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use strata_client::Client;
use tokio::task::JoinSet;

use crate::load::{key, value_of};

/// Readers at once.
const READERS: usize = 256;
/// Gets of one key before its value counts as unreadable, which is not the same as lost.
const ATTEMPTS: u32 = 5;

/// Reads all these keys; returns those that are missing or hold something else.
pub(crate) async fn read_back(client: &Client, numbers: Vec<u32>, value_bytes: usize) -> Result<Vec<u32>> {
    let numbers: Arc<[u32]> = numbers.into();
    let next = Arc::new(AtomicUsize::new(0));
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        let (client, numbers, next) = (client.clone(), numbers.clone(), next.clone());
        readers.spawn(async move {
            let mut lost = Vec::new();
            while let Some(&number) = numbers.get(next.fetch_add(1, Ordering::Relaxed)) {
                if !is_there(&client, number, value_bytes).await? {
                    lost.push(number);
                }
            }
            anyhow::Ok(lost)
        });
    }
    let mut lost = Vec::new();
    while let Some(found) = readers.join_next().await {
        lost.extend(found??);
    }
    lost.sort_unstable();
    Ok(lost)
}

async fn is_there(client: &Client, number: u32, value_bytes: usize) -> Result<bool> {
    let mut attempt = 1;
    loop {
        match client.get(key(u64::from(number))).await {
            Ok(item) => return Ok(item.is_some_and(|item| item.value == value_of(u64::from(number), value_bytes))),
            Err(error) if attempt == ATTEMPTS => return Err(error).context(format!("key {number} cannot be read")),
            Err(_) => attempt += 1,
        }
    }
}
