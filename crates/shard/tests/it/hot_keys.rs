//! Keys that are written all the time: their history makes no page, and no check, take for ever.

use bytes::Bytes;
use strata_codec::{StoredValue, Version, data_key, history_key};
use strata_types::{DatabaseId, KeySpaceId, Reply, RequestHeader, Revision, Space, SpaceKey, Timestamp, limits};

use crate::view::TraceView;

fn key(text: &str) -> SpaceKey {
    let space = Space { database: DatabaseId(0), key_space: KeySpaceId(0) };
    SpaceKey { space, key: Bytes::from(text.to_owned()) }
}

/// A key that had a value at each of the timestamps from 1 to `versions`, and has one now.
fn fill(view: &mut TraceView, text: &str, versions: u64) {
    let (key, revision) = (key(text), Revision::default());
    for at in 1..=versions {
        let value = StoredValue::encode_plain(Timestamp(at), revision, at.to_string().as_bytes());
        view.rows.insert(history_key(&key, Timestamp(at)), value);
    }
    let newest = StoredValue::encode_plain(Timestamp(versions + 1), revision, b"newest");
    view.rows.insert(data_key(DatabaseId(0), KeySpaceId(0), &key.key), newest);
}

fn page(view: &TraceView, start: &[u8], at: u64) -> (Vec<(Bytes, Timestamp)>, Option<Bytes>, u64) {
    let header = RequestHeader { at: Some(Timestamp(at)), ..RequestHeader::default() };
    let before = view.shown.get();
    let reply = strata_shard::scan(view, &header, start, None, u32::MAX, &|_| true).unwrap();
    view.take_trace();
    let Reply::Scan { items, resume, .. } = reply else { panic!("not a scan: {reply:?}") };
    let items = items.into_iter().map(|item| (item.key, item.timestamp)).collect();
    (items, resume, view.shown.get() - before)
}

#[test]
fn a_long_history_is_jumped_over() {
    let mut view = TraceView::default();
    for text in ["a", "hot", "z"] {
        fill(&mut view, text, if text == "hot" { 50_000 } else { 3 });
    }
    for (at, expected) in [(1, 1), (3, 3), (4, 4), (25_000, 25_000), (50_000, 50_000), (60_000, 50_001)] {
        let (items, resume, shown) = page(&view, b"", at);
        let hot = (Bytes::from_static(b"hot"), Timestamp(expected));
        assert!(items.len() == 3 && items.contains(&hot) && resume.is_none(), "at {at}: {items:?}");
        assert!(shown < 200, "at {at} it has looked at {shown} rows");
    }
}

#[test]
fn a_page_over_many_histories_ends_and_the_next_one_gets_on() {
    let mut view = TraceView::default();
    for number in 0..1000 {
        fill(&mut view, &format!("{number:04}"), 40);
    }
    let most = u64::from(limits::SCAN_PAGE_ITEMS_MAX);
    let (mut all, mut start, mut pages) = (Vec::new(), Bytes::new(), 0);
    loop {
        let (items, resume, shown) = page(&view, &start, 20);
        // Beside the rows that count, one where each walk ends or begins anew.
        assert!(shown < 2 * most, "one page has looked at {shown} rows");
        assert!(items.iter().all(|(_, at)| *at == Timestamp(20)));
        all.extend(items.into_iter().map(|(key, _)| key));
        pages += 1;
        match resume {
            Some(next) => start = next,
            None => break,
        }
    }
    assert!(pages > 1, "it was cut");
    assert_eq!(all, (0..1000).map(|number| Bytes::from(format!("{number:04}"))).collect::<Vec<_>>());
}

#[test]
fn a_page_of_removed_keys_ends() {
    let mut view = TraceView::default();
    for number in 0..30_000 {
        let removed = history_key(&key(&format!("{number:05}")), Timestamp(5));
        view.rows.insert(removed, Version::Tombstone.encode());
    }
    let (mut start, mut pages) = (Bytes::new(), 0);
    loop {
        let (items, resume, _) = page(&view, &start, 6);
        assert!(items.is_empty());
        pages += 1;
        match resume {
            Some(next) => start = next,
            None => break,
        }
    }
    assert_eq!(pages, 3, "each page looks at so many rows");
}

#[test]
fn a_page_of_large_old_values_ends_after_the_item_that_passes_its_bytes() {
    let mut view = TraceView::default();
    let large = vec![b'v'; limits::SCAN_PAGE_BYTES_MAX / 4];
    for number in 0..10 {
        let value = StoredValue::encode_plain(Timestamp(1), Revision::default(), &large);
        view.rows.insert(history_key(&key(&format!("{number:02}")), Timestamp(1)), value);
    }
    let (items, resume, _) = page(&view, b"", 6);
    assert_eq!((items.len(), resume), (4, Some(Bytes::from_static(b"04"))), "as for newest values");
}
