//! What any gRPC client may rely on, and what refusals look like from outside.

use strata_client::{Client, ErrorCode, Outcome, Timestamp};
use tokio::runtime::Runtime;

use crate::harness::rpc::{Rpc, bytes_field, bytes_of, number_of};
use crate::harness::{Demo, LONG};

/// A call that succeeds.
fn call(address: &str, path: &str, message: &[u8]) -> Vec<u8> {
    Rpc::send(address, path, message).answer().unwrap_or_else(|| panic!("{path} failed"))
}

/// A transaction with one write for each key: its id, and its handle after the last one.
pub fn begun(address: &str, keys: &[&str]) -> (Vec<u8>, Vec<u8>) {
    let reply = call(address, "Txn/Begin", &[]);
    let mut handle = bytes_of(&reply, 1).expect("a handle").to_vec();
    let id = bytes_of(&handle, 1).expect("an id").to_vec();
    for key in keys {
        let put = [bytes_field(1, &id), bytes_field(2, key.as_bytes()), bytes_field(3, b"v")].concat();
        handle = bytes_of(&call(address, "Txn/Put", &put), 1).expect("a handle").to_vec();
    }
    (id, handle)
}

fn committed_at(reply: &[u8]) -> u64 {
    number_of(reply, 1).expect("a timestamp")
}

#[test]
fn a_commit_that_is_sent_again_gets_the_same_timestamp_at_any_node_and_happens_once() {
    let demo = Demo::start();
    demo.wait_healthy(LONG);
    let node = |number: usize| demo.children[number].client.as_str();
    // One key, on one shard; and several, on several.
    for keys in [&["a"][..], &["a", "b", "c", "d", "e", "f"]] {
        let (id, handle) = begun(node(0), keys);
        let commit = [bytes_field(1, &id), bytes_field(2, &handle)].concat();
        // Nobody waits for the first answer: it may have come through or not.
        drop(Rpc::send(node(0), "Txn/Commit", &commit));
        let at = committed_at(&call(node(0), "Txn/Commit", &commit));
        assert_eq!(committed_at(&call(node(0), "Txn/Commit", &commit)), at);
        let outcome = |node: &str| call(node, "Txn/Outcome", &bytes_field(1, &handle));
        assert_eq!(decided_at(&outcome(node(0))), Some(at));
        let revision =
            |key: &str| demo.run(&["kv", "get", key, "--format", "json"]).succeeded().json()["revision"].clone();
        let before: Vec<_> = keys.iter().map(|key| revision(key)).collect();
        // Other nodes ask the shard of the record, which remembers a transaction of one shard for long.
        if keys.len() == 1 {
            for number in [1, 2] {
                assert_eq!(committed_at(&call(node(number), "Txn/Commit", &commit)), at);
                assert_eq!(decided_at(&outcome(node(number))), Some(at));
            }
        }
        assert_eq!(keys.iter().map(|key| revision(key)).collect::<Vec<_>>(), before, "nothing is written again");
        let line = format!("outcome {}", handle_text(&handle));
        let told = demo.run(&["txn", &line, "--format", "json"]);
        assert!(told.status == 3 && keys.len() > 1 || told.succeeded().json()["at"] == at, "{line}");
    }
    let (id, handle) = begun(node(0), &["a"]);
    call(node(0), "Txn/Rollback", &bytes_field(1, &id));
    let commit = [bytes_field(1, &id), bytes_field(2, &handle)].concat();
    assert_eq!(Rpc::send(node(0), "Txn/Commit", &commit).answer(), None, "what was rolled back cannot be committed");
}

/// The timestamp of `TxnOutcomeReply`, if it says committed: field 1 `status`, in it 2 `decided`, in it 1 `committed`.
fn decided_at(reply: &[u8]) -> Option<u64> {
    number_of(bytes_of(bytes_of(reply, 1)?, 2)?, 1)
}

/// `ID:SLOT:TIMESTAMP`, as `strata txn` takes it.
pub fn handle_text(handle: &[u8]) -> String {
    let id: String = bytes_of(handle, 1).expect("an id").iter().map(|byte| format!("{byte:02x}")).collect();
    let anchor = number_of(handle, 2).expect("it has written something");
    format!("{id}:{anchor}:{}", number_of(handle, 3).unwrap_or_default())
}

#[test]
fn a_snapshot_from_the_future_or_from_before_all_time_is_refused_with_the_newest_timestamp() {
    let demo = Demo::start();
    let addresses = demo.children.iter().map(|child| child.client.clone());
    Runtime::new().expect("a runtime").block_on(async {
        let client = Client::connect(addresses).await.expect("the cluster answers");
        let newest = client.snapshot().await.expect("a snapshot").timestamp();
        for (at, said) in [(Timestamp(newest.0 + 1_000_000), "the newest timestamp is"), (Timestamp(0), "begin with 1")]
        {
            let error = client.snapshot_at(at).await.err().expect("refused");
            assert_eq!((error.code, error.outcome), (ErrorCode::InvalidArgument, Outcome::NotApplied), "{error}");
            assert!(error.message.contains(said) && error.message.contains(&at.to_string()), "{error}");
        }
        let mut txn = client.begin().await.expect("begun");
        txn.put("k", "2").await.expect("buffered");
        let committed = txn.commit().await.expect("committed");
        let now = client.snapshot_at(committed).await.expect("what was committed just now");
        assert_eq!(now.get("k").await.expect("read").expect("there").value, "2");
        let again = client.snapshot_at(newest).await.expect("it is kept");
        assert_eq!(again.timestamp(), newest);
    });
    let refused = demo.run(&["txn", "begin --read-only --at 999999999999", "get k"]);
    assert!(refused.status == 1 && refused.stderr.contains("the newest timestamp is"), "{refused:?}");
}
