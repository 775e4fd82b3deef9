//! Moves money between accounts in transactions, and looks at all of them at one point in time:
//! `STRATA_ADDR=127.0.0.1:7400 cargo run --example transfer`.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "an example talks to its user and has its own tasks"
)]

use strata_client::{Client, Error, ErrorCode, Item, LockWait, Result};

const ACCOUNTS: u64 = 4;
const START: u64 = 100;
const TASKS: u64 = 4;
const TRANSFERS: u64 = 10;

fn account(number: u64) -> String {
    format!("transfer/account/{number}")
}

fn amount_of(item: Option<Item>) -> u64 {
    item.and_then(|item| item.value.as_ref().try_into().ok()).map_or(0, u64::from_be_bytes)
}

/// Takes from one account and gives to another, both or neither. They may live on different shards.
async fn transfer(client: &Client, from: u64, to: u64, amount: u64) -> Result<()> {
    client
        .transact(|mut txn| async move {
            let here = amount_of(txn.get_for_update(account(from), LockWait::Wait).await?);
            let there = amount_of(txn.get_for_update(account(to), LockWait::Wait).await?);
            let left = here.checked_sub(amount).ok_or_else(|| {
                Error::not_applied(ErrorCode::InvalidArgument, format!("account {from} has {here} only"))
            })?;
            txn.put(account(from), left.to_be_bytes().to_vec()).await?;
            txn.put(account(to), (there + amount).to_be_bytes().to_vec()).await
        })
        .await
}

async fn total(client: &Client) -> Result<u64> {
    let snapshot = client.snapshot().await?;
    let accounts = snapshot.scan("transfer/account/", Some("transfer/account0".into()), None).collect().await?;
    Ok(accounts.into_iter().map(|item| amount_of(Some(item))).sum())
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    run(std::env::var("STRATA_ADDR").unwrap_or_else(|_| "127.0.0.1:7400".to_owned())).await
}

/// Everything; the tests run it, too.
pub(crate) async fn run(address: String) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let client = Client::connect([address]).await?;

    let mut txn = client.begin().await?;
    for number in 0..ACCOUNTS {
        txn.put(account(number), START.to_be_bytes().to_vec()).await?;
    }
    let opened = txn.commit().await?;
    println!("{ACCOUNTS} accounts were opened at {opened}");

    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let client = client.clone();
            tokio::spawn(async move {
                for round in 0..TRANSFERS {
                    let (from, to) = ((task + round) % ACCOUNTS, (task + round + 1) % ACCOUNTS);
                    transfer(&client, from, to, 1 + round % 3).await?;
                }
                Ok::<(), Error>(())
            })
        })
        .collect();
    // Whenever one looks, no money is on its way.
    for task in tasks {
        assert_eq!(total(&client).await?, ACCOUNTS * START);
        task.await??;
    }
    assert_eq!(total(&client).await?, ACCOUNTS * START);

    let before = client.snapshot_at(opened).await?;
    println!("account 0 had {} then", amount_of(before.get(account(0)).await?));
    println!("account 0 has {} now", amount_of(client.get(account(0)).await?));

    let mut txn = client.begin().await?;
    for number in 0..ACCOUNTS {
        txn.delete(account(number)).await?;
    }
    txn.commit().await?;
    println!("ok");
    Ok(())
}
