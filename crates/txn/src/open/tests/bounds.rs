//! What all transactions of a node may take together, and for how long.

use strata_types::limits::TRANSACTION_AGE_MAX;

use super::super::entry::IDLE_MAX;
use super::super::registry::{ENDED_MAX, OPEN_BYTES_MAX, OPEN_MAX};
use super::*;

/// As much as one transaction may hold, nearly.
const VALUE_BYTES: usize = 15 << 20;

/// COORD-7
#[tokio::test(start_paused = true)]
async fn who_is_idle_is_rolled_back_unless_it_says_that_it_is_there() {
    let ((shards, open), (one, _)) = (start(), keys());
    let (idle, alive) = (begin(&open, false).await, begin(&open, false).await);
    lock(&open, idle.id, &one, 0).await.expect("free");
    for _ in 0..4 {
        open.env().sleep(IDLE_MAX / 3).await;
        let heartbeat = open.heartbeat(alive.id, SECOND).await.expect("open");
        assert!(heartbeat.left < TRANSACTION_AGE_MAX && heartbeat.idle_max == IDLE_MAX);
    }
    assert_eq!(open.list().len(), 1);
    assert_eq!(shards.locked(), 0, "its locks are free");
    let error = put(&open, idle.id, &one, "v").await.expect_err("gone");
    assert_eq!(reason(&error), ConflictReason::Aborted);
    assert!(error.message.contains("60 s without a call"), "{error}");
    let error = commit(&open, idle.id, None).await.expect_err("gone");
    assert_eq!(reason(&error), ConflictReason::Aborted);
}

/// COORD-7
#[tokio::test(start_paused = true)]
async fn a_client_that_waited_long_for_its_call_is_idle_only_from_then_on() {
    let ((_, open), (one, _)) = (start(), keys());
    let writer = begin(&open, false).await;
    let call = open.enter(writer.id, SECOND).await.expect("open");
    open.env().sleep(IDLE_MAX - SECOND).await;
    drop(call);
    open.env().sleep(IDLE_MAX / 2).await;
    put(&open, writer.id, &one, "v").await.expect("its last call ended half a minute ago");
    commit(&open, writer.id, None).await.expect("committed");
}

/// COORD-7
#[tokio::test(start_paused = true)]
async fn nobody_stays_for_ever() {
    let (_, open) = start();
    let (writer, reader) = (begin(&open, false).await, begin(&open, true).await);
    let beat = |id| open.heartbeat(id, SECOND);
    for _ in 0..TRANSACTION_AGE_MAX.as_secs() / 30 {
        assert!(beat(writer.id).await.is_ok() && beat(reader.id).await.is_ok());
        open.env().sleep(SECOND * 30).await;
    }
    open.env().sleep(SECOND * 2).await;
    let error = beat(writer.id).await.expect_err("too old");
    assert!(error.message.contains("300 s, the most"), "{error}");
    beat(reader.id).await.expect("who only reads may take longer");
}

/// COORD-7
#[tokio::test(start_paused = true)]
async fn one_transaction_too_many_is_refused_until_another_one_ends() {
    let (_, open) = start();
    let first = begin(&open, false).await;
    for _ in 1..OPEN_MAX {
        begin(&open, false).await;
    }
    let begin_now = || open.begin(wish(false, None), SECOND);
    let error = begin_now().await.expect_err("there is no room");
    assert_eq!((error.code, error.outcome), (ErrorCode::Overloaded, Outcome::NotApplied));
    assert!(error.message.contains("10000 transactions are open on this node already"), "{error}");
    roll_back(&open, first.id).await.expect("rolled back");
    begin_now().await.expect("there is room for one");
    assert_eq!(begin_now().await.expect_err("and for no more").code, ErrorCode::Overloaded);
    assert_eq!(open.list().len(), OPEN_MAX);
    // Whoever is idle makes room.
    open.env().sleep(IDLE_MAX + SECOND * 2).await;
    assert_eq!(open.list(), []);
    begin_now().await.expect("there is room");
}

/// COORD-7
#[tokio::test(start_paused = true)]
async fn what_all_transactions_hold_together_is_bounded() {
    let (_, open) = start();
    // The value is the same memory each time.
    let value = Bytes::from(vec![0; VALUE_BYTES]);
    let put = |id| open.put(id, text("k"), value.clone(), SECOND);
    for round in 0..2 {
        let mut ids = Vec::new();
        for _ in 0..OPEN_BYTES_MAX / VALUE_BYTES {
            let id = begin(&open, false).await.id;
            put(id).await.unwrap_or_else(|error| panic!("round {round}: {error}"));
            ids.push(id);
        }
        let late = begin(&open, false).await.id;
        let error = put(late).await.expect_err("there is no room");
        assert_eq!((error.code, error.outcome), (ErrorCode::Overloaded, Outcome::NotApplied));
        assert!(error.message.contains("open transactions hold 512 MiB on this node already"), "{error}");
        // What was refused takes no room, and does no harm to what is there.
        let own = get(&open, ids[0], &text("k")).await.expect("its own write");
        assert_eq!(own.map(|read| read.len()), Some(VALUE_BYTES));
        roll_back(&open, ids.remove(0)).await.expect("rolled back");
        put(late).await.expect("there is room now");
        for id in ids.into_iter().chain([late]) {
            roll_back(&open, id).await.expect("rolled back");
        }
    }
}

/// COORD-7
#[tokio::test(start_paused = true)]
async fn bounds_of_what_was_scanned_and_savepoints_take_room_too() {
    let (_, open) = start();
    let value = Bytes::from(vec![0; VALUE_BYTES]);
    for _ in 0..OPEN_BYTES_MAX / VALUE_BYTES {
        let id = begin(&open, false).await.id;
        open.put(id, text("k"), value.clone(), SECOND).await.expect("kept");
    }
    // Some two MiB are left.
    let id = begin(&open, false).await.id;
    let scan = async |number: usize| {
        let start = Bytes::from(format!("{number:04}{}", "k".repeat(4_000)));
        let end = Some([&start[..], b"k"].concat().into());
        let mut scan = open.scan(id, start, end, None, SECOND).await?;
        while scan.next_page(SECOND).await?.is_some() {}
        Ok::<(), Error>(())
    };
    let mut scanned = 0;
    let error = loop {
        match scan(scanned).await {
            Ok(()) => scanned += 1,
            Err(error) => break error,
        }
    };
    assert!(error.code == ErrorCode::Overloaded && (100..300).contains(&scanned), "{scanned}: {error}");
    let mut marks = 0;
    while marks < 100_000 && open.savepoint(id, SECOND).await.is_ok() {
        marks += 1;
    }
    assert!(marks < 1_000, "{marks} in what is left");
    roll_back(&open, id).await.expect("rolled back");
    let next = begin(&open, false).await.id;
    open.savepoint(next, SECOND).await.expect("there is room again");
}

/// COORD-7
#[tokio::test(start_paused = true)]
async fn only_so_many_ends_are_remembered() {
    let (_, open) = start();
    let first = begin(&open, false).await.id;
    let at = commit(&open, first, None).await.expect("it wrote nothing");
    assert_eq!(commit(&open, first, None).await, Ok(at), "the answer is kept");
    for _ in 0..ENDED_MAX {
        let id = begin(&open, false).await.id;
        commit(&open, id, None).await.expect("it wrote nothing");
    }
    let error = commit(&open, first, None).await.expect_err("forgotten for those after it");
    assert!(error.message.contains("this node does not know transaction"), "{error}");
}
