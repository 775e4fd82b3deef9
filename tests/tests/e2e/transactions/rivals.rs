//! Transactions that ask for too much: what each other has, or more than one may write.

use serde_json::Value;
use strata_client::{Client, ErrorCode, Outcome};
use tokio::runtime::Runtime;

use crate::harness::{Demo, LONG, Lines, poll};

#[test]
fn of_two_transactions_that_wait_for_each_other_the_younger_one_is_told_and_the_older_one_goes_on() {
    let demo = Demo::start();
    demo.wait_healthy(LONG);
    let mut older = Lines::start(&demo.children[0].client);
    let old = older.ask("begin");
    let mut younger = Lines::start(&demo.children[1].client);
    let young = younger.ask("begin");
    assert!(old["age"].as_u64() < young["age"].as_u64(), "{old} before {young}");
    older.ask("getforupdate x");
    younger.ask("getforupdate y");
    younger.ask("put y younger");
    younger.say("getforupdate x");
    poll("a transaction that waits for the other one", LONG, || {
        let told = demo.ask("transactions");
        let open = told["transactions"].as_array().expect("a list").clone();
        open.into_iter().find(|open| open["id"] == young["id"] && open["waits_for"] == old["id"])
    });
    older.ask("getforupdate y");
    older.ask("put x older");
    older.ask("put y older");
    let committed = older.ask("commit");
    assert!(committed["status"] == "committed" && committed["at"].is_u64(), "{committed}");
    let ended = younger.wait_end();
    assert_eq!(ended.status, 4, "{ended:?}");
    let complaint: Value = ended.stderr.lines().last().and_then(|line| serde_json::from_str(line).ok()).expect("JSON");
    assert_eq!((&complaint["code"], &complaint["outcome"]), (&"conflict".into(), &"not applied".into()), "{complaint}");
    // Whichever it hears of first: that its lock was taken away, or that what it had locked was changed then.
    let reason = &complaint["conflict"]["reason"];
    assert!(reason == "wounded" || reason == "changed", "{complaint}");
    for key in ["x", "y"] {
        assert_eq!(demo.run(&["kv", "get", key]).succeeded().stdout, "older\n");
    }
}

#[test]
fn a_transaction_of_ten_million_writes_is_refused_at_the_first_one_too_many() {
    let demo = Demo::start();
    let addresses = demo.children.iter().map(|child| child.client.clone());
    Runtime::new().expect("a runtime").block_on(async {
        let client = Client::connect(addresses).await.expect("the cluster answers");
        let mut txn = client.begin().await.expect("begun");
        let mut kept = 0;
        let error = loop {
            assert!(kept < 10_000_000, "somebody should have said no");
            match txn.put(format!("bulk/{kept}"), "v").await {
                Ok(()) => kept += 1,
                Err(error) => break error,
            }
        };
        assert_eq!((error.code, error.outcome), (ErrorCode::TooLarge, Outcome::NotApplied), "{error}");
        let sentence = format!("{} writes is over the limit of {kept}", kept + 1);
        assert!(error.message.contains(&sentence), "{error}");
        // What was kept is whole: it may be committed, or given up.
        txn.rollback().await;
        assert_eq!(client.get("bulk/0").await.expect("readable"), None);
        let mut small = client.begin().await.expect("begun");
        small.put("bulk/0", "v").await.expect("kept");
        small.commit().await.expect("committed");
    });
}
