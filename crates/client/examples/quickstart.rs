//! Writes, reads and scans a few keys: `STRATA_ADDR=127.0.0.1:7400 cargo run --example quickstart`.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "an example talks to its user and has its own tasks"
)]

use strata_client::{Batch, Client, Expected, KeyRange};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    run(std::env::var("STRATA_ADDR").unwrap_or_else(|_| "127.0.0.1:7400".to_owned())).await
}

/// Everything; the tests run it, too.
pub(crate) async fn run(address: String) -> Result<(), Box<dyn std::error::Error>> {
    let client = Client::connect([address]).await?;

    client.put("quickstart/city", "Łódź").await?;
    let item = client.get("quickstart/city").await?.ok_or("the key was just written")?;
    println!("city = {} (revision {})", String::from_utf8_lossy(&item.value), item.revision);

    // Written only if nobody else did meanwhile.
    let change =
        client.compare_and_set("quickstart/city", Expected::Revision(item.revision), Some("Kraków".into())).await?;
    assert!(change.succeeded, "nobody else writes this key");

    // Keys with the same {hash tag} live on one shard, so they can be written together.
    let batch = Batch::new().put("quickstart/{user 7}/name", "Ada").put("quickstart/{user 7}/city", "London");
    client.batch(batch).await?;

    for item in client.scan_all(KeyRange::prefix("quickstart/")).await? {
        println!("{} = {}", String::from_utf8_lossy(&item.key), String::from_utf8_lossy(&item.value));
        client.delete(item.key).await?;
    }
    assert!(client.scan_all(KeyRange::prefix("quickstart/")).await?.is_empty());
    println!("ok");
    Ok(())
}
