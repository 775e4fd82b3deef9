//! What a crash may take and what not.

use strata_types::ReplicaId;

use super::{Harness, REPLICA, all, get, get_persisted, open, pairs, put, write};

pub(super) fn a_flush_persists(harness: &mut dyn Harness) {
    let tablet = open(harness, REPLICA);
    assert_eq!(get_persisted(&*tablet, "a"), None);
    write(&*tablet, &[("a", Some("1")), ("b", Some("1"))]);
    assert_eq!(get(&*tablet, "a").as_deref(), Some("1"));
    assert_eq!(get_persisted(&*tablet, "a"), None, "a write alone is not durable");
    tablet.flush().expect("a tablet is flushed");
    assert_eq!(get_persisted(&*tablet, "a").as_deref(), Some("1"));
    write(&*tablet, &[("a", Some("2")), ("b", None)]);
    assert_eq!(get(&*tablet, "a").as_deref(), Some("2"));
    assert_eq!(get_persisted(&*tablet, "a").as_deref(), Some("1"), "the newest durable value, not the newest");
    assert_eq!(get_persisted(&*tablet, "b").as_deref(), Some("1"), "a delete alone is not durable");
    tablet.flush().expect("a tablet is flushed");
    assert_eq!(get_persisted(&*tablet, "a").as_deref(), Some("2"));
    assert_eq!(get_persisted(&*tablet, "b"), None);
    tablet.flush().expect("flushing nothing is no error");
}

/// STORE-1: the content after a crash is that after a prefix of the writes, flushed ones included.
pub(super) fn a_crash_leaves_a_prefix(harness: &mut dyn Harness) {
    let mut written = 0;
    for round in 1..=3_u32 {
        let tablet = open(harness, REPLICA);
        let mut flushed = written;
        let first = written + 1;
        for number in first..first + 20 * round {
            let (key, at) = (format!("k{number:04}"), number.to_string());
            let old = format!("k{:04}", number.saturating_sub(15));
            write(&*tablet, &[(&key, Some(&at)), ("last", Some(&at)), (&old, None)]);
            if number % 17 == 0 {
                tablet.flush().expect("a tablet is flushed");
                flushed = number;
            }
        }
        let persisted = number(get_persisted(&*tablet, "last"));
        assert!(persisted >= flushed, "get_persisted is not older than a completed flush");
        drop(tablet);
        harness.crash();

        let tablet = open(harness, REPLICA);
        let last = number(get(&*tablet, "last"));
        assert!(last >= persisted, "a crash takes nothing that was persisted: last=`{last}` persisted=`{persisted}`");
        assert_eq!(number(get_persisted(&*tablet, "last")), last, "what an opened tablet holds is durable");
        let mut expected: Vec<(String, String)> =
            (last.saturating_sub(14).max(1)..=last).map(|at| (format!("k{at:04}"), at.to_string())).collect();
        expected.push(("last".into(), last.to_string()));
        assert_eq!(all(&*tablet), expected, "the state is that after write {last}, whole");
        written = last;
    }
}

fn number(value: Option<String>) -> u32 {
    value.map_or(0, |value| value.parse().expect("the check writes numbers"))
}

pub(super) fn new_and_removed_tablets_survive(harness: &mut dyn Harness) {
    for replica in [1, 2, 3] {
        let tablet = open(harness, ReplicaId(replica));
        put(&*tablet, "a", &replica.to_string());
        if replica != 2 {
            tablet.flush().expect("a tablet is flushed");
        }
    }
    harness.tablets().remove(ReplicaId(3)).expect("a tablet is removed");
    harness.crash();
    let expected = [ReplicaId(1), ReplicaId(2)];
    assert_eq!(harness.tablets().list().expect("tablets are listed"), expected, "an opened tablet exists for good");
    assert_eq!(all(&*open(harness, ReplicaId(1))), pairs(&[("a", "1")]));
    assert_eq!(all(&*open(harness, ReplicaId(3))), [], "a removed tablet stays removed");
}
