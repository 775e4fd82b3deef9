//! Scans over several shards.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use strata_router::{RouterOptions, Scan, ScanRange};
use strata_types::{Error, ErrorCode, Request, RequestHeader, Timestamp};

use crate::model::{Fault, Model, SECOND, get, map, put};

const KEYS: u32 = 1000;

fn filled(shards: u32) -> (Arc<Model>, Arc<strata_router::Router>) {
    let (model, router) = Model::start(shards, RouterOptions::default());
    for number in 0..KEYS {
        model.insert(format!("{number:05}").as_bytes(), &number.to_be_bytes());
    }
    (model, router)
}

fn range(start: &str, end: Option<&str>, limit: Option<u64>) -> ScanRange {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    ScanRange { start: bytes(start), end: end.map(bytes), limit, ..ScanRange::default() }
}

fn names(items: &[strata_types::Item]) -> Vec<String> {
    items.iter().map(|item| String::from_utf8_lossy(&item.key).into_owned()).collect()
}

fn expected(from: u32, to: u32) -> Vec<String> {
    (from..to).map(|number| format!("{number:05}")).collect()
}

#[tokio::test(start_paused = true)]
async fn items_of_all_shards_come_in_key_order_once() {
    for shards in [1, 2, 7, 64] {
        let (_, router) = filled(shards);
        let items = Scan::new(router, range("", None, None), SECOND).collect().await.expect("scanned");
        assert_eq!(names(&items), expected(0, KEYS), "{shards} shards");
    }
}

#[tokio::test(start_paused = true)]
async fn bounds_and_limits_hold() {
    let (_, router) = filled(4);
    let scan = |start: &str, end, limit| Scan::new(router.clone(), range(start, end, limit), SECOND).collect();
    assert_eq!(names(&scan("00100", Some("00200"), None).await.expect("scanned")), expected(100, 200));
    assert_eq!(names(&scan("00100", None, Some(7)).await.expect("scanned")), expected(100, 107));
    assert_eq!(names(&scan("00990", None, Some(1000)).await.expect("scanned")), expected(990, 1000));
    assert!(scan("5", Some("4"), None).await.expect("scanned").is_empty());
    assert!(scan("", None, Some(0)).await.expect("scanned").is_empty());
    assert!(scan("x", None, None).await.expect("scanned").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_small_limit_asks_for_little() {
    let (model, router) = filled(8);
    let mut scan = Scan::new(router, range("", None, Some(10)), SECOND);
    let page = scan.next_page().await.expect("scanned").expect("a page");
    assert!(!page.is_empty());
    let limits = model
        .requests()
        .iter()
        .map(|request| match request.operation {
            strata_types::Operation::Scan { limit, .. } => limit,
            _ => panic!("only scans were sent"),
        })
        .collect::<Vec<_>>();
    assert_eq!(limits.len(), 8, "every shard was asked");
    assert!(limits.iter().all(|limit| *limit <= 3), "{limits:?}");
}

/// They take long, and many are under way at once: not in the batches of others, not in their place, and not in the way
/// of a second batch of a shard.
#[tokio::test(start_paused = true)]
async fn long_pages_hold_up_nothing_else() {
    let (model, router) = filled(8);
    model.script((0..8).map(|_| Fault::Slow(SECOND)));
    let scan = Scan::new(router.clone(), range("", None, None), 5 * SECOND).collect();
    let others = async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(model.sent().len(), 8, "all pages are under way");
        let start = tokio::time::Instant::now();
        for number in 0..50 {
            let key = format!("{number:05}");
            router.send(put(&key), SECOND).await.expect("written");
            let dated = RequestHeader { at: Some(Timestamp(1)), ..RequestHeader::default() };
            let get = Request { header: dated, ..get(&key) };
            router.send(get, SECOND).await.expect("read");
        }
        start.elapsed()
    };
    let (items, took) = futures_util::future::join(scan, others).await;
    assert_eq!(items.expect("scanned").len(), KEYS as usize);
    assert!(took < SECOND / 4, "{took:?}");
    assert!(model.sent().iter().all(|sent| sent.count == 1), "{:?}", model.sent());
}

#[tokio::test(start_paused = true)]
async fn a_page_is_no_larger_than_takes_a_moment() {
    let (model, router) = Model::start(1, RouterOptions::default());
    for number in 0..2_000 {
        model.insert(format!("{number:05}").as_bytes(), &[b'v'; 1_000]);
    }
    let mut scan = Scan::new(router, range("", None, None), SECOND);
    let mut pages = Vec::new();
    while let Some(page) = scan.next_page().await.expect("scanned") {
        pages.push(page.iter().map(|item| item.key.len() + item.value.len()).sum::<usize>());
    }
    // How large items are is learned from the first pages.
    assert!(pages.iter().all(|&bytes| bytes <= 264 * 1024), "{pages:?}");
    assert!(model.sent().len() <= 16, "nor is it much smaller: {:?}", model.sent().len());
}

#[tokio::test(start_paused = true)]
async fn a_scan_survives_lost_messages_and_moving_leaders() {
    let (model, router) = filled(4);
    model.set_leader(2, Some(1));
    model.script([Fault::NotSent, Fault::LoseReply, Fault::LoseRequest, Fault::NotSent]);
    let items = Scan::new(router, range("", None, None), 5 * SECOND).collect().await.expect("scanned");
    assert_eq!(names(&items), expected(0, KEYS));
}

#[tokio::test(start_paused = true)]
async fn a_scan_goes_on_when_the_shards_change_under_it() {
    let (model, router) = filled(4);
    for number in KEYS..20_000 {
        model.insert(format!("{number:05}").as_bytes(), b"");
    }
    let mut scan = Scan::new(router.clone(), range("", None, None), SECOND);
    let mut items = scan.next_page().await.expect("scanned").expect("a page");
    assert!(items.len() < 20_000, "there is more to come");
    model.set_map(map(2, 16));
    while let Some(page) = scan.next_page().await.expect("scanned") {
        items.extend(page);
    }
    assert_eq!(names(&items), expected(0, 20_000));
    assert_eq!(strata_router::Kv::map(&*router).epoch.0, 2);
}

#[tokio::test(start_paused = true)]
async fn an_error_leaves_the_scan_where_it_was() {
    let (model, router) = filled(4);
    let mut scan = Scan::new(router, range("", None, None), SECOND);
    let refusal = Error::not_applied(ErrorCode::Internal, "broken");
    model.script([Fault::Refuse(refusal.clone())]);
    assert_eq!(scan.next_page().await, Err(refusal));
    let mut items = Vec::new();
    while let Some(page) = scan.next_page().await.expect("scanned") {
        items.extend(page);
    }
    assert_eq!(names(&items), expected(0, KEYS));
}

#[tokio::test(start_paused = true)]
async fn a_page_that_never_comes_ends_at_the_deadline() {
    let (model, router) = filled(1);
    model.set_leader(0, None);
    let start = tokio::time::Instant::now();
    let error = Scan::new(router, range("", None, None), SECOND).collect().await.expect_err("no leader");
    assert_eq!(error.code, ErrorCode::Unavailable);
    assert!(start.elapsed() < SECOND + Duration::from_millis(60));
}
