//! BENCH-3: whether every acknowledged write is still there, and no refused one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use strata_client::{Client, Item};
use tokio::task::JoinSet;

use crate::load::{key, value_of};

/// Readers at once.
const READERS: usize = 256;
/// Gets of one key before its value counts as unreadable, which is not the same as lost.
const ATTEMPTS: u32 = 5;

/// Reads all these keys; returns those that are missing or hold something else.
pub(crate) async fn read_back(client: &Client, numbers: Vec<u32>, value_bytes: usize) -> Result<Vec<u32>> {
    let is_as_written = move |number: u32, item: Option<Item>| {
        item.is_some_and(|item| item.value == value_of(u64::from(number), value_bytes))
    };
    wrong(client, numbers, is_as_written).await
}

/// Reads all these keys, each of which was written once, in vain; returns those that are there.
pub(crate) async fn refused_but_applied(client: &Client, numbers: Vec<u32>) -> Result<Vec<u32>> {
    wrong(client, numbers, |_, item| item.is_none()).await
}

/// Reads all these keys; returns those that are not as they should be.
async fn wrong(
    client: &Client,
    numbers: Vec<u32>,
    is_right: impl Fn(u32, Option<Item>) -> bool + Copy + Send + Sync + 'static,
) -> Result<Vec<u32>> {
    let numbers: Arc<[u32]> = numbers.into();
    let next = Arc::new(AtomicUsize::new(0));
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        let (client, numbers, next) = (client.clone(), numbers.clone(), next.clone());
        readers.spawn(async move {
            let mut wrong = Vec::new();
            while let Some(&number) = numbers.get(next.fetch_add(1, Ordering::Relaxed)) {
                if !is_right(number, read(&client, number).await?) {
                    wrong.push(number);
                }
            }
            anyhow::Ok(wrong)
        });
    }
    let mut wrong = Vec::new();
    while let Some(found) = readers.join_next().await {
        wrong.extend(found??);
    }
    wrong.sort_unstable();
    Ok(wrong)
}

async fn read(client: &Client, number: u32) -> Result<Option<Item>> {
    let mut attempt = 1;
    loop {
        match client.get(key(u64::from(number))).await {
            Ok(item) => return Ok(item),
            Err(error) if attempt == ATTEMPTS => return Err(error).context(format!("key {number} cannot be read")),
            Err(_) => attempt += 1,
        }
    }
}
