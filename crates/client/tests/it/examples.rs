//! The examples, against nodes in this process. The end-to-end tests run them against real ones.

#[path = "../../examples/counter.rs"]
#[allow(dead_code, reason = "its `main` reads the address from the environment")]
mod counter;
#[path = "../../examples/quickstart.rs"]
#[allow(dead_code, reason = "its `main` reads the address from the environment")]
mod quickstart;

use crate::cluster::Nodes;

#[tokio::test]
async fn the_examples_run_through() {
    let nodes = Nodes::start(4).await;
    quickstart::run(nodes.addresses[1].clone()).await.expect("the quickstart succeeds");
    counter::run(nodes.addresses[2].clone()).await.expect("the counter succeeds");
}
