//! Tablet keys order as their parts do (CODEC-2).

use bytes::Bytes;
use proptest::prelude::*;
use strata_codec::{
    APPLIED_KEY, KeyKind, SESSION_SUMMARY_KEY, data_key, data_range, session_key, session_use_client, session_use_key,
    session_use_range, user_key, user_key_slice,
};
use strata_types::{ClientId, DatabaseId, KeySpaceId};

use crate::any;

/// Ids at and around the ends, where a successor carries.
fn id() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), Just(1), Just(255), Just(256), Just(u32::MAX - 1), Just(u32::MAX), any::<u32>()]
}

/// Short keys of few letters, so that prefixes and equal keys occur.
fn short() -> impl Strategy<Value = Bytes> {
    proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0x7f), Just(0xff)], 0..4).prop_map(Bytes::from)
}

proptest! {
    #![proptest_config(any::config())]

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
    }
}

#[test]
fn kinds_do_not_overlap() {
    let keys = [
        (KeyKind::Applied, Bytes::from_static(APPLIED_KEY)),
        (KeyKind::Session, session_key(ClientId(u64::MAX))),
        (KeyKind::SessionSummary, Bytes::from_static(SESSION_SUMMARY_KEY)),
        (KeyKind::Data, data_key(DatabaseId(u32::MAX), KeySpaceId(u32::MAX), b"\xff")),
    ];
    for (kind, key) in keys {
        assert_eq!(KeyKind::of(&key), Some(kind));
    }
    assert_eq!(KeyKind::of(b""), None);
    assert_eq!(KeyKind::of(&[0xff]), None);
}
