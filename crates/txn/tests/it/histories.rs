//! Many transactions at once, with faults: money is moved, never made or lost.

use std::sync::Arc;

use strata_env::sim::SimRng;
use strata_txn::{Transaction, Transactions};
use strata_types::LockWait;

use crate::model::{Fault, Model, SECOND, value};

const ACCOUNTS: u64 = 6;
const START: i64 = 100;

fn account(number: u64) -> String {
    format!("account/{number}")
}

async fn balance(txn: &mut Transaction, key: &str, is_locked: bool) -> strata_types::Result<i64> {
    let item = match is_locked {
        true => txn.get_for_update(key.to_owned(), LockWait::Wait).await?,
        false => txn.get(key.to_owned()).await?,
    };
    Ok(value(item).expect("an account").parse().expect("a number"))
}

async fn transfer(transactions: &Transactions, rng: &SimRng) -> strata_types::Result<()> {
    let (from, to) = (account(rng.below(ACCOUNTS)), account(rng.below(ACCOUNTS)));
    let (amount, is_locked) = (rng.below(10) as i64, rng.coin());
    transactions
        .transact(|mut txn| {
            let (from, to) = (from.clone(), to.clone());
            async move {
                if from == to {
                    return Ok(());
                }
                let here = balance(&mut txn, &from, is_locked).await?;
                let there = balance(&mut txn, &to, is_locked).await?;
                txn.put(from, (here - amount).to_string()).await?;
                txn.put(to, (there + amount).to_string()).await
            }
        })
        .await
}

async fn total(transactions: &Transactions) -> i64 {
    let snapshot = transactions.snapshot().await.expect("a snapshot");
    let items = snapshot.with_deadline(30 * SECOND).scan("account/", None, None).collect().await.expect("scanned");
    assert_eq!(items.len() as u64, ACCOUNTS);
    items.into_iter().map(|item| value(Some(item)).expect("a value").parse::<i64>().expect("a number")).sum()
}

async fn run(seed: u64, with_faults: bool) {
    let (model, transactions) = Model::start(4);
    for number in 0..ACCOUNTS {
        model.put(&account(number), &START.to_string());
    }
    let clients: Vec<_> = (0..6)
        .map(|client| {
            let (transactions, rng) = (transactions.clone(), Arc::new(SimRng::new(seed * 100 + client)));
            tokio::spawn(async move {
                let mut committed = 0;
                for _ in 0..20 {
                    committed += u32::from(transfer(&transactions, &rng).await.is_ok());
                }
                committed
            })
        })
        .collect();
    let rng = SimRng::new(seed);
    let steps = ["prepare", "decide", "resolve", "commit", "get", "lock", "unlock", "abort"];
    for _ in 0..20 {
        assert_eq!(total(&transactions).await, ACCOUNTS as i64 * START, "seed {seed}");
        if with_faults {
            let fault = match rng.below(4) {
                0 => Fault::NotSent,
                1 => Fault::LoseRequest,
                2 => Fault::LoseReply,
                _ => Fault::Slow(SECOND / 10 * rng.below(40) as u32),
            };
            model.script([(steps[rng.below(steps.len() as u64) as usize], fault)]);
        }
        model.env().sleep(SECOND / 100).await;
    }
    let mut committed = 0;
    for client in clients {
        committed += client.await.expect("no panic");
    }
    assert!(committed > 100, "seed {seed}: {committed} of 120 transfers");
    assert_eq!(total(&transactions).await, ACCOUNTS as i64 * START, "seed {seed}");
    model.env().sleep(70 * SECOND).await;
    assert_eq!((model.unfinished(), model.locked()), (0, 0), "seed {seed}");
}

#[tokio::test(start_paused = true)]
async fn money_is_moved_and_never_made() {
    for seed in 0..10 {
        run(seed, false).await;
    }
}

#[tokio::test(start_paused = true)]
async fn money_is_never_made_when_messages_get_lost() {
    for seed in 0..20 {
        run(seed, true).await;
    }
}
