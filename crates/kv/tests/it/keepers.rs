//! What nodes keep for clients, asked for at other nodes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use strata_router::{Keeper, Keepers as _, KeptElsewhere, KeptStage, KeptTransaction};
use strata_types::{Decision, NodeId, Slot, Timestamp, TransactionId};

use crate::requests::{Gateway, cluster};

const PATIENCE: Duration = Duration::from_secs(2);

/// Keeps what it is given.
struct Shelf(Mutex<Vec<KeptTransaction>>);

#[async_trait]
impl Keeper for Shelf {
    fn list(&self) -> Vec<KeptTransaction> {
        self.0.lock().iter().filter(|kept| kept.stage.is_open()).copied().collect()
    }

    fn find(&self, id: TransactionId) -> Option<KeptTransaction> {
        self.0.lock().iter().find(|kept| kept.id == id).copied()
    }

    async fn abort(&self, id: TransactionId, deadline: Duration) -> Option<KeptTransaction> {
        assert!(deadline < PATIENCE, "the answer has to travel");
        let mut shelf = self.0.lock();
        let kept = shelf.iter_mut().find(|kept| kept.id == id)?;
        kept.stage = KeptStage::Ended(Decision::Aborted);
        Some(*kept)
    }
}

fn own(gateway: &Gateway) -> NodeId {
    gateway.node.identity().node
}

fn kept(node: NodeId, id: u128) -> KeptTransaction {
    KeptTransaction {
        node,
        id: TransactionId(id),
        anchor: Slot::new(7),
        read_timestamp: Timestamp(5),
        age: Timestamp(u64::try_from(id).expect("small")),
        elapsed: Duration::from_millis(1_500),
        stage: KeptStage::Open,
    }
}

/// Gives the node of a gateway so many transactions with ids from `first` on.
fn stock(gateway: &Gateway, first: u128, count: u128) -> Arc<Shelf> {
    let all = (first..first + count).map(|id| kept(own(gateway), id)).collect();
    let shelf = Arc::new(Shelf(Mutex::new(all)));
    let keeper: Arc<dyn Keeper> = shelf.clone();
    gateway.local.set_keeper(Arc::downgrade(&keeper));
    shelf
}

#[tokio::test(start_paused = true)]
async fn every_node_tells_what_the_others_keep_and_ends_it() {
    let (_machines, gateways) = cluster(61).await;
    let (asked, keeping) = (&gateways[0], &gateways[1]);
    let shelf = stock(keeping, 10, 2);
    let all = asked.local.all_open(PATIENCE).await;
    assert_eq!((all.kept, all.problems), (vec![kept(own(keeping), 10), kept(own(keeping), 11)], vec![]));
    let found = asked.local.find(TransactionId(11), PATIENCE).await;
    assert_eq!(found, KeptElsewhere { kept: Some(kept(own(keeping), 11)), silent: vec![] });
    assert_eq!(asked.local.find(TransactionId(12), PATIENCE).await, KeptElsewhere::default(), "all were asked");
    assert_eq!(keeping.local.find(TransactionId(11), PATIENCE).await, KeptElsewhere::default(), "others were asked");
    let ended = asked.local.abort(TransactionId(11), PATIENCE).await.kept.expect("it was there");
    assert_eq!(ended.stage, KeptStage::Ended(Decision::Aborted));
    assert_eq!(asked.local.all_open(PATIENCE).await.kept, [kept(own(keeping), 10)]);
    // A front door that is gone keeps nothing.
    drop(shelf);
    assert_eq!(asked.local.all_open(PATIENCE).await.kept, []);
}

#[tokio::test(start_paused = true)]
async fn who_is_silent_is_named_and_holds_nobody_up() {
    let (machines, gateways) = cluster(62).await;
    let (asked, keeping, silent) = (&gateways[0], &gateways[1], &gateways[2]);
    let _shelf = stock(keeping, 10, 1);
    machines[2].cut_off();
    let start = tokio::time::Instant::now();
    let all = asked.local.all_open(PATIENCE).await;
    assert_eq!(all.kept, [kept(own(keeping), 10)]);
    let [problem] = &all.problems[..] else { panic!("one: {:?}", all.problems) };
    assert!(problem.starts_with(&format!("{} did not tell of its transactions", own(silent))), "{problem}");
    let missed = asked.local.find(TransactionId(99), PATIENCE).await;
    assert_eq!(missed, KeptElsewhere { kept: None, silent: vec![own(silent)] });
    assert!(start.elapsed() <= 2 * PATIENCE);
    let found = asked.local.find(TransactionId(10), PATIENCE).await;
    assert_eq!((found.kept, found.silent), (Some(kept(own(keeping), 10)), vec![]));
    assert!(start.elapsed() < 3 * PATIENCE, "nobody waits for the silent one");
}

#[tokio::test(start_paused = true)]
async fn only_the_oldest_are_told_and_how_many_are_not() {
    let (_machines, gateways) = cluster(63).await;
    let keeping = own(&gateways[1]);
    let shelf = stock(&gateways[1], 1, 1_003);
    shelf.0.lock().reverse();
    let all = gateways[0].local.all_open(PATIENCE).await;
    assert_eq!((all.kept.len(), all.kept[0], all.kept[999]), (1_000, kept(keeping, 1), kept(keeping, 1_000)));
    assert_eq!(all.problems, [format!("{keeping} keeps 3 more for its clients, which are not shown: ask that node")]);
    let left_out = gateways[0].local.find(TransactionId(1_003), PATIENCE).await;
    assert_eq!(left_out.kept, Some(kept(keeping, 1_003)), "it is found all the same");
}
