//! What is too much for one transaction, and what lasts for too long.

use strata_txn::BeginOptions;
use strata_types::ErrorCode;
use strata_types::limits::{TRANSACTION_AGE_MAX, TRANSACTION_READS_MAX, TRANSACTION_WRITES_MAX};

use crate::model::{Model, SECOND};

#[tokio::test(start_paused = true)]
async fn what_is_over_a_limit_is_refused_before_anything_is_sent() {
    let (model, transactions) = Model::start(4);
    let mut txn = transactions.begin(BeginOptions::default()).await.expect("begun");
    for number in 0..TRANSACTION_WRITES_MAX {
        txn.put(format!("{number}"), "").await.expect("within the limit");
    }
    let error = txn.put("one more", "").await.expect_err("over the limit");
    assert_eq!(error.code, ErrorCode::TooLarge);
    assert!(error.message.contains("10001 writes"), "{error}");
    drop(txn);

    let mut txn = transactions.begin(BeginOptions::default()).await.expect("begun");
    txn.put("w", "").await.expect("buffered");
    for chunk in (0..=TRANSACTION_READS_MAX).collect::<Vec<_>>().chunks(1000) {
        for number in chunk {
            txn.get(format!("r{number}")).await.expect("read");
        }
    }
    let error = txn.commit().await.expect_err("over the limit");
    assert!(error.code == ErrorCode::TooLarge && error.message.contains("10001 keys and ranges"), "{error}");

    let mut txn = transactions.begin(BeginOptions::default()).await.expect("begun");
    txn.put("w", vec![0; 16 << 20]).await.expect_err("the key makes it too long");
    assert_eq!(model.sent_but(&["get"]), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn one_that_was_open_for_too_long_does_not_write() {
    let (model, transactions) = Model::start(4);
    let mut txn = transactions.begin(BeginOptions::default()).await.expect("begun");
    txn.put("k", "1").await.expect("buffered");
    model.env().sleep(TRANSACTION_AGE_MAX + SECOND).await;
    let error = txn.put("l", "1").await.expect_err("too old");
    assert!(error.code == ErrorCode::SnapshotTooOld && error.message.contains("300 s at most"), "{error}");
    assert_eq!(txn.commit().await.expect_err("too old").code, ErrorCode::SnapshotTooOld);
    assert_eq!(model.sent_but(&[]), [""; 0]);
}
