//! A tablet of a dozen rows: a sorted list.

use bytes::Bytes;
use strata_machine::{View, ViewMut};

/// The rows of one replica.
#[derive(Clone, Default, PartialEq)]
pub(crate) struct Rows {
    rows: Vec<(Bytes, Bytes)>,
}

impl Rows {
    fn find(&self, key: &[u8]) -> Result<usize, usize> {
        self.rows.binary_search_by(|(its, _)| its.as_ref().cmp(key))
    }
}

impl View for Rows {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        self.find(key).ok().map(|at| self.rows[at].1.clone())
    }

    fn scan(&self, start: &[u8], end: &[u8], visit: &mut dyn FnMut(&[u8], &Bytes) -> bool) {
        let first = self.find(start).unwrap_or_else(|at| at);
        for (key, value) in &self.rows[first..] {
            if key.as_ref() >= end || !visit(key, value) {
                return;
            }
        }
    }
}

impl ViewMut for Rows {
    fn put(&mut self, key: Bytes, value: Bytes) {
        match self.find(&key) {
            Ok(at) => self.rows[at].1 = value,
            Err(at) => self.rows.insert(at, (key, value)),
        }
    }

    fn delete(&mut self, key: Bytes) {
        if let Ok(at) = self.find(&key) {
            self.rows.remove(at);
        }
    }
}

/// The same rows without what transactions have prepared: what somebody sees who does not look for it.
pub(crate) struct WithoutIntents<'a>(pub(crate) &'a Rows);

impl WithoutIntents<'_> {
    fn is_hidden(key: &[u8]) -> bool {
        strata_codec::KeyKind::of(key) == Some(strata_codec::KeyKind::Intent)
    }
}

impl View for WithoutIntents<'_> {
    fn get(&self, key: &[u8]) -> Option<Bytes> {
        if WithoutIntents::is_hidden(key) { None } else { self.0.get(key) }
    }

    fn scan(&self, start: &[u8], end: &[u8], visit: &mut dyn FnMut(&[u8], &Bytes) -> bool) {
        self.0.scan(start, end, &mut |key, value| WithoutIntents::is_hidden(key) || visit(key, value));
    }
}
