//! Bounds of a scan page.

use bytes::Bytes;
use strata_codec::{StoredValue, data_key};
use strata_types::{DatabaseId, KeySpaceId, Reply, RequestHeader, Revision, Timestamp, limits};

use crate::view::TraceView;

fn filled(count: usize, value_bytes: usize) -> TraceView {
    let mut view = TraceView::default();
    for number in 0..count {
        let key = data_key(DatabaseId(0), KeySpaceId(0), format!("{number:06}").as_bytes());
        let value = vec![b'v'; value_bytes];
        view.rows.insert(key, StoredValue::encode_plain(Timestamp(0), Revision::default(), &value));
    }
    view
}

fn page(view: &TraceView, start: &[u8], limit: u32, keep: &dyn Fn(&[u8]) -> bool) -> (Vec<Bytes>, Option<Bytes>) {
    match strata_shard::scan(view, &RequestHeader::default(), start, None, limit, keep).unwrap() {
        Reply::Scan { items, resume, .. } => (items.into_iter().map(|item| item.key).collect(), resume),
        reply => panic!("not a scan: {reply:?}"),
    }
}

fn key(number: usize) -> Bytes {
    Bytes::from(format!("{number:06}"))
}

#[test]
fn a_page_ends_after_the_item_that_passes_its_bytes() {
    let quarter = limits::SCAN_PAGE_BYTES_MAX / 4;
    let view = filled(10, quarter);
    let (keys, resume) = page(&view, b"", 10, &|_| true);
    assert_eq!((keys.len(), resume), (4, Some(key(4))), "four values and their keys are just above the bound");

    let view = filled(2, limits::SCAN_PAGE_BYTES_MAX + 1);
    let (keys, resume) = page(&view, b"", 10, &|_| true);
    assert_eq!((keys.len(), resume), (1, Some(key(1))), "one value above the bound is a page");
}

#[test]
fn a_page_has_at_most_the_limit_of_items_whatever_is_asked() {
    let most = limits::SCAN_PAGE_ITEMS_MAX as usize;
    let view = filled(most + 1, 1);
    let (keys, resume) = page(&view, b"", u32::MAX, &|_| true);
    assert_eq!((keys.len(), resume), (most, Some(key(most))));
}

#[test]
fn a_page_that_keeps_nothing_ends_all_the_same() {
    let most = limits::SCAN_PAGE_ITEMS_MAX as usize;
    let view = filled(most + 5, 1);
    let (keys, resume) = page(&view, b"", 1, &|_| false);
    assert_eq!((keys.len(), resume), (0, Some(key(most))));
    let (keys, resume) = page(&view, &key(most), 1, &|_| false);
    assert_eq!((keys.len(), resume), (0, None));
}

#[test]
fn pages_together_are_the_whole_range() {
    let view = filled(100, 1);
    for limit in [1, 7, 50, 99, 100, 101] {
        let (mut all, mut start) = (Vec::new(), Bytes::new());
        loop {
            let (keys, resume) = page(&view, &start, limit, &|_| true);
            all.extend(keys);
            match resume {
                Some(next) => start = next,
                None => break,
            }
        }
        assert_eq!(all, (0..100).map(key).collect::<Vec<_>>(), "limit {limit}");
    }
}
