//! Tablet keys order as their parts do (CODEC-2).

use bytes::Bytes;
use proptest::prelude::*;
use strata_codec::{
    APPLIED_KEY, KeyKind, SESSION_SUMMARY_KEY, SHARD_STATE_KEY, closed_record_key, data_key, data_range,
    history_after_key, history_entry, history_key, history_range, history_range_of_key, intent_key, intent_range,
    intent_user_key, participant_key, range_locks_key, record_key, resolved_participant_key, session_key,
    session_use_client, session_use_key, session_use_range, user_key, user_key_slice,
};
use strata_types::{ClientId, DatabaseId, KeySpaceId, Space, SpaceKey, Timestamp, TransactionId};

use crate::any;

/// Ids at and around the ends, where a successor carries.
fn id() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), Just(1), Just(255), Just(256), Just(u32::MAX - 1), Just(u32::MAX), any::<u32>()]
}

/// Short keys of few letters, so that prefixes and equal keys occur.
fn short() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0x7f), Just(0xff)], 0..4).prop_map(Bytes::from)
}

/// Bytes that are escaped in the history, at their ends and beginnings.
fn escapable() -> impl Strategy<Value = Bytes> {
    let byte = prop_oneof![4 => Just(0u8), 2 => Just(1), 1 => Just(2), 1 => Just(0xfe), 2 => Just(0xff)];
    proptest::collection::vec(byte, 0..5).prop_map(Bytes::from)
}

fn space_key(database: u32, key_space: u32, key: &Bytes) -> SpaceKey {
    SpaceKey { space: Space { database: DatabaseId(database), key_space: KeySpaceId(key_space) }, key: key.clone() }
}

proptest! {
    #![proptest_config(any::config())]

    /// CODEC-2: by key, and of one key the newest first.
    #[test]
    fn versions_order_as_their_keys_and_against_their_timestamps(
        a in (id(), id(), escapable(), any::<u64>()),
        b in (id(), id(), escapable(), any::<u64>()),
        same_key in any::<bool>(),
    ) {
        let b = if same_key { (a.0, a.1, a.2.clone(), b.3) } else { b };
        let of = |(database, key_space, key, at): &(u32, u32, Bytes, u64)| {
            (space_key(*database, *key_space, key), std::cmp::Reverse(Timestamp(*at)))
        };
        let encode = |(key, at): &(SpaceKey, std::cmp::Reverse<Timestamp>)| history_key(key, at.0);
        let (a, b) = (of(&a), of(&b));
        prop_assert_eq!(encode(&a).cmp(&encode(&b)), a.cmp(&b));
        prop_assert_eq!(history_entry(&encode(&a)), Ok((a.0.clone(), a.1.0)));
        let (first, last) = history_range_of_key(&b.0, b.1.0);
        let is_in = a.0 == b.0 && a.1.0 <= b.1.0;
        prop_assert_eq!(first <= encode(&a) && encode(&a) < last, is_in);
        prop_assert_eq!(encode(&a) < history_after_key(&b.0), a.0 <= b.0);
    }

    /// CODEC-2
    #[test]
    fn ranges_of_versions_and_of_locks_hold_exactly_their_keys(
        range in (id(), id(), escapable(), proptest::option::of(escapable())),
        other in (id(), id(), escapable(), any::<u64>()),
        same_space in any::<bool>(),
    ) {
        let (database, key_space, start, end) = range;
        let place = if same_space { (database, key_space) } else { (other.0, other.1) };
        let key = space_key(place.0, place.1, &other.2);
        let space = space_key(database, key_space, &start).space;
        let inside = key.space == space && start <= key.key && end.as_ref().is_none_or(|end| key.key < *end);
        let (first, last) = history_range(space, &start, end.as_deref());
        let version = history_key(&key, Timestamp(other.3));
        prop_assert_eq!(first <= version && version < last, inside);
        let (first, last) = intent_range(space, &start, end.as_deref());
        let locks = intent_key(&key);
        prop_assert_eq!(first <= locks && locks < last, inside);
        prop_assert_eq!(intent_user_key(&locks), &key.key[..]);
    }

    #[test]
    fn data_keys_order_as_their_parts(a in (id(), id(), short()), b in (id(), id(), short())) {
        let encode = |(database, key_space, key): &(u32, u32, Bytes)| {
            data_key(DatabaseId(*database), KeySpaceId(*key_space), key)
        };
        prop_assert_eq!(encode(&a).cmp(&encode(&b)), a.cmp(&b));
        let key = encode(&a);
        prop_assert_eq!(user_key(&key), a.2.clone());
        prop_assert_eq!(user_key_slice(&key), &a.2[..]);
        prop_assert_eq!(KeyKind::of(&key), Some(KeyKind::Data));
    }

    #[test]
    fn a_range_holds_exactly_its_keys(
        range in (id(), id(), short(), proptest::option::of(short())),
        other in (id(), id(), short()),
        same_space in any::<bool>(),
    ) {
        let (database, key_space, start, end) = range;
        let place = if same_space { (database, key_space) } else { (other.0, other.1) };
        let (first, last) = data_range(DatabaseId(database), KeySpaceId(key_space), &start, end.as_deref());
        let key = data_key(DatabaseId(place.0), KeySpaceId(place.1), &other.2);
        let inside = place == (database, key_space) && start <= other.2 && end.is_none_or(|end| other.2 < end);
        prop_assert_eq!(first <= key && key < last, inside);
    }

    #[test]
    fn sessions_order_by_use(a in (any::revision(), any::<u64>()), b in (any::revision(), any::<u64>())) {
        let key = |of: (strata_types::Revision, u64)| session_use_key(of.0, ClientId(of.1));
        prop_assert_eq!(key(a).cmp(&key(b)), a.cmp(&b));
        prop_assert_eq!(session_use_client(&key(a)), Ok((a.0, ClientId(a.1))));
        let (first, last) = session_use_range(b.0);
        prop_assert_eq!(first <= key(a) && key(a) < last, a.0 >= b.0);
    }

    #[test]
    fn no_bytes_panic_a_key_decoder(bytes in any::bytes()) {
        let _ = session_use_client(&bytes);
        let _ = KeyKind::of(&bytes);
        let _ = history_entry(&bytes);
    }
}

#[test]
fn kinds_do_not_overlap() {
    let last = space_key(u32::MAX, u32::MAX, &Bytes::from_static(b"\xff"));
    let id = TransactionId(u128::MAX);
    let keys = [
        (KeyKind::Applied, Bytes::from_static(APPLIED_KEY)),
        (KeyKind::Session, session_key(ClientId(u64::MAX))),
        (KeyKind::SessionSummary, Bytes::from_static(SESSION_SUMMARY_KEY)),
        (KeyKind::Data, data_key(DatabaseId(u32::MAX), KeySpaceId(u32::MAX), b"\xff")),
        (KeyKind::History, history_key(&last, Timestamp(0))),
        (KeyKind::Intent, intent_key(&last)),
        (KeyKind::TransactionRecord, record_key(id)),
        (KeyKind::ClosedRecord, closed_record_key(id)),
        (KeyKind::Participant, participant_key(id)),
        (KeyKind::ResolvedParticipant, resolved_participant_key(id)),
        (KeyKind::RangeLocks, range_locks_key(id)),
        (KeyKind::ShardState, Bytes::from_static(SHARD_STATE_KEY)),
    ];
    for (kind, key) in keys {
        assert_eq!(KeyKind::of(&key), Some(kind));
        let (first, end) = kind.range();
        assert!(first <= key && key < end, "{kind:?}");
    }
    assert_eq!(KeyKind::of(b""), None);
    assert_eq!(KeyKind::of(&[0xff]), None);
}
