//! Reads that any replica may carry out.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use strata_router::{Kv, PageRange, RouterOptions};
use strata_types::{NodeId, ReadLevel, ReadPreference, Reply, Request, RequestHeader, ShardId};

use crate::model::{Fault, Model, SECOND, get, put};

const BOUNDED: ReadLevel = ReadLevel::Bounded { max_staleness: Duration::from_secs(5) };

fn at(level: ReadLevel, prefer: ReadPreference) -> Request {
    let mut request = get("a");
    request.header = RequestHeader { level, prefer, ..request.header };
    request
}

fn nodes(model: &Model) -> Vec<u64> {
    model.sent().iter().map(|sent| sent.node.0).collect()
}

#[tokio::test(start_paused = true)]
async fn reads_that_need_no_leader_take_turns_and_the_others_go_to_it() {
    let (model, router) = Model::start(1, RouterOptions::default());
    model.set_leader(0, Some(2));
    router.send(put("a"), SECOND).await.expect("written");
    for (level, prefer, wanted) in [
        (ReadLevel::Linearizable, ReadPreference::Leader, &[2, 2, 2][..]),
        (ReadLevel::Lease, ReadPreference::Leader, &[2, 2, 2]),
        (ReadLevel::Linearizable, ReadPreference::Any, &[1, 2, 3]),
        (BOUNDED, ReadPreference::Leader, &[1, 2, 3]),
        (ReadLevel::Local, ReadPreference::Leader, &[1, 2, 3]),
    ] {
        model.forget_sent();
        for _ in 0..3 {
            router.send(at(level, prefer), SECOND).await.expect("a value");
        }
        assert_eq!(nodes(&model), wanted, "{level:?} {prefer:?}");
        assert!(
            model.requests().iter().all(|request| request.header.level == level && request.header.prefer == prefer)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn pages_of_a_scan_follow_the_same_rule() {
    let (model, router) = Model::start(1, RouterOptions::default());
    let page = |level| PageRange {
        header: RequestHeader { level, ..RequestHeader::default() },
        start: Bytes::new(),
        end: None,
        limit: 10,
    };
    for _ in 0..3 {
        let reply = router.scan_shard(ShardId(0), page(ReadLevel::Local), SECOND).await;
        assert!(matches!(reply, Ok(Reply::Scan { .. })), "{reply:?}");
    }
    assert_eq!(nodes(&model), [1, 2, 3]);
    router.scan_shard(ShardId(0), page(ReadLevel::Linearizable), SECOND).await.expect("a page");
    assert_eq!(nodes(&model)[3..], [1]);
}

#[tokio::test(start_paused = true)]
async fn the_replica_on_the_routers_own_node_is_the_nearest() {
    let (model, router) = Model::start(1, RouterOptions::default());
    model.set_own(3);
    for _ in 0..3 {
        router.send(at(ReadLevel::Local, ReadPreference::Leader), SECOND).await.expect("a value");
    }
    assert_eq!(nodes(&model), [3, 3, 3]);
    model.script([Fault::NotSent]);
    router.send(at(ReadLevel::Local, ReadPreference::Leader), SECOND).await.expect("another replica has it");
    assert_ne!(model.sent().last().expect("sent").node, NodeId(3));
}

/// A node that is stopped costs those that were on their way to it one stall; then it is asked last.
#[tokio::test(start_paused = true)]
async fn a_replica_that_does_not_answer_is_left_out_for_a_while() {
    let options = RouterOptions { hedge_percent: 0, ..RouterOptions::default() };
    let stall = options.stall;
    let (model, router) = Model::start(1, options);
    model.set_stopped([2]);
    let mut slow = 0;
    for _ in 0..30 {
        let begin = tokio::time::Instant::now();
        router.send(at(BOUNDED, ReadPreference::Any), 2 * SECOND).await.expect("others answer");
        slow += u32::from(begin.elapsed() >= stall);
    }
    assert_eq!(slow, 1);
    let asked: BTreeSet<u64> = nodes(&model).into_iter().collect();
    assert_eq!(asked, [1, 2, 3].into());
}
