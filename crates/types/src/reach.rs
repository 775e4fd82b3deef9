//! Which keys somebody reads or changes, as far as it matters who waits for whom.

use crate::{Operation, Slot, TransactionCall};

/// Classes of slots: those of a shard are neighbours, so that few of a shard share one.
const CLASSES: usize = 1_024;
const WORDS: usize = CLASSES / u64::BITS as usize;

/// Which keys of a shard a command may change, or a read looks at. Keys are known by classes of their slots, so it is small
/// whatever it reaches; two of one class may wait for each other for nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach([u64; WORDS]);

impl Reach {
    /// Every key.
    pub const ALL: Reach = Reach([u64::MAX; WORDS]);
    /// No key.
    pub const NOTHING: Reach = Reach([0; WORDS]);

    /// The keys of which an operation changes what a reader may see, or which it reads. What ends a transaction does not name
    /// the keys that the transaction has written.
    pub fn of(operation: &Operation) -> Reach {
        match operation {
            Operation::Get { key }
            | Operation::Put { key, .. }
            | Operation::Delete { key }
            | Operation::CompareAndSet { key, .. } => Reach::of_slots([Slot::of_key(key)]),
            Operation::Batch { mutations } => Reach::of_slots(mutations.iter().map(|it| Slot::of_key(it.key()))),
            Operation::Scan { .. } => Reach::ALL,
            Operation::Transact(call) => match &**call {
                TransactionCall::Commit(part) | TransactionCall::Prepare(part) => {
                    Reach::of_slots(part.writes.iter().map(|write| write.key.slot()))
                }
                _ => Reach::ALL,
            },
        }
    }

    fn of_slots(slots: impl IntoIterator<Item = Slot>) -> Reach {
        let mut reach = Reach::NOTHING;
        for slot in slots {
            let class = usize::from(slot.number()) % CLASSES;
            reach.0[class / u64::BITS as usize] |= 1 << (class % u64::BITS as usize);
        }
        reach
    }

    /// Both together.
    #[must_use]
    pub fn and(mut self, other: Reach) -> Reach {
        self.0.iter_mut().zip(other.0).for_each(|(own, other)| *own |= other);
        self
    }

    /// Whether they may have a key in common.
    pub fn meets(&self, other: &Reach) -> bool {
        self.0.iter().zip(other.0).any(|(own, other)| own & other != 0)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{Decision, Mutation, Part, Space, SpaceKey, SpaceWrite, Timestamp, Transaction, TransactionId};

    fn key(name: &str) -> Bytes {
        Bytes::copy_from_slice(name.as_bytes())
    }

    fn of_keys(names: &[&str]) -> Reach {
        Reach::of_slots(names.iter().map(|name| Slot::of_key(name.as_bytes())))
    }

    #[test]
    fn an_operation_reaches_the_keys_that_it_names() {
        assert_eq!(Reach::of(&Operation::Get { key: key("a") }), of_keys(&["a"]));
        let mutations = vec![Mutation::Delete { key: key("a") }, Mutation::Put { key: key("b"), value: key("v") }];
        assert_eq!(Reach::of(&Operation::Batch { mutations }), of_keys(&["a", "b"]));
        assert_eq!(Reach::of(&Operation::Scan { start: key("a"), end: None, limit: 0 }), Reach::ALL);
    }

    #[test]
    fn a_part_reaches_what_it_writes_and_what_ends_a_transaction_reaches_all() {
        let slot = Slot::of_key(b"a");
        let at = Timestamp(1);
        let transaction = Transaction { id: TransactionId(1), anchor: slot, read_timestamp: at, age: at };
        let space_key = |name| SpaceKey { space: Space::default(), key: key(name) };
        let writes = vec![SpaceWrite { key: space_key("b"), value: None }];
        let (reads, ranges, prepared) = (vec![space_key("a")], Vec::new(), Default::default());
        let part = Part { transaction, slot, reads, ranges, writes, prepared };
        let reach = |call| Reach::of(&Operation::Transact(Box::new(call)));
        assert_eq!(reach(TransactionCall::Commit(part.clone())), of_keys(&["b"]));
        assert_eq!(reach(TransactionCall::Prepare(part)), of_keys(&["b"]));
        let decision = Decision::Committed(at);
        assert_eq!(reach(TransactionCall::Resolve { transaction, slot, decision }), Reach::ALL);
        assert_eq!(reach(TransactionCall::Abort { transaction }), Reach::ALL);
    }

    #[test]
    fn reaches_meet_where_a_slot_is_in_both() {
        let one = of_keys(&["a"]);
        assert!(!one.meets(&of_keys(&["b"])) && !one.meets(&Reach::NOTHING) && one.meets(&Reach::ALL));
        let both = one.and(of_keys(&["b"]));
        assert_eq!(both, of_keys(&["b", "a"]));
        assert!(both.meets(&of_keys(&["b"])) && both.meets(&of_keys(&["a", "c"])) && !both.meets(&of_keys(&["c"])));
        assert!(!Reach::ALL.meets(&Reach::NOTHING) && Reach::ALL.meets(&Reach::ALL));
        assert_eq!(both.and(Reach::ALL), Reach::ALL);
    }

    #[test]
    fn every_slot_is_reached() {
        let reach = |number| Reach::of_slots(Slot::new(number));
        let all = (0..crate::SLOT_COUNT).map(reach).fold(Reach::NOTHING, Reach::and);
        assert_eq!(all, Reach::ALL);
        // The slots of one of sixteen shards.
        assert!((1..1_024).all(|other| !reach(0).meets(&reach(other))) && reach(0).meets(&reach(1_024)));
    }
}
