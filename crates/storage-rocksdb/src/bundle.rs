//! The rows that were written last, in no order.

use std::sync::Arc;
use std::{iter, mem};

use crate::item::Item;
use crate::part::Part;
use crate::table::Place;

/// A bundle has one part more than this at most: who scans looks at each part. Beyond it they are joined.
pub(crate) const PARTS_MAX: usize = 8;

/// What was written since the last one was full. Who shares it ends a part: what comes later is in the next one.
#[derive(Default)]
pub(crate) struct Bundle {
    /// The number of the present part, which no other part of the tablet has.
    number: u64,
    present: Part,
    /// Its other parts, the newest first.
    parts: Vec<Arc<Part>>,
}

impl Bundle {
    /// Takes a row. `locate` is told where it is when it comes last, and says where it was before: if that is in the
    /// present part, it stays there. Returns what the row took that it replaced here.
    pub(crate) fn put(&mut self, item: Item, locate: impl FnOnce(Place) -> Option<Place>) -> usize {
        let after = item.bytes();
        let items = self.present.items_like(item.key());
        let last = Place { part: self.number, at: items.len() };
        let before = match locate(last) {
            Some(place) if place.part == self.number => mem::replace(&mut items[place.at], item).bytes(),
            _ => {
                items.push(item);
                0
            }
        };
        self.present.bytes = self.present.bytes + after - before;
        before
    }

    /// Its parts, the newest first.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &Part> {
        iter::once(&self.present).chain(self.parts.iter().map(Arc::as_ref))
    }

    /// What it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.parts().map(|part| part.bytes).sum()
    }

    /// Its parts, the newest first, for who keeps them.
    pub(crate) fn share(&mut self) -> &[Arc<Part>] {
        if self.parts.len() == PARTS_MAX && !self.present.is_empty() {
            self.parts = vec![Arc::new(Part::joined(self.parts.iter().map(Arc::as_ref)))];
        }
        self.end_part();
        &self.parts
    }

    /// Ends it: what is written from now on is of the next one. Returns its parts, the newest first.
    pub(crate) fn end(&mut self) -> Vec<Arc<Part>> {
        self.end_part();
        mem::take(&mut self.parts)
    }

    fn end_part(&mut self) {
        if !self.present.is_empty() {
            self.parts.insert(0, Arc::new(mem::take(&mut self.present)));
            self.number += 1;
        }
    }
}
