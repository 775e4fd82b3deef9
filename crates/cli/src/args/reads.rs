//! How fresh a read must be.

use std::time::Duration;

use clap::{Args, ValueEnum};
use strata_proto::v1;
use strata_server::settings::parse_duration;

use crate::failure::Failure;

/// Bound of a bounded read when none is given.
const STALENESS_DEFAULT: Duration = Duration::from_secs(5);

/// What the reading commands have in common.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct ReadArgs {
    /// How fresh the answer must be
    #[arg(long, value_enum, default_value_t = Level::Linearizable)]
    pub level: Level,
    /// How old it may be [default: 5s]; implies --level bounded
    #[arg(long, value_name = "TIME", value_parser = parse_staleness)]
    pub max_staleness: Option<Duration>,
}

/// How fresh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Level {
    /// Sees everything that was acknowledged before.
    #[default]
    Linearizable,
    /// Sees everything that was acknowledged longer ago than the bound.
    Bounded,
    /// Whatever the nearest replica has.
    Local,
    /// The promise of linearizable by a leader's clock, on nodes started with --lease-reads; otherwise linearizable.
    Lease,
}

impl ReadArgs {
    /// The level and the bound in milliseconds, as they are sent. A bound that is given is meant.
    pub fn parts(&self) -> Result<(i32, u32), Failure> {
        let level = match (self.level, self.max_staleness) {
            (Level::Linearizable | Level::Bounded, Some(_)) => Level::Bounded,
            (Level::Local, Some(_)) => return Err(unbounded("an answer of --level local may be of any age")),
            (Level::Lease, Some(_)) => return Err(unbounded("an answer of --level lease is never old")),
            (level, None) => level,
        };
        let wire = match level {
            Level::Linearizable => v1::ReadLevel::Linearizable,
            Level::Bounded => v1::ReadLevel::Bounded,
            Level::Local => v1::ReadLevel::Local,
            Level::Lease => v1::ReadLevel::Lease,
        };
        let bound = self.max_staleness.unwrap_or(STALENESS_DEFAULT).as_millis();
        let millis = if level == Level::Bounded { u32::try_from(bound).unwrap_or(u32::MAX) } else { 0 };
        Ok((wire.into(), millis))
    }

    /// Whether anything but the default was asked for, so that the answer should tell what was kept.
    pub fn is_special(&self) -> bool {
        *self != ReadArgs::default()
    }
}

fn unbounded(why: &str) -> Failure {
    Failure::usage(format!("--max-staleness bounds nothing here: {why}")).hint("leave out --level, or --max-staleness")
}

fn parse_staleness(text: &str) -> Result<Duration, String> {
    parse_duration(text)
}

/// The name of a level in answers.
pub fn level_name(level: i32) -> &'static str {
    match v1::ReadLevel::try_from(level) {
        Ok(v1::ReadLevel::Linearizable) => "linearizable",
        Ok(v1::ReadLevel::Bounded) => "bounded",
        Ok(v1::ReadLevel::Local) => "local",
        Ok(v1::ReadLevel::Lease) => "lease",
        Ok(v1::ReadLevel::Unspecified) | Err(_) => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::STATUS_USAGE;

    #[test]
    fn a_bound_means_a_bounded_read() {
        let bound = Some(Duration::from_millis(1_500));
        let parts = |level, max_staleness| ReadArgs { level, max_staleness }.parts();
        assert_eq!(parts(Level::Linearizable, None), Ok((v1::ReadLevel::Linearizable.into(), 0)));
        assert_eq!(parts(Level::Linearizable, bound), Ok((v1::ReadLevel::Bounded.into(), 1_500)));
        assert_eq!(parts(Level::Bounded, None), Ok((v1::ReadLevel::Bounded.into(), 5_000)));
        assert_eq!(parts(Level::Local, None), Ok((v1::ReadLevel::Local.into(), 0)));
        for level in [Level::Local, Level::Lease] {
            assert_eq!(parts(level, bound).expect_err("it would be ignored").status, STATUS_USAGE);
        }
    }
}
