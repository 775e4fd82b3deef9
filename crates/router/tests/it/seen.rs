//! Logical time of a session.

use strata_router::{Kv, RouterOptions};
use strata_types::{ShardId, Slot, Timestamp};

use crate::model::{Model, SECOND, get, put};

/// Keys of two shards.
fn keys(router: &dyn Kv) -> [(&'static str, ShardId); 2] {
    let map = router.map();
    let shard = |key: &str| map.shard_of(Slot::of_key(key.as_bytes())).expect("a full map").shard;
    let first = "a";
    let second =
        ["b", "c", "d", "e", "f"].into_iter().find(|key| shard(key) != shard(first)).expect("of another shard");
    [(first, shard(first)), (second, shard(second))]
}

/// ROUTE-7
#[tokio::test(start_paused = true)]
async fn a_write_comes_after_everything_that_its_session_was_told_of() {
    let (model, router) = Model::start(4, RouterOptions::default());
    let [(a, first), (b, _)] = keys(&*router);
    let last_seen = || model.requests().last().expect("one was sent").header.seen;
    assert_eq!(router.time(), Timestamp(0));
    model.set_time(first, Timestamp(40));
    router.send(put(a), SECOND).await.expect("written");
    assert_eq!((last_seen(), router.time()), (Timestamp(0), Timestamp(40)));
    router.send(put(b), SECOND).await.expect("written");
    assert_eq!(last_seen(), Timestamp(40), "another shard, later");
    model.set_time(first, Timestamp(50));
    router.send(get(a), SECOND).await.expect("read");
    assert_eq!(last_seen(), Timestamp(0), "a read sees what there is");
    router.send(put(b), SECOND).await.expect("written");
    assert_eq!(last_seen(), Timestamp(50), "what was read counts");
    router.note_seen(Timestamp(60));
    router.note_seen(Timestamp(10));
    let mut own = put(b);
    own.header.seen = Timestamp(70);
    router.send(own, SECOND).await.expect("written");
    assert_eq!(last_seen(), Timestamp(70), "its own, if that is later");
    router.send(put(a), SECOND).await.expect("written");
    assert_eq!(last_seen(), Timestamp(70));
}
