//! Several lists of rows as one.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use crate::item::Item;

/// The rows of several lists in key order, each row once: as it is in the first list that has it.
pub(crate) struct Merge<'a> {
    /// What is left of each list, the one with the least key on top.
    lists: BinaryHeap<Reverse<Rest<'a>>>,
}

/// What is left of a list: never nothing.
struct Rest<'a> {
    first: &'a Item,
    more: &'a [Item],
    /// Which list it is.
    list: usize,
}

impl<'a> Merge<'a> {
    /// Each list is in key order and has each row once.
    pub(crate) fn new(lists: impl Iterator<Item = &'a [Item]>) -> Merge<'a> {
        let rest = |(list, items): (usize, &'a [Item])| {
            items.split_first().map(|(first, more)| Reverse(Rest { first, more, list }))
        };
        Merge { lists: lists.enumerate().filter_map(rest).collect() }
    }

    /// Takes the row with the least key.
    fn pop(&mut self) -> Option<&'a Item> {
        let mut top = self.lists.peek_mut()?;
        let item = top.0.first;
        match top.0.more.split_first() {
            Some((first, more)) => (top.0.first, top.0.more) = (first, more),
            None => drop(PeekMut::pop(top)),
        }
        Some(item)
    }
}

impl<'a> Iterator for Merge<'a> {
    type Item = &'a Item;

    fn next(&mut self) -> Option<&'a Item> {
        let item = self.pop()?;
        while self.lists.peek().is_some_and(|top| top.0.first.key() == item.key()) {
            self.pop();
        }
        Some(item)
    }
}

impl Rest<'_> {
    fn order(&self) -> (&[u8], usize) {
        (self.first.key(), self.list)
    }
}

impl Ord for Rest<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order().cmp(&other.order())
    }
}

impl PartialOrd for Rest<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Rest<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Rest<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_comes_once_and_as_the_first_list_has_it() {
        let item = |(key, value): &(&str, &str)| {
            let value = (!value.is_empty()).then_some(value.as_bytes());
            Item::new(key.as_bytes(), value, &mut Vec::new())
        };
        let lists = [
            vec![("b", "new"), ("d", "")],
            vec![],
            vec![("a", "a"), ("b", "old"), ("c", "c"), ("d", "old")],
            vec![("b", "oldest"), ("e", "e")],
        ];
        let lists = lists.map(|list| list.iter().map(item).collect::<Vec<_>>());
        let merged = Merge::new(lists.iter().map(Vec::as_slice));
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        let seen: Vec<_> = merged.map(|item| (text(item.key()), item.value().map(text).unwrap_or_default())).collect();
        let expected = [("a", "a"), ("b", "new"), ("c", "c"), ("d", ""), ("e", "e")];
        assert_eq!(seen, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
        assert!(Merge::new(std::iter::empty()).next().is_none());
    }
}
