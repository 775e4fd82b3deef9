//! Random schedules of writes, transactions and collections beside a model that forgets nothing.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};

use crate::world;

proptest! {
    #![proptest_config(Config {
        cases: 150, failure_persistence: None, rng_seed: RngSeed::Fixed(7), ..Config::default()
    })]

    /// SHARD-6, SHARD-7, SHARD-8, SHARD-9, SHARD-10, SHARD-11, SHARD-12, MACHINE-1
    #[test]
    fn every_read_at_every_timestamp_finds_what_a_model_of_all_versions_says(schedule in world::schedule()) {
        world::run(schedule);
    }
}
