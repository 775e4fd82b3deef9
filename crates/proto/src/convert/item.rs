//! Item.

use strata_types::{Item, Timestamp};

use super::revision::revision_of;
use crate::v1;

impl From<Item> for v1::Item {
    fn from(item: Item) -> v1::Item {
        v1::Item { key: item.key, value: item.value, revision: Some(item.revision.into()), timestamp: item.timestamp.0 }
    }
}

impl From<v1::Item> for Item {
    fn from(item: v1::Item) -> Item {
        Item {
            key: item.key,
            value: item.value,
            revision: revision_of(item.revision),
            timestamp: Timestamp(item.timestamp),
        }
    }
}
