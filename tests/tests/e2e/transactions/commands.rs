//! `strata txn` and `strata cluster transactions`.

use serde_json::Value;

use crate::harness::{Demo, LONG, Lines, Ran, command, poll, ran, run};

/// What is told on standard error with `--format json`.
fn complaint(ran: &Ran) -> Value {
    let line = ran.stderr.lines().last().unwrap_or_default();
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

#[test]
fn a_script_that_meets_another_transaction_ends_with_4_and_names_the_key() {
    let demo = Demo::start();
    demo.run(&["kv", "put", "acct/1", "100"]).succeeded();
    let mut lines = Lines::start(&demo.children[0].client);
    let begun = lines.ask("begin");
    assert_eq!(lines.ask("get acct/1")["value"], "100");
    assert_eq!(lines.ask("put acct/1 90")["buffered"], true);
    assert_eq!(lines.ask("put acct/2 110")["buffered"], true);
    // Another one is faster: at another node, in one go.
    let script = ["txn", "--addr", &demo.children[1].client, "begin", "put acct/1 70", "commit"];
    run(&script).succeeded();
    lines.say("commit");
    let ended = lines.wait_end();
    assert_eq!(ended.status, 4, "{ended:?}");
    let told = complaint(&ended);
    assert_eq!((&told["code"], &told["outcome"]), (&"conflict".into(), &"not applied".into()), "{told}");
    let conflict = &told["conflict"];
    assert_eq!((&conflict["reason"], &conflict["key"]), (&"changed".into(), &"acct/1".into()), "{told}");
    assert!(conflict["at"].as_u64() > begun["read_timestamp"].as_u64(), "{told} after {begun}");
    assert!(told["error"].as_str().is_some_and(|sentence| sentence.contains("acct/1")), "{told}");
    assert_eq!(demo.run(&["kv", "get", "acct/1"]).succeeded().stdout, "70\n");
    assert_eq!(demo.run(&["kv", "get", "acct/2"]).status, 3, "nothing of it was written");
    assert_eq!(demo.ask("transactions")["transactions"], serde_json::json!([]));
}

/// CLI-1
#[test]
fn a_reader_that_leaves_before_the_commit_leaves_a_failure() {
    let demo = Demo::start();
    demo.wait_healthy(LONG);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut lines = command(&["txn", "--addr", &demo.addresses(), "begin", "put a 1", "commit"]);
    lines.stdout(writer);
    let ended = ran(lines);
    assert_eq!(ended.status, 1, "{ended:?}");
    assert!(ended.stderr.contains("the transaction was rolled back"), "{ended:?}");
    assert_eq!(demo.run(&["kv", "get", "a"]).status, 3, "nothing of it was written");
}

#[test]
fn an_operator_sees_what_is_open_and_aborts_it() {
    let demo = Demo::start();
    demo.wait_healthy(LONG);
    let gateway = demo.children[0].client.as_str();
    let mut lines = Lines::start(gateway);
    let id = lines.ask("begin")["id"].as_str().expect("an id").to_owned();
    lines.ask("getforupdate hot");
    lines.ask("put hot 1");
    let listed = || {
        let told = run(&["cluster", "transactions", "--addr", gateway, "--format", "json"]);
        let told = told.succeeded().json();
        assert_eq!(told["problems"], serde_json::json!([]));
        let open = told["transactions"].as_array().expect("a list").clone();
        assert!(open.iter().all(|open| open["id"] == id.as_str()), "{open:?}");
        open
    };
    let open = listed();
    // The node where it began keeps it, and a shard has a lock for it.
    assert!(open.iter().any(|open| open["state"] == "active" && open["shard"].is_null()), "{open:?}");
    assert!(open.iter().any(|open| open["locks"] == 1 && open["shard"].is_u64()), "{open:?}");
    let refused = demo.run(&["txn", "begin", "getforupdate hot --no-wait", "--format", "json"]);
    assert_eq!(refused.status, 4, "{refused:?}");
    assert_eq!(complaint(&refused)["conflict"]["rival"], id.as_str(), "{refused:?}");

    let aborted = run(&["cluster", "transactions", "--abort", &id, "--addr", gateway]).succeeded();
    assert!(aborted.stdout.contains(&format!("transaction {id} is aborted")), "{aborted:?}");
    poll("nothing that is open", LONG, || listed().is_empty().then_some(()));
    demo.run(&["txn", "begin", "getforupdate hot --no-wait", "put hot 2", "commit"]).succeeded();
    lines.say("commit");
    let ended = lines.wait_end();
    assert_eq!((ended.status, &complaint(&ended)["code"]), (4, &"conflict".into()), "{ended:?}");
    assert!(ended.stderr.contains("an operator aborted the transaction"), "{ended:?}");
    assert_eq!(demo.run(&["kv", "get", "hot"]).succeeded().stdout, "2\n", "its write is gone");
}

/// The node keeps what a client has open when the client dies; an operator need not wait until it is tired of that.
#[test]
fn what_a_client_that_was_killed_has_open_can_be_aborted() {
    let demo = Demo::start();
    demo.wait_healthy(LONG);
    let gateway = demo.children[0].client.as_str();
    let mut lines = Lines::start(gateway);
    let id = lines.ask("begin")["id"].as_str().expect("an id").to_owned();
    lines.ask("getforupdate hot");
    lines.kill();
    let taken = demo.run(&["txn", "begin", "getforupdate hot --no-wait", "--format", "json"]);
    assert_eq!(complaint(&taken)["conflict"]["rival"], id.as_str(), "{taken:?}");
    run(&["cluster", "transactions", "--abort", &id, "--addr", gateway]).succeeded();
    demo.run(&["txn", "begin", "getforupdate hot", "put hot 2", "commit"]).succeeded();
}
