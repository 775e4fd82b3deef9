//! Random histories with crashes against the simplest model: the list of states after each write, and how much of it is
//! flushed.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use strata_storage::conformance::{contents, copy_checkpoint};
use strata_storage::memory::{Durable, MemoryTablets};
use strata_storage::{Tablets, WriteBatch};
use strata_types::ReplicaId;

const REPLICA: ReplicaId = ReplicaId(1);

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<(u8, Option<Vec<u8>>)>),
    Flush,
    /// Of what is not flushed so many writes are kept.
    Crash(usize),
    Replace,
}

fn step() -> impl Strategy<Value = Step> {
    let op = (0..12_u8, prop::option::of(prop::collection::vec(any::<u8>(), 0..20)));
    prop_oneof![
        8 => prop::collection::vec(op, 0..6).prop_map(Step::Write),
        2 => Just(Step::Flush),
        1 => (0..8_usize).prop_map(Step::Crash),
        1 => Just(Step::Replace),
    ]
}

fn key(number: u8) -> Bytes {
    Bytes::from(vec![b'k', number])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    #[test]
    fn memory_engine_is_a_list_of_states(steps in prop::collection::vec(step(), 0..60)) {
        let durable = Durable::new();
        let mut tablets = MemoryTablets::over(Arc::clone(&durable));
        let mut tablet = tablets.open(REPLICA).unwrap();
        let mut model: BTreeMap<Bytes, Bytes> = BTreeMap::new();
        // What a crash may leave: the state when it was last flushed, and after each write since.
        let mut states = vec![model.clone()];
        for step in steps {
            match step {
                Step::Write(ops) => {
                    let mut batch = WriteBatch::new();
                    for (number, value) in ops {
                        match value {
                            Some(value) => {
                                batch.put(key(number), value.clone().into());
                                model.insert(key(number), value.into());
                            }
                            None => {
                                batch.delete(key(number));
                                model.remove(&key(number));
                            }
                        }
                    }
                    tablet.write(batch).unwrap();
                    states.push(model.clone());
                }
                Step::Flush => {
                    tablet.flush().unwrap();
                    states = vec![model.clone()];
                }
                Step::Crash(kept) => {
                    let mut unflushed = Vec::new();
                    durable.crash_keeping(|batches| {
                        unflushed.push(batches);
                        kept
                    });
                    prop_assert_eq!(unflushed.iter().sum::<usize>(), states.len() - 1);
                    tablets = MemoryTablets::over(Arc::clone(&durable));
                    tablet = tablets.open(REPLICA).unwrap();
                    model = states.swap_remove(kept.min(states.len() - 1));
                    states = vec![model.clone()];
                }
                Step::Replace => {
                    let mut receiver = tablets.receive(REPLICA).unwrap();
                    copy_checkpoint(&*tablet.checkpoint().unwrap(), &mut *receiver).unwrap();
                    let received = receiver.finish().unwrap();
                    tablets.install(REPLICA, Arc::clone(&received)).unwrap();
                    tablet = received;
                    states = vec![model.clone()];
                }
            }
            let expected: Vec<_> = model.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
            prop_assert_eq!(contents(&*tablet).unwrap(), expected);
            for number in 0..12 {
                let key = key(number);
                prop_assert_eq!(tablet.get(&key).unwrap(), model.get(&key).cloned());
                prop_assert_eq!(tablet.get_persisted(&key).unwrap(), states[0].get(&key).cloned());
            }
            let disk: usize = states[0].iter().map(|(key, value)| key.len() + value.len()).sum();
            prop_assert_eq!(tablet.disk_bytes(), disk as u64);
        }
    }
}
