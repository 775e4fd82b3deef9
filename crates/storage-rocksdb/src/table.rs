//! How recent rows are found.

use std::array;
use std::hash::{BuildHasher as _, RandomState};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::item::Item;

/// What a row takes in a table beside its item, roughly: maps are half full and more.
pub(crate) const SLOT_BYTES: usize = 64;

/// The rows lie in so many maps. One that grows moves all its rows, while who writes waits: so they are small, and do
/// not grow at the same time.
const MAPS: usize = 64;

/// Recent rows by their keys.
pub(crate) struct Table {
    maps: Box<[HashTable<Slot>; MAPS]>,
    /// Nobody can make a map slow by his choice of keys.
    hasher: RandomState,
    rows: usize,
    items_bytes: usize,
}

struct Slot {
    item: Item,
    /// Of the key: a map that grows need not look at its items.
    hash: u64,
    place: Place,
}

/// Where an item is among those that were written last: which one of which part.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) part: u64,
    pub(crate) at: usize,
}

impl Default for Table {
    fn default() -> Table {
        let maps = Box::new(array::from_fn(|_| HashTable::new()));
        Table { maps, hasher: RandomState::new(), rows: 0, items_bytes: 0 }
    }
}

impl Table {
    pub(crate) fn len(&self) -> usize {
        self.rows
    }

    /// What its items take.
    pub(crate) fn items_bytes(&self) -> usize {
        self.items_bytes
    }

    /// What it takes when others have its items, too.
    pub(crate) fn own_bytes(&self) -> usize {
        self.rows * SLOT_BYTES
    }

    /// What it takes when nobody else has them.
    pub(crate) fn all_bytes(&self) -> usize {
        self.own_bytes() + self.items_bytes
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&Item> {
        let hash = self.hasher.hash_one(key);
        self.maps[map_of(hash)].find(hash, |slot| slot.item.key() == key).map(|slot| &slot.item)
    }

    /// Puts a row. A place that is of the same part as the new one stays that of the row. Returns the former place, if the row
    /// was here.
    pub(crate) fn put(&mut self, item: Item, place: Place) -> Option<Place> {
        let hash = self.hasher.hash_one(item.key());
        self.items_bytes += item.bytes();
        match self.maps[map_of(hash)].entry(hash, |slot| slot.item.key() == item.key(), |slot| slot.hash) {
            Entry::Occupied(mut slot) => {
                let slot = slot.get_mut();
                let former = slot.place;
                self.items_bytes -= slot.item.bytes();
                slot.item = item;
                if former.part != place.part {
                    slot.place = place;
                }
                Some(former)
            }
            Entry::Vacant(slot) => {
                slot.insert(Slot { item, hash, place });
                self.rows += 1;
                None
            }
        }
    }
}

/// Which of the maps has a row: by other bits than those that say where in the map.
fn map_of(hash: u64) -> usize {
    (hash >> 40) as usize % MAPS
}
