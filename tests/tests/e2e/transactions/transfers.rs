//! Money moves while nodes die.

use crate::harness::Cluster;
use crate::transactions::bank::Bank;

#[test]
fn transfers_over_several_shards_survive_the_death_of_each_node_and_money_neither_comes_nor_goes() {
    let place = tempfile::tempdir().expect("a temporary directory");
    let mut cluster = Cluster::found(place.path(), &[]);
    cluster.wait_healthy();
    let bank = Bank::open(cluster.addresses());
    bank.go_on("the opening");
    for number in 0..3 {
        cluster.kill(number);
        bank.go_on("a node was killed");
        cluster.start(place.path(), number, &[]);
        cluster.wait_ready(number);
        bank.go_on("it came back");
    }
    bank.check();
}
