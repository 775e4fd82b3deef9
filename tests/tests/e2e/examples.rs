//! The SDK's example programs, against real nodes. They are compiled into this test, so that what runs is what is written
//! there, however cargo was called.

#[path = "../../../crates/client/examples/counter.rs"]
#[allow(dead_code, reason = "its `main` reads the address from the environment")]
mod counter;
#[path = "../../../crates/client/examples/quickstart.rs"]
#[allow(dead_code, reason = "its `main` reads the address from the environment")]
mod quickstart;
#[path = "../../../crates/client/examples/transfer.rs"]
#[allow(dead_code, reason = "its `main` reads the address from the environment")]
mod transfer;

use crate::harness::Demo;

#[test]
fn the_examples_do_what_they_say() {
    let demo = Demo::start();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    for child in &demo.children {
        runtime.block_on(quickstart::run(child.client.clone())).expect("the quickstart succeeds");
        runtime.block_on(counter::run(child.client.clone())).expect("the counter succeeds");
        runtime.block_on(transfer::run(child.client.clone())).expect("the transfers succeed");
    }
    assert_eq!(demo.run(&["kv", "scan"]).succeeded().stdout, "", "they clean up");
}
