//! Operation.

use strata_types::{Error, Operation, TransactionCall};

use super::expected::expected_of;
use super::invalid;
use super::mutation::mutations_of;
use crate::v1::{self, mutation, operation};

impl From<Operation> for operation::Operation {
    fn from(operation: Operation) -> operation::Operation {
        match operation {
            Operation::Get { key } => operation::Operation::Get(operation::Get { key }),
            Operation::Put { key, value } => operation::Operation::Put(mutation::Put { key, value }),
            Operation::Delete { key } => operation::Operation::Delete(mutation::Delete { key }),
            Operation::CompareAndSet { key, expected, value } => {
                let expected = Some(expected.into());
                operation::Operation::CompareAndSet(operation::CompareAndSet { key, expected, value })
            }
            Operation::Batch { mutations } => {
                let mutations = mutations.into_iter().map(v1::Mutation::from).collect();
                operation::Operation::Batch(operation::Batch { mutations })
            }
            Operation::Scan { start, end, limit } => operation::Operation::Scan(operation::Scan { start, end, limit }),
            Operation::Transact(call) => operation::Operation::Transact((*call).into()),
        }
    }
}

pub(super) fn operation_of(operation: Option<operation::Operation>) -> Result<Operation, Error> {
    Ok(match operation {
        Some(operation::Operation::Get(get)) => Operation::Get { key: get.key },
        Some(operation::Operation::Put(put)) => Operation::Put { key: put.key, value: put.value },
        Some(operation::Operation::Delete(delete)) => Operation::Delete { key: delete.key },
        Some(operation::Operation::CompareAndSet(cas)) => {
            Operation::CompareAndSet { key: cas.key, expected: expected_of(cas.expected)?, value: cas.value }
        }
        Some(operation::Operation::Batch(batch)) => Operation::Batch { mutations: mutations_of(batch.mutations)? },
        Some(operation::Operation::Scan(scan)) => {
            Operation::Scan { start: scan.start, end: scan.end, limit: scan.limit }
        }
        Some(operation::Operation::Transact(call)) => Operation::Transact(Box::new(TransactionCall::try_from(call)?)),
        None => return Err(invalid("an operation of the batch is of a kind that this node does not know")),
    })
}
