//! Bounds of what one command collects.

use bytes::Bytes;
use strata_codec::{StoredValue, Version, data_key, history_key};
use strata_shard::testing::Rows;
use strata_types::{Revision, Space, SpaceKey, Timestamp};

const MIB: usize = 1024 * 1024;
const NEWEST: Timestamp = Timestamp(100);
const HORIZON: Timestamp = Timestamp(1_000);

fn value(at: Timestamp, length: usize) -> Bytes {
    StoredValue::encode_plain(at, Revision::default(), &vec![b'v'; length])
}

/// Keys with a newest value and some older versions each, of so many bytes.
fn filled(keys: u64, newest: usize, versions: u64, older: usize) -> Rows {
    let mut rows = Rows::default();
    for number in 0..keys {
        let key = SpaceKey { space: Space::default(), key: Bytes::from(format!("{number:06}")) };
        rows.0.insert(data_key(key.space.database, key.space.key_space, &key.key), value(NEWEST, newest));
        for at in (1..=versions).map(Timestamp) {
            rows.0.insert(history_key(&key, at), value(at, older));
        }
    }
    rows
}

/// How many rows each command names that collects all there is.
fn commands(rows: &Rows) -> Vec<usize> {
    let (mut commands, mut from) = (Vec::new(), None);
    loop {
        let garbage = strata_shard::garbage(rows, HORIZON, from.as_ref(), 1_000);
        commands.push(garbage.rows.len());
        from = garbage.resume;
        if from.is_none() {
            return commands;
        }
    }
}

/// SHARD-12
#[test]
fn a_command_collects_fewer_rows_if_apply_has_to_read_much_for_them() {
    assert_eq!(commands(&filled(1_500, 100, 1, 100)), [1_000, 500], "small ones are counted");
    assert_eq!(commands(&filled(20, 100, 1, MIB)), [8, 8, 4]);
    assert_eq!(commands(&filled(20, MIB, 1, 100)), [8, 8, 4], "what replaced a version is read as well");
    // Of one key the newest one of those that replaced them is read again for each.
    let of_one_key = commands(&filled(1, 100, 20, MIB));
    assert!(of_one_key.iter().all(|rows| (1..=8).contains(rows)), "{of_one_key:?}");
    assert_eq!(of_one_key.iter().sum::<usize>(), 20);
    assert_eq!(commands(&filled(3, 16 * MIB, 1, 16 * MIB)), [1, 1, 1], "it always gets on");
}

/// SHARD-12
#[test]
fn a_removal_counts_with_the_value_that_came_after_it() {
    let mut rows = Rows::default();
    for number in 0..20 {
        let key = SpaceKey { space: Space::default(), key: Bytes::from(format!("{number:06}")) };
        rows.0.insert(history_key(&key, Timestamp(5)), Bytes::from_static(Version::TOMBSTONE));
        let newest = value(Timestamp(HORIZON.0 + 1), MIB);
        rows.0.insert(data_key(key.space.database, key.space.key_space, &key.key), newest);
    }
    assert_eq!(commands(&rows), [8, 8, 4]);
}
