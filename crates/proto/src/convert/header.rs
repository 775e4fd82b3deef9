//! BatchHeader, Durability, and the same fields where unary requests have them.

use strata_types::{DatabaseId, Durability, Error, KeySpaceId, RequestHeader, SchemaVersion, Timestamp};

use super::freshness::{level_of, millis_of, preference_of};
use super::invalid;
use crate::v1;

impl From<&RequestHeader> for v1::BatchHeader {
    fn from(header: &RequestHeader) -> v1::BatchHeader {
        v1::BatchHeader {
            database: header.database.0,
            key_space: header.key_space.0,
            seen: header.seen.0,
            durability: v1::Durability::from(header.durability).into(),
            schema: header.schema.0,
            level: v1::ReadLevel::from(header.level).into(),
            max_staleness_millis: millis_of(header.level),
            prefer: v1::ReadPreference::from(header.prefer).into(),
            at: header.at.map(|at| at.0),
            begins: header.begins,
        }
    }
}

/// The session is not part of a batch header: each operation has its own.
impl TryFrom<v1::BatchHeader> for RequestHeader {
    type Error = Error;

    fn try_from(header: v1::BatchHeader) -> Result<RequestHeader, Error> {
        Ok(RequestHeader {
            database: DatabaseId(header.database),
            key_space: KeySpaceId(header.key_space),
            session: None,
            seen: Timestamp(header.seen),
            durability: durability_of(header.durability)?,
            schema: SchemaVersion(header.schema),
            level: level_of(header.level, header.max_staleness_millis)?,
            prefer: preference_of(header.prefer)?,
            at: header.at.map(Timestamp),
            begins: header.begins,
        })
    }
}

impl From<Durability> for v1::Durability {
    fn from(durability: Durability) -> v1::Durability {
        match durability {
            Durability::Majority => v1::Durability::Majority,
        }
    }
}

pub(super) fn durability_of(number: i32) -> Result<Durability, Error> {
    match v1::Durability::try_from(number) {
        Ok(v1::Durability::Unspecified | v1::Durability::Majority) => Ok(Durability::Majority),
        Err(_) => Err(invalid(format!("there is no durability number {number}"))),
    }
}

/// Header of a unary read. A macro because generated messages share no trait.
macro_rules! read_header {
    ($request:expr) => {
        strata_types::RequestHeader {
            database: strata_types::DatabaseId($request.database),
            key_space: strata_types::KeySpaceId($request.key_space),
            seen: strata_types::Timestamp($request.seen),
            level: super::freshness::level_of($request.level, $request.max_staleness_millis)?,
            prefer: super::freshness::preference_of($request.prefer)?,
            ..strata_types::RequestHeader::default()
        }
    };
}

/// Header of a unary write.
macro_rules! write_header {
    ($request:expr) => {
        strata_types::RequestHeader {
            database: strata_types::DatabaseId($request.database),
            key_space: strata_types::KeySpaceId($request.key_space),
            seen: strata_types::Timestamp($request.seen),
            session: $request.session.map(strata_types::SessionRequest::from),
            durability: super::header::durability_of($request.durability)?,
            ..strata_types::RequestHeader::default()
        }
    };
}

pub(super) use {read_header, write_header};
