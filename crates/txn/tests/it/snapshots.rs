//! Snapshots, now and of the past.

use strata_types::{ErrorCode, Timestamp};

use crate::model::{Model, SECOND, shown, value};

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_found_again_by_its_timestamp() {
    let (model, transactions) = Model::start(4);
    model.put("a", "1");
    let old = transactions.snapshot().await.expect("a snapshot");
    // Raises the clocks of the shards.
    assert_eq!(shown(&old.scan("", None, None).collect().await.expect("scanned")), "a=1");
    model.put("a", "2");
    model.put("b", "2");
    let again = transactions.snapshot_at(old.timestamp()).await.expect("it is past");
    assert_eq!(again.timestamp(), old.timestamp());
    assert_eq!(shown(&again.scan("", None, None).collect().await.expect("scanned")), "a=1");
    assert_eq!(value(again.get("a").await.expect("read")).as_deref(), Some("1"));
    let now = transactions.snapshot().await.expect("a snapshot");
    assert_eq!(shown(&now.scan("", None, None).collect().await.expect("scanned")), "a=2 b=2");
}

#[tokio::test(start_paused = true)]
async fn there_is_no_snapshot_of_the_future() {
    let (_, transactions) = Model::start(4);
    let now = transactions.snapshot().await.expect("a snapshot").timestamp();
    transactions.snapshot_at(now).await.expect("it is there");
    // One ahead is what has just been committed.
    let just_now = transactions.snapshot_at(now.next()).await.expect("its time has come");
    assert_eq!(just_now.timestamp(), now.next());
    let ahead = Timestamp(now.0 + 3);
    let error = transactions.snapshot_at(ahead).await.err().expect("it lies ahead");
    assert_eq!(error.code, ErrorCode::InvalidArgument);
    assert!(error.message.contains(&format!("no snapshot at {ahead} yet")), "{error}");
    assert!(transactions.snapshot_at(Timestamp(0)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_held_while_it_or_a_scan_of_it_is_there() {
    let (model, transactions) = Model::start(4);
    let snapshot = transactions.snapshot().await.expect("a snapshot");
    let at = snapshot.timestamp();
    let scan = snapshot.scan("", None, None);
    drop(snapshot);
    model.env().sleep(120 * SECOND).await;
    let held = model.holds();
    assert!(held.len() >= 4 && held.iter().all(|held| *held == at), "{held:?}");
    drop(scan);
    model.env().sleep(120 * SECOND).await;
    assert_eq!(model.holds().len(), held.len(), "nobody needs it any more");
}
