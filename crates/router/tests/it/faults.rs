//! What callers see while a cluster is in trouble: the rows of `docs/sdk-under-faults.md` that no other test shows.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use strata_router::{Kv as _, Router, RouterOptions};
use strata_types::{
    Epoch, Error, ErrorCode, NodeDescriptor, NodeId, Outcome, ReadLevel, ReplicaId, ReplicaPlacement, Request,
    RequestHeader, Result, ShardMap,
};
use tokio::time::Instant;

use crate::model::{Fault, Model, SECOND, get, map, put};

/// Callers that write and read in turn for a while. Returns their errors and the longest call.
async fn traffic(router: &Arc<Router>, time: Duration) -> (Vec<Error>, Duration) {
    let until = Instant::now() + time;
    let callers = (0..20).map(|caller| {
        let router = router.clone();
        async move {
            let (mut errors, mut longest) = (Vec::new(), Duration::ZERO);
            while Instant::now() < until {
                let key = format!("key {caller}");
                for request in [put(&key), get(&key)] {
                    let begin = Instant::now();
                    errors.extend(router.send(request, 5 * SECOND).await.err());
                    longest = longest.max(begin.elapsed());
                }
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
            (errors, longest)
        }
    });
    let done = futures_util::future::join_all(callers).await;
    let longest = done.iter().map(|(_, longest)| *longest).max().unwrap_or_default();
    (done.into_iter().flat_map(|(errors, _)| errors).collect(), longest)
}

/// A leader that is killed: what was on its way to it is unknown, everything else waits for the next leader.
#[tokio::test(start_paused = true)]
async fn a_killed_leader_costs_the_writes_on_their_way_and_otherwise_a_wait() {
    for sessions in [false, true] {
        let (model, router) = Model::start(1, RouterOptions { sessions, ..RouterOptions::default() });
        let fault = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            // At most as many batches as may be under way at once.
            model.script([Fault::LoseReply, Fault::LoseRequest]);
            model.set_down([1]);
            model.set_leader(0, None);
            tokio::time::sleep(Duration::from_millis(800)).await;
            model.set_leader(0, Some(2));
        };
        let ((errors, longest), ()) = tokio::join!(traffic(&router, 3 * SECOND), fault);
        assert!(longest < Duration::from_millis(1_100), "{longest:?}");
        assert!(errors.iter().all(|error| error.outcome == Outcome::Unknown), "{errors:?}");
        assert_eq!(errors.is_empty(), sessions, "sessions make lost answers harmless: {errors:?}");
    }
}

/// A leader that is cut off from its majority says so; it is asked again, and the others too when they lead.
#[tokio::test(start_paused = true)]
async fn a_leader_without_a_majority_is_asked_again_until_another_leads() {
    let (model, router) = Model::start(1, RouterOptions::default());
    model.insert(b"a", b"1");
    let no_quorum =
        Error::not_applied(ErrorCode::Unavailable, "no majority of the shard's replicas answers its leader");
    model.script(vec![Fault::Refuse(no_quorum); 3]);
    let begin = Instant::now();
    router.send(get("a"), 5 * SECOND).await.expect("the majority is back");
    assert!(begin.elapsed() < Duration::from_millis(200), "{:?}", begin.elapsed());
    let lost = Error::unknown(ErrorCode::Unavailable, "the entry was discarded");
    model.script([Fault::Refuse(lost.clone())]);
    assert_eq!(router.send(put("a"), 5 * SECOND).await, Err(lost), "a write that may be in the log is not repeated");
}

/// A full disk is told at once, and reads go on.
#[tokio::test(start_paused = true)]
async fn a_full_disk_refuses_writes_at_once() {
    let (model, router) = Model::start(1, RouterOptions::default());
    let full = Error::not_applied(ErrorCode::DiskFull, "the disk of the shard's leader is full");
    model.script([Fault::Refuse(full.clone())]);
    let begin = Instant::now();
    assert_eq!(router.send(put("a"), 5 * SECOND).await, Err(full));
    assert_eq!((begin.elapsed(), model.sent().len()), (Duration::from_millis(1), 1));
    router.send(get("a"), SECOND).await.expect("a read writes nothing");
}

/// A drain hands leaders over one by one: who is asked says who leads now, and nobody sees an error.
#[tokio::test(start_paused = true)]
async fn a_drained_node_costs_one_more_message_a_shard() {
    let (model, router) = Model::start(3, RouterOptions::default());
    let fault = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        for (shard, to) in [(0, 2), (1, 3), (2, 2)] {
            model.set_leader(shard, Some(to));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let ((errors, longest), ()) = tokio::join!(traffic(&router, SECOND), fault);
    assert!(errors.is_empty(), "{errors:?}");
    assert!(longest < Duration::from_millis(30), "{longest:?}");
}

/// While a leader hands over, it and its successor name each other.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_handover_is_noticed_soon() {
    for takes in (5..160).step_by(7) {
        let (model, router) = Model::start(1, RouterOptions::default());
        model.begin_handover(0, 3);
        let handover = async {
            tokio::time::sleep(Duration::from_millis(takes)).await;
            model.end_handover(0);
            Instant::now()
        };
        let write = async {
            router.send(put("a"), SECOND).await.expect("written");
            Instant::now()
        };
        let (ended, written) = tokio::join!(handover, write);
        // No longer than it took already, and than one pause: whoever is asked after it, the successor is asked next.
        let late = written.duration_since(ended);
        let most = Duration::from_millis((takes * 5 / 4 + 10).min(70));
        assert!(late <= most, "{late:?} after a handover of {takes} ms");
        assert!(model.sent().len() < 20, "but no busy loop: {}", model.sent().len());
    }
}

/// The shard of `map(1, 1)`, moved from node 1 to node 4.
fn moved() -> Arc<ShardMap> {
    let mut moved = Arc::unwrap_or_clone(map(2, 1));
    moved.nodes.push(NodeDescriptor { id: NodeId(4), ..NodeDescriptor::default() });
    moved.shards[0].replicas[0] = ReplicaPlacement { replica: ReplicaId(40), node: NodeId(4) };
    Arc::new(moved)
}

/// A shard moves to another node: the refusal of an old route carries the new map.
#[tokio::test(start_paused = true)]
async fn a_moved_shard_is_found_by_the_map_in_the_refusal() {
    let (model, router) = Model::start(1, RouterOptions::default());
    let fault = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        model.set_map(moved());
        model.forget_sent();
    };
    let ((errors, longest), ()) = tokio::join!(traffic(&router, SECOND), fault);
    assert!(errors.is_empty(), "{errors:?}");
    assert!(longest < Duration::from_millis(30), "{longest:?}");
    assert_eq!((router.map().epoch, model.maps_fetched()), (Epoch(2), 0), "nobody had to ask for it");
    let after = model.sent();
    assert!(after.iter().rev().take(100).all(|sent| sent.node == NodeId(4) && sent.epoch == Epoch(2)), "{after:?}");
}

/// Reads for any replica follow a move too, and the removed replica is not asked again.
#[tokio::test(start_paused = true)]
async fn reads_for_any_replica_leave_a_removed_one() {
    let (model, router) = Model::start(1, RouterOptions::default());
    let local =
        || Request { header: RequestHeader { level: ReadLevel::Local, ..RequestHeader::default() }, ..get("a") };
    for _ in 0..3 {
        router.send(local(), SECOND).await.expect("an answer");
    }
    model.set_map(moved());
    router.send(local(), SECOND).await.expect("an answer after one refusal");
    model.forget_sent();
    for _ in 0..30 {
        let reply: Result<_> = router.send(local(), SECOND).await;
        reply.expect("an answer");
    }
    let asked: BTreeSet<u64> = model.sent().iter().map(|sent| sent.node.0).collect();
    assert_eq!(asked, [2, 3, 4].into());
}

/// A stopped node (SIGSTOP) keeps its connections: only silence tells. Reads go elsewhere after the stall, writes without
/// a session are unknown at their deadline, with one they are written by the next leader.
#[tokio::test(start_paused = true)]
async fn a_stopped_leader_costs_a_stall_and_the_writes_on_their_way() {
    for sessions in [false, true] {
        let options = RouterOptions { sessions, hedge_percent: 0, ..RouterOptions::default() };
        let stall = options.stall;
        let (model, router) = Model::start(1, options);
        router.send(put("a"), SECOND).await.expect("written");
        model.set_stopped([1]);
        let begin = Instant::now();
        let elects = async {
            tokio::time::sleep(Duration::from_millis(600)).await;
            model.set_leader(0, Some(3));
        };
        let write = router.send(put("a"), 2 * SECOND);
        let read = async {
            let reply = router.send(get("a"), 2 * SECOND).await;
            (reply, begin.elapsed())
        };
        let (written, (read, took), ()) = tokio::join!(write, read, elects);
        read.expect("another replica leads");
        // One stall, or two: until the election the others still name the stopped node.
        assert!(took >= stall && took < 2 * stall + Duration::from_millis(100), "{took:?}");
        match written {
            Ok(_) => assert!(sessions, "it was sent twice without a number"),
            Err(error) => assert!(!sessions && error.outcome == Outcome::Unknown, "{error}"),
        }
        assert_eq!(model.applied(), 1 + usize::from(sessions));
    }
}

#[tokio::test(start_paused = true)]
async fn where_a_new_node_answers_at_the_address_of_a_lost_one_the_others_are_asked() {
    let (model, router) = Model::start(1, RouterOptions::default());
    model.set_replaced([1]);
    model.set_hints(false);
    model.set_leader(0, Some(3));
    router.send(put("a"), SECOND).await.expect("written");
    let nodes: Vec<_> = model.sent().iter().map(|sent| sent.node.0).collect();
    assert_eq!(nodes, [1, 2, 3]);
}
