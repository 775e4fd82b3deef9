use super::*;
use crate::bundle::PARTS_MAX;
use crate::part::in_order;
use crate::run::Rows;

fn batch(rows: Range<u32>, value: &'static [u8]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    rows.for_each(|row| batch.put(Bytes::from(row.to_be_bytes().to_vec()), Bytes::from_static(value)));
    batch
}

fn recent(bundle_bytes: usize, node_bytes: usize) -> Recent {
    Recent::new(Arc::new(Budget::new(bundle_bytes, node_bytes)))
}

fn leave(recent: &mut Recent) {
    let (parts, _) = recent.begin_flush().expect("RocksDB lacks something");
    recent.ordered(parts.len(), Run::of(&parts));
    recent.leave();
}

fn flush(recent: &mut Recent) {
    leave(recent);
    recent.stored();
}

fn owed(recent: &Recent) -> Vec<(u8, Option<Bytes>)> {
    let (newest, runs) = recent.owed_within(b"", b"");
    let rows = Rows::new(newest, runs);
    rows.within(b"", b"").map(|item| (item.key()[3], item.to_value())).collect()
}

#[test]
fn a_row_counts_once_however_often_it_is_written() {
    let mut recent = recent(100_000, 1 << 20);
    for value in [&b"long value"[..], b"short", b"longer than before"].into_iter().cycle().take(99) {
        assert!(!recent.put(&batch(0..100, value)));
    }
    let mut gone = WriteBatch::new();
    gone.delete(Bytes::from(5_u32.to_be_bytes().to_vec()));
    recent.put(&gone);
    let items = 100 * Item::bytes_of(4) + 99 * b"longer than before".len();
    assert_eq!((recent.table.items_bytes(), recent.bundle.bytes()), (items, items));
    let expected = 100 * SLOT_BYTES + items;
    assert_eq!((recent.bytes, recent.budget.node_bytes()), (expected, expected));
    assert!(recent.written_bytes() > 99 * 100 * WRITE_BYTES as u64, "each write is replayed after a crash");
    let (newest, runs) = recent.owed_within(&3_u32.to_be_bytes(), &7_u32.to_be_bytes());
    let seen: Vec<_> = in_order(newest).iter().map(|item| (item.key()[3], item.value().is_some())).collect();
    assert_eq!((seen, runs.len()), (vec![(3, true), (4, true), (5, false), (6, true)], 0));
}

#[test]
fn what_was_flushed_is_found_and_owed_again_when_it_changes() {
    let mut recent = recent(100_000, 1 << 20);
    recent.put(&batch(0..100, b"old"));
    flush(&mut recent);
    assert!(owed(&recent).is_empty() && recent.begin_flush().is_none());
    recent.put(&batch(40..42, b"new"));
    assert_eq!(owed(&recent), [40, 41].map(|row| (row, Some(Bytes::from_static(b"new")))));
    let get = |recent: &Recent, row: u32| recent.get(&row.to_be_bytes()).flatten();
    assert_eq!(get(&recent, 50), Some(Bytes::from_static(b"old")), "still found here");
    assert_eq!(get(&recent, 41), Some(Bytes::from_static(b"new")));
    assert!(recent.forget().is_some() && recent.forget().is_none());
    assert_eq!((get(&recent, 50), get(&recent, 41)), (None, Some(Bytes::from_static(b"new"))));
    flush(&mut recent);
    assert!(recent.forget().is_some());
    assert_eq!((recent.bytes, recent.budget.node_bytes()), (0, 0));
}

#[test]
fn a_flush_that_failed_leaves_all_to_the_next_one() {
    let mut recent = recent(4_000, 1 << 20);
    recent.put(&batch(0..50, b"first"));
    leave(&mut recent);
    recent.stay();
    recent.put(&batch(40..60, b"second"));
    assert_eq!(recent.stored_bytes(), 0, "RocksDB has nothing");
    leave(&mut recent);
    recent.put(&batch(55..70, b"third"));
    let value = |row: u8| match row {
        ..40 => &b"first"[..],
        40..55 => b"second",
        _ => b"third",
    };
    assert_eq!(owed(&recent), (0..70).map(|row| (row, Some(Bytes::from_static(value(row))))).collect::<Vec<_>>());
    recent.stored();
    assert_eq!(owed(&recent), (55..70).map(|row| (row, Some(Bytes::from_static(b"third")))).collect::<Vec<_>>());
    flush(&mut recent);
    recent.forget();
    assert_eq!((recent.bytes, recent.written_bytes()), (0, 0));
}

#[test]
fn what_two_flushes_took_along_counts_until_it_is_forgotten() {
    let mut recent = recent(100_000, 1 << 20);
    recent.put(&batch(0..50, b"first"));
    leave(&mut recent);
    recent.stay();
    recent.put(&batch(50..90, b"second"));
    flush(&mut recent);
    assert_eq!(recent.bytes, recent.former.all_bytes() + recent.table.all_bytes());
    assert_eq!(recent.stored_bytes(), recent.bytes);
    recent.put(&batch(90..95, b"third"));
    flush(&mut recent);
    assert_eq!(recent.bytes, recent.former.all_bytes());
    assert!(recent.forget().is_some());
    assert_eq!((recent.bytes, recent.budget.node_bytes()), (0, 0));
}

#[test]
fn what_a_flush_took_along_after_one_that_failed_counts_also_when_more_was_written_meanwhile() {
    let mut recent = recent(100_000, 1 << 20);
    recent.put(&batch(0..50, b"first"));
    leave(&mut recent);
    recent.stay();
    recent.put(&batch(50..90, b"second"));
    leave(&mut recent);
    recent.put(&batch(90..95, b"third"));
    recent.stored();
    assert_eq!(recent.bytes, recent.former.all_bytes() + recent.table.all_bytes());
    assert_eq!(recent.stored_bytes(), recent.former.all_bytes());
    leave(&mut recent);
    assert_eq!(recent.bytes, recent.former.all_bytes());
    recent.stored();
    assert_eq!(recent.bytes, recent.former.all_bytes());
    assert!(recent.forget().is_some());
    assert_eq!((recent.bytes, recent.budget.node_bytes()), (0, 0));
}

#[test]
fn runs_on_their_way_are_not_merged() {
    let mut recent = recent(0, 1 << 20);
    for round in 0..u32::try_from(FAN_IN).expect("a small number") {
        recent.put(&batch(round..round + 5, b"value"));
        recent.ordered(1, Run::of(&recent.waiting()));
    }
    assert!(recent.due().is_some());
    recent.put(&batch(0..1, b"last"));
    leave(&mut recent);
    assert!(recent.due().is_none());
    recent.stay();
    assert!(recent.due().is_some());
}

#[test]
fn bundles_become_runs_and_runs_become_one() {
    let mut recent = recent(0, 1 << 20);
    let rounds = u32::try_from(FAN_IN).expect("a small number") * 2 + 3;
    for round in 0..rounds {
        assert!(recent.put(&batch(round..round + 5, b"value")));
        let waiting = recent.waiting();
        recent.ordered(waiting.len(), Run::of(&waiting));
        if let Some((range, runs)) = recent.due() {
            recent.merged(range, Run::merged(&runs));
        }
    }
    let levels: Vec<u32> = recent.runs.iter().map(|run| run.level).collect();
    assert_eq!(levels, [0, 0, 0, 1, 1]);
    assert_eq!(owed(&recent).len() as u32, rounds + 4);
    let runs: usize = recent.runs.iter().map(|run| run.bytes).sum();
    assert_eq!((recent.owed_bytes(), recent.bytes), (runs, runs + recent.table.own_bytes()));
    flush(&mut recent);
    assert_eq!(recent.bytes, recent.former.all_bytes());
}

#[test]
fn what_is_shared_stays_as_it_was_however_many_share_it() {
    let mut recent = recent(1 << 20, 1 << 20);
    let value = |number: u32| Bytes::from(number.to_be_bytes().to_vec());
    let mut shared = Vec::new();
    for number in 0..40 {
        let mut batch = WriteBatch::new();
        // Rows of each of the last three, and one of each before.
        (number..number + 3).for_each(|row| batch.put(value(row), value(number)));
        recent.put(&batch);
        shared.push(recent.share());
        assert!(recent.bundle.parts().count() <= PARTS_MAX + 1);
    }
    for (number, owed) in (0..).zip(&shared) {
        let rows: Vec<_> =
            owed.in_order().within(b"", b"").map(|item| (item.key().to_vec(), item.to_value())).collect();
        let expected = |row: u32| (value(row).to_vec(), Some(value(row.min(number))));
        assert_eq!(rows, (0..number + 3).map(expected).collect::<Vec<_>>());
    }
}
