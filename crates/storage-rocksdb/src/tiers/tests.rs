use std::collections::BTreeMap;
use std::fs;

use strata_storage::Engine;

use super::*;
use crate::rocks::NEW_FILE;
use crate::tablet::RocksTablet;
use crate::testing::{batch, bytes, number, open, soon, tablets, value};

fn tiers(tablet: &RocksTablet) -> &Tiers {
    tablet.database().tiers()
}

fn full() -> StorageError {
    StorageError::Full { detail: "no room for a file".into() }
}

/// Looks for no room as if the last look were long ago.
fn flush_without_room(tablet: &RocksTablet) {
    tiers(tablet).failure.note(Ok(())).unwrap();
    assert_eq!(tiers(tablet).flush_by(NEW_FILES_MAX, |_| Err(full())), Err(full()));
}

fn set_merging(tablet: &RocksTablet, is_on: bool) {
    let is_off = if is_on { "false" } else { "true" };
    tiers(tablet).rocks.db().set_options(&[("disable_auto_compactions", is_off)]).unwrap();
}

/// A tablet with as many files as there may be, which are not merged.
fn hold_up(tablet: &RocksTablet) {
    set_merging(tablet, false);
    while tiers(tablet).rocks.new_files() < NEW_FILES_MAX {
        tablet.write(batch(0..10, 1)).unwrap();
        tablet.flush().unwrap();
    }
}

fn is_behind<T>(outcome: StorageResult<T>) -> bool {
    matches!(outcome, Err(StorageError::Behind { .. }))
}

#[test]
fn flushes_without_room_lose_nothing_and_the_next_one_has_it_all() {
    let directory = tempfile::tempdir().unwrap();
    let tablets = tablets(&directory, 1 << 20);
    let tablet = open(&tablets, 1);
    for round in 0..30 {
        tablet.write(batch(round * 10..round * 10 + 20, round)).unwrap();
        flush_without_room(&tablet);
    }
    let check = |tablet: &RocksTablet| {
        assert!((0..310).all(|row| value(tablet, row) == (row / 10).min(29)));
        let mut count = 0;
        tablet.scan(b"", b"", &mut |_, _| (count += 1, true).1).unwrap();
        assert_eq!(count, 310);
    };
    check(&tablet);
    assert_eq!(tablet.get_persisted(&bytes(0)).unwrap(), None);
    assert_eq!(tablet.flush(), Err(full()), "nobody tries again at once");
    assert_eq!(tiers(&tablet).owed_bytes(), 0, "nor does the node");
    tiers(&tablet).failure.note(Ok(())).unwrap();
    assert!(tiers(&tablet).owed_bytes() > 0);
    tablet.flush().unwrap();
    check(&tablet);
    assert!(tablet.get_persisted(&bytes(309)).unwrap().is_some());
    assert_eq!(tablet.unflushed_bytes(), 0);
}

#[test]
fn rows_stay_in_few_runs_while_flushes_find_no_room() {
    let directory = tempfile::tempdir().unwrap();
    let tablets = tablets(&directory, 1 << 20);
    let tablet = open(&tablets, 1);
    // Far less than a bundle.
    for round in 0..50 {
        tablet.write(batch(round..round + 1, round)).unwrap();
        flush_without_room(&tablet);
    }
    assert!(soon(|| tiers(&tablet).recent.read().due().is_none()));
    assert!((0..50).all(|row| value(&tablet, row) == row));
}

#[test]
fn after_an_error_of_the_disk_nothing_is_tried_again_whoever_met_it() {
    let directory = tempfile::tempdir().unwrap();
    let tablets = tablets(&directory, 1 << 20);
    let tablet = open(&tablets, 1);
    tablet.write(batch(0..100, 1)).unwrap();
    // A directory of that name is in the way.
    let obstacle = tablet.database().path().join(NEW_FILE);
    fs::create_dir(&obstacle).unwrap();
    tiers(&tablet).flush_for_room();
    fs::remove_dir(&obstacle).unwrap();
    let error = tablet.flush().unwrap_err();
    assert!(matches!(error, StorageError::Io { .. }), "{error}");
    assert_eq!(tablet.write(batch(0..100, 2)), Err(error.clone()));
    assert_eq!(tablet.write_now(batch(0..100, 2)), Err(error.clone()));
    assert_eq!(tablet.checkpoint().err(), Some(error));
    assert_eq!(tiers(&tablet).owed_bytes(), 0, "the node does not ask for it");
    assert_eq!((value(&tablet, 0), value(&tablet, 99)), (1, 1));
    assert_eq!(tablet.get_persisted(&bytes(0)).unwrap(), None);
}

#[test]
fn a_tablet_that_is_held_up_leaves_room_and_threads_to_others() {
    let directory = tempfile::tempdir().unwrap();
    // Room for half of it.
    let tablets = tablets(&directory, 4 << 20);
    let (held, other) = (open(&tablets, 1), open(&tablets, 2));
    hold_up(&held);
    drop(tiers(&held).forget());
    held.write(batch(0..10, 2)).unwrap();
    tiers(&held).flush_for_room();
    assert!(tiers(&held).rocks.is_held_up() && tiers(&held).owed_bytes() == 0);
    assert!(is_behind(held.flush()), "nobody waits for it");

    let mut written = (0..1_000).map(|round| held.write(batch(round * 100..round * 100 + 100, 2)));
    assert!(is_behind(written.find(Result::is_err).unwrap()));
    let bytes_of_held = tiers(&held).node_bytes();
    assert!((900 << 10..=1 << 20).contains(&bytes_of_held), "{bytes_of_held} bytes are not about half of the room");
    for round in 0..12 {
        other.write_now(batch(round * 200..round * 200 + 200, round)).unwrap();
    }
    assert_eq!(other.get_persisted(&bytes(0)).unwrap(), None, "there was room for it");

    // Who copies it does not wait either, and the next one finds it merged.
    held.checkpoint().unwrap();
    assert_eq!(tiers(&held).rocks.new_files(), NEW_FILES_MAX + 1);
    held.write(batch(0..10, 3)).unwrap();
    assert!(is_behind(held.flush()));
    set_merging(&held, true);
    assert!(soon(|| held.flush().is_ok()));
    assert_eq!((value(&held, 0), value(&held, 10)), (3, 2));
}

/// It would hold up who copies or closes a tablet.
#[test]
fn rocksdb_holds_nobody_up_however_many_files_it_has_to_merge() {
    let directory = tempfile::tempdir().unwrap();
    let tablets = tablets(&directory, 4 << 20);
    let tablet = open(&tablets, 1);
    hold_up(&tablet);
    // From now on it may hold up, and says so if it does.
    set_merging(&tablet, true);
    let log = tablet.database().path().join("LOG");
    drop((tablet, tablets));
    let log = fs::read_to_string(log).unwrap();
    assert!(!log.contains("Stalling writes") && !log.contains("Stopping writes"), "{log}");
}

/// Writes some rows, removes others and leaves the rest, by turns.
fn change(tablet: &RocksTablet, rows: &mut BTreeMap<u32, u32>, round: u32) {
    let mut changes = WriteBatch::new();
    for row in 0..300_u32 {
        match (row + round) % 7 {
            0 => {
                changes.delete(bytes(row));
                rows.remove(&row);
            }
            2 | 5 => {
                changes.put(bytes(row), bytes(round));
                rows.insert(row, round);
            }
            _ => {}
        }
    }
    tablet.write(changes).unwrap();
}

/// Compares the rows with what a tablet holds, where RocksDB has it: what memory has of the same is forgotten first.
fn check(tablet: &RocksTablet, rows: &BTreeMap<u32, u32>) {
    drop(tiers(tablet).forget());
    let mut seen = BTreeMap::new();
    tablet.scan(b"", b"", &mut |row, value| seen.insert(number(row), number(value)).is_none()).unwrap();
    assert_eq!(&seen, rows);
    for row in 0..300_u32 {
        let value = tablet.get(&row.to_be_bytes()).unwrap();
        assert_eq!(value.map(|value| number(&value)), rows.get(&row).copied(), "row {row}");
    }
}

#[test]
fn what_many_files_replaced_or_removed_does_not_come_back_when_they_are_merged() {
    let directory = tempfile::tempdir().unwrap();
    let tablets = tablets(&directory, 32 << 20);
    let (tablet, mut rows) = (open(&tablets, 1), BTreeMap::new());
    set_merging(&tablet, false);
    for round in 0..21 {
        change(&tablet, &mut rows, round);
        tablet.flush().unwrap();
        check(&tablet, &rows);
    }
    let rocks = &tiers(&tablet).rocks;
    assert_eq!(rocks.new_files(), NEW_FILES_MAX, "all but the first one lie over others");
    change(&tablet, &mut rows, 21);
    assert!(is_behind(tablet.flush()), "there are too many files for another one");
    check(&tablet, &rows);
    set_merging(&tablet, true);
    assert!(soon(|| tablet.flush().is_ok()));
    assert!(rocks.new_files() <= NEW_FILES_MAX);
    check(&tablet, &rows);
    rocks.db().compact_range(None::<&[u8]>, None::<&[u8]>);
    assert_eq!(rocks.new_files(), 0);
    check(&tablet, &rows);
    drop((tablet, tablets));
    let tablets = self::tablets(&directory, 32 << 20);
    check(&open(&tablets, 1), &rows);
}
