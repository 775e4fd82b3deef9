//! Many tasks add to one counter with compare-and-set; none of the additions is lost:
//! `STRATA_ADDR=127.0.0.1:7400 cargo run --example counter`.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "an example talks to its user and has its own tasks"
)]

use strata_client::{Client, Expected, Result};

const TASKS: u64 = 8;
const ADDITIONS: u64 = 25;

/// Adds one, and tries again whenever somebody else was faster. Returns the new value.
async fn add_one(client: &Client, key: &'static str) -> Result<u64> {
    loop {
        let item = client.get(key).await?;
        let (expected, count) = match &item {
            None => (Expected::Absent, 0),
            Some(item) => {
                let digits = item.value.as_ref().try_into().unwrap_or_default();
                (Expected::Revision(item.revision), u64::from_be_bytes(digits))
            }
        };
        let next = (count + 1).to_be_bytes().to_vec();
        if client.compare_and_set(key, expected, Some(next.into())).await?.succeeded {
            return Ok(count + 1);
        }
    }
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    run(std::env::var("STRATA_ADDR").unwrap_or_else(|_| "127.0.0.1:7400".to_owned())).await
}

/// Everything; the tests run it, too.
pub(crate) async fn run(address: String) -> std::result::Result<(), Box<dyn std::error::Error>> {
    // With sessions a lost answer is retried and still counts once.
    let client = Client::builder().sessions(true).connect([address]).await?;
    client.delete("counter").await?;

    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                for _ in 0..ADDITIONS {
                    add_one(&client, "counter").await?;
                }
                Ok::<(), strata_client::Error>(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }

    let total = add_one(&client, "counter").await?;
    println!("counted to {total}");
    assert_eq!(total, TASKS * ADDITIONS + 1, "every addition counts once");
    client.delete("counter").await?;
    println!("ok");
    Ok(())
}
