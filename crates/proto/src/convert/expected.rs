//! Expected.

use strata_types::{Error, Expected};

use super::invalid;
use crate::v1;
use crate::v1::expected::Condition;

impl From<Expected> for v1::Expected {
    fn from(expected: Expected) -> v1::Expected {
        let condition = match expected {
            Expected::Absent => Condition::Absent(v1::Absent {}),
            Expected::Value(value) => Condition::Value(value),
            Expected::Revision(revision) => Condition::Revision(revision.into()),
        };
        v1::Expected { condition: Some(condition) }
    }
}

impl TryFrom<v1::Expected> for Expected {
    type Error = Error;

    fn try_from(expected: v1::Expected) -> Result<Expected, Error> {
        match expected.condition {
            Some(Condition::Absent(v1::Absent {})) => Ok(Expected::Absent),
            Some(Condition::Value(value)) => Ok(Expected::Value(value)),
            Some(Condition::Revision(revision)) => Ok(Expected::Revision(revision.into())),
            None => Err(invalid("a compare-and-set must say what it expects: absent, a value or a revision")),
        }
    }
}

/// A compare-and-set without any condition would be a put in disguise.
pub(super) fn expected_of(expected: Option<v1::Expected>) -> Result<Expected, Error> {
    expected.unwrap_or_default().try_into()
}
