//! Mutation.

use strata_types::{Error, Mutation};

use super::invalid;
use crate::v1;
use crate::v1::mutation;

impl From<Mutation> for v1::Mutation {
    fn from(mutation: Mutation) -> v1::Mutation {
        let mutation = match mutation {
            Mutation::Put { key, value } => mutation::Mutation::Put(mutation::Put { key, value }),
            Mutation::Delete { key } => mutation::Mutation::Delete(mutation::Delete { key }),
        };
        v1::Mutation { mutation: Some(mutation) }
    }
}

impl TryFrom<v1::Mutation> for Mutation {
    type Error = Error;

    fn try_from(mutation: v1::Mutation) -> Result<Mutation, Error> {
        match mutation.mutation {
            Some(mutation::Mutation::Put(put)) => Ok(Mutation::Put { key: put.key, value: put.value }),
            Some(mutation::Mutation::Delete(delete)) => Ok(Mutation::Delete { key: delete.key }),
            None => Err(invalid("a write of a batch is neither a put nor a delete")),
        }
    }
}

pub(super) fn mutations_of(mutations: Vec<v1::Mutation>) -> Result<Vec<Mutation>, Error> {
    mutations.into_iter().map(Mutation::try_from).collect()
}
