//! Who wrote which value of one key.

use super::view::View;
use crate::transactions::Action;

/// One write.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    pub(crate) value: u64,
    pub(crate) transaction: u32,
    /// Whether its transaction wrote nothing to the key after it.
    pub(crate) is_last: bool,
}

/// All writes of one key: those of a transaction in its order, those of earlier transactions first.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    pub(crate) all: Vec<Written>,
    by_value: Vec<(u64, u32)>,
}

impl Writes {
    /// # Panics
    /// When a value was written twice: a mistake of the test, and a history with it must not be judged.
    pub(crate) fn of(view: &View<'_>, key: u32) -> Writes {
        let mut all: Vec<Written> = Vec::new();
        for &transaction in view.touching(key) {
            let steps = view.history.steps(transaction).iter();
            for step in steps.filter(|step| step.key == key && step.action == Action::Write) {
                if let Some(before) = all.last_mut().filter(|before| before.transaction == transaction) {
                    before.is_last = false;
                }
                all.push(Written { value: step.value, transaction, is_last: true });
            }
        }
        let mut by_value: Vec<(u64, u32)> =
            all.iter().enumerate().map(|(number, written)| (written.value, number as u32)).collect();
        by_value.sort_unstable();
        for pair in by_value.windows(2) {
            assert!(
                pair[0].0 != pair[1].0,
                "two writes with one value, which makes reads ambiguous: key=`{}` value=`{}`",
                view.history.key_name(key),
                pair[0].0
            );
        }
        Writes { all, by_value }
    }

    /// The position of the write of a value.
    pub(crate) fn find(&self, value: u64) -> Option<usize> {
        let found = self.by_value.binary_search_by_key(&value, |entry| entry.0).ok()?;
        Some(self.by_value[found].1 as usize)
    }
}
