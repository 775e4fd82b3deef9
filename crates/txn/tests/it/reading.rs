//! What a transaction reads: one point in time, and its own writes.

use strata_txn::{BeginOptions, Transaction};
use strata_types::ErrorCode;

use crate::model::{Fault, Model, bytes, shown, value};

async fn filled() -> (std::sync::Arc<Model>, Transaction) {
    let (model, transactions) = Model::start(4);
    for number in 0..10 {
        model.put(&format!("k{number}"), "c");
    }
    (model, transactions.begin(BeginOptions::default()).await.expect("begun"))
}

#[tokio::test(start_paused = true)]
async fn everything_is_read_at_one_timestamp() {
    let (model, mut txn) = filled().await;
    // Where it has read, later writes are above its timestamp; this reads on every shard.
    assert_eq!(txn.scan_all("k", None, None).await.expect("scanned").len(), 10);
    for number in 0..12 {
        model.put(&format!("k{number}"), "later");
    }
    assert_eq!(value(txn.get("k2").await.expect("read")).as_deref(), Some("c"));
    let items = txn.scan_all("k", None, None).await.expect("scanned");
    assert_eq!(items.len(), 10);
    assert!(items.iter().all(|item| item.value == "c"), "{}", shown(&items));
}

#[tokio::test(start_paused = true)]
async fn own_writes_are_read() {
    let (_, mut txn) = filled().await;
    txn.put("k1", "own").await.expect("buffered");
    txn.delete("k2").await.expect("buffered");
    txn.put("k15", "own").await.expect("buffered");
    assert_eq!(value(txn.get("k1").await.expect("read")).as_deref(), Some("own"));
    assert_eq!(txn.get("k2").await.expect("read"), None);
    let all = txn.scan_all("k0", Some(bytes("k5")), None).await.expect("scanned");
    assert_eq!(shown(&all), "k0=c k1=own k15=own k3=c k4=c");
    txn.put("k2", "again").await.expect("buffered");
    assert_eq!(value(txn.get("k2").await.expect("read")).as_deref(), Some("again"));
}

#[tokio::test(start_paused = true)]
async fn a_limit_counts_what_is_returned() {
    for limit in 0..14 {
        let (_, mut txn) = filled().await;
        for gone in ["k0", "k1", "k2", "k5"] {
            txn.delete(gone).await.expect("buffered");
        }
        for own in ["k00", "k45", "k9z"] {
            txn.put(own, "own").await.expect("buffered");
        }
        let expected = "k00=own k3=c k4=c k45=own k6=c k7=c k8=c k9=c k9z=own";
        let expected: Vec<&str> = expected.split(' ').take(limit).collect();
        let items = txn.scan_all("", None, Some(limit as u64)).await.expect("scanned");
        assert_eq!(shown(&items), expected.join(" "), "limit {limit}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_scan_sees_what_is_written_before_it_comes_there() {
    let (model, transactions) = Model::start(4);
    for number in 0..30_000 {
        model.put(&format!("l{number:05}"), "c");
    }
    let mut txn = transactions.begin(BeginOptions::default()).await.expect("begun");
    let mut scan = txn.scan("l", None, None);
    let mut items = scan.next_page(&mut txn).await.expect("scanned").expect("a page");
    assert!(items.len() < 30_000, "there is more to come");
    txn.delete("l29999").await.expect("buffered");
    txn.put("m", "own").await.expect("buffered");
    while let Some(mut page) = scan.next_page(&mut txn).await.expect("scanned") {
        items.append(&mut page);
    }
    let last = &items[items.len() - 2..];
    assert_eq!(shown(last), "l29998=c m=own");
    assert_eq!(items.len(), 30_000);
    assert!(items.is_sorted_by(|one, other| one.key < other.key));
}

#[tokio::test(start_paused = true)]
async fn an_error_leaves_a_scan_where_it_was() {
    let (model, mut txn) = filled().await;
    let refusal = strata_types::Error::not_applied(ErrorCode::Internal, "broken");
    model.script([("scan", Fault::Refuse(refusal.clone()))]);
    let mut scan = txn.scan("", None, None);
    assert_eq!(scan.next_page(&mut txn).await, Err(refusal));
    let mut items = Vec::new();
    while let Some(mut page) = scan.next_page(&mut txn).await.expect("scanned") {
        items.append(&mut page);
    }
    assert_eq!(items.len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_savepoint_takes_writes_back() {
    let (_, mut txn) = filled().await;
    txn.put("k1", "first").await.expect("buffered");
    let savepoint = txn.savepoint();
    txn.put("k1", "second").await.expect("buffered");
    txn.delete("k2").await.expect("buffered");
    txn.rollback_to(savepoint).expect("it is there");
    assert_eq!(value(txn.get("k1").await.expect("read")).as_deref(), Some("first"));
    assert_eq!(value(txn.get("k2").await.expect("read")).as_deref(), Some("c"));
    txn.commit().await.expect("committed");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_too_long_is_refused_whatever_is_done_with_it() {
    let (_, mut txn) = filled().await;
    let long = vec![b'k'; strata_types::limits::KEY_BYTES_MAX + 1];
    assert_eq!(txn.get(long.clone()).await.expect_err("too long").code, ErrorCode::TooLarge);
    assert_eq!(txn.put(long.clone(), "").await.expect_err("too long").code, ErrorCode::TooLarge);
    assert_eq!(txn.get_for_update(long, Default::default()).await.expect_err("too long").code, ErrorCode::TooLarge);
}
